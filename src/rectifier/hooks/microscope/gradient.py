"""Where the gradient of one backward pass becomes 0, and where the graph ends although its input is part of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from rectifier.hooks.function_calls import Function, on_calls
from rectifier.hooks.microscope.operations import aside
from rectifier.hooks.microscope.source_lines import Line, users_line
from rectifier.records import CauseKind, Sight, SightKind

_MOST_NODES = 20_000
_MOST_TOLD = 3
_LOST = 1e-4
"""Share of a gradient that passes an operation below which it counts as lost; at its best a sigmoid passes 0.25."""
_SATURATING = ("Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Erf", "Hardsigmoid")
_ONE_OF_ALL = ("Softmax", "LogSoftmax")
_NORMALISING = ("NativeGroupNorm", "NativeLayerNorm", "NativeBatchNorm", "CudnnBatchNorm", "FusedRmsNorm")

LineOf = Callable[[Any], Line | None]


@dataclass(slots=True)
class _Passed:
    """What came to a node and what it handed on, as sums of absolute values."""

    arrived: float
    contributed: float
    handed_on: float
    has_further: bool


class Followed:
    """One backward pass, followed from its loss down.

    Args:
        loss: What is about to be back-propagated.
    """

    def __init__(self, loss: Tensor) -> None:
        self._nodes = list(_below(loss.grad_fn))
        self._head = set(_head(loss.grad_fn))
        self._contributed: dict[tuple[Any, int], float] = {}
        self._passed: dict[Any, _Passed] = {}
        self._handles = [node.register_hook(self._hook(node)) for node in self._nodes if not hasattr(node, "variable")]

    def _hook(self, node: Any) -> Callable[..., None]:
        def hook(below: tuple[Tensor | None, ...], above: tuple[Tensor | None, ...]) -> None:
            with aside():
                note(below, above)

        def note(below: tuple[Tensor | None, ...], above: tuple[Tensor | None, ...]) -> None:
            arrived = sum(_size(one) for one in above)
            contributed = sum(self._contributed.get((node, number), 0.0) for number in range(len(above)))
            handed_on, further = 0.0, False
            for (parent, number), gradient in zip(node.next_functions, below, strict=False):
                if parent is None:
                    continue
                size = _size(gradient)
                self._contributed[parent, number] = self._contributed.get((parent, number), 0.0) + size
                if not hasattr(parent, "variable"):
                    further = True
                    handed_on = max(handed_on, size)
            self._passed[node] = _Passed(arrived, contributed, handed_on, further)

        return hook

    def lost(self, line_of: LineOf, step: int) -> list[Sight]:
        """The operations at which it was lost, those first that leave most parameters without; ends the following."""
        for handle in self._handles:
            handle.remove()
        leaves = {node: self._contributed.get((node, 0), 0.0) for node in self._nodes if hasattr(node, "variable")}
        largest = max(leaves.values(), default=0.0)
        found = []
        for node, passed in self._passed.items():
            cancelled = passed.contributed > 0 and passed.arrived <= _LOST * passed.contributed
            faded = passed.has_further and passed.arrived > 0 and passed.handed_on <= _LOST * passed.arrived
            if not (cancelled or faded):
                continue
            below = [one for one in _below(node) if hasattr(one, "variable")]
            starved = [one for one in below if leaves.get(one, 0.0) <= _LOST * largest]
            if not starved:
                continue
            line = line_of(node)
            numbers = {
                "arrived": passed.arrived,
                "handed_on": passed.handed_on,
                "contributed": passed.contributed,
                "cancelled": float(cancelled),
                "parameters_below": float(len(below)),
                "parameters_without": float(len(starved)),
            }
            found.append(
                Sight(
                    kind=SightKind.GRADIENT_LOST,
                    operation=node.name(),
                    phase="backward",
                    place=line.place if line is not None else "",
                    expression=line.expression if line is not None else "",
                    step=step,
                    numbers=numbers,
                    cause_kind=_cause(
                        node.name(), cancelled=cancelled, exactly=passed.handed_on == 0, in_head=node in self._head
                    ),
                )
            )
        self._nodes, self._passed, self._contributed, self._head = [], {}, {}, set()
        return sorted(found, key=lambda sight: -sight.numbers["parameters_without"])[:_MOST_TOLD]


def _cause(name: str, *, cancelled: bool, exactly: bool, in_head: bool) -> CauseKind:
    """What it speaks for, where that does not depend on what made it so.

    A unit that is off, or a branch that begins at 0, passes nothing either, and is not the cause of it.
    """
    if cancelled:
        return CauseKind.DOWNSTREAM_CONSTANT
    if "BackwardBackward" in name:
        return CauseKind.ZERO_HIGHER_DERIVATIVE
    if exactly and name.startswith(_ONE_OF_ALL):
        return CauseKind.DOWNSTREAM_CONSTANT
    # Within a network what saturates it comes from below.
    if in_head and name.startswith(_SATURATING):
        return CauseKind.DOWNSTREAM_SATURATION
    return CauseKind.NORMALISATION if name.startswith(_NORMALISING) else CauseKind.UNKNOWN


def _size(gradient: Tensor | None) -> float:
    if gradient is None or not gradient.is_floating_point() or gradient.layout is not torch.strided:
        return 0.0
    with torch.no_grad():
        size = float(gradient.detach().abs().sum(dtype=torch.float64))
    # What is not finite is told elsewhere; here it is no loss.
    return size if size < float("inf") else 1e300


def _below(root: Any) -> Iterator[Any]:
    pending, met = [root], {root}
    while pending and len(met) < _MOST_NODES:
        node = pending.pop()
        if node is None:
            continue
        yield node
        for parent, _ in node.next_functions:
            if parent is not None and parent not in met:
                met.add(parent)
                pending.append(parent)


def _head(root: Any) -> Iterator[Any]:
    """The nodes between a loss and the last layers."""
    pending, met = [root], {root}
    while pending and len(met) < _MOST_NODES:
        node = pending.pop()
        if node is None or any(is_weight(parent) for parent, _ in node.next_functions):
            continue
        yield node
        for parent, _ in node.next_functions:
            if parent is not None and parent not in met:
                met.add(parent)
                pending.append(parent)


def is_weight(node: Any) -> bool:
    """Whether a node of a graph is a leaf of two dimensions and more, transposed or not."""
    if node is None:
        return False
    if node.name().startswith("TBackward") and node.next_functions:
        return is_weight(node.next_functions[0][0])
    variable = getattr(node, "variable", None)
    return variable is not None and variable.ndim > 1


@dataclass(slots=True, eq=False)
class _Cut:
    """An operation whose output has no part in the graph although an input has."""

    operation: str
    line: Line | None
    nodes: list[Any]
    leaves: list[Tensor]
    no_grad: bool
    number: int


class _FromCut(float):
    """A number that was taken out of the graph: in arithmetic it stays known as such."""

    cuts: frozenset[_Cut] = frozenset()

    def __reduce__(self) -> tuple[Any, ...]:
        return float, (float(self),)


def _arithmetic(name: str) -> None:
    plain = getattr(float, name)

    def combined(self: _FromCut, *others: Any) -> Any:
        result = plain(self, *others)
        if type(result) is not float:
            return result
        return _marked(result, self.cuts.union(*(one.cuts for one in others if isinstance(one, _FromCut))))

    setattr(_FromCut, name, combined)


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "neg", "pos", "abs", "pow", "rpow"):
    _arithmetic(f"__{_name}__")


def _marked(number: float, cuts: frozenset[_Cut]) -> _FromCut:
    marked = _FromCut(number)
    marked.cuts = cuts
    return marked


_NO_CUTS: frozenset[_Cut] = frozenset()
_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]


class Cuts:
    """Cuts of the graph within some steps, and the parameters that lose their gradient by them."""

    def __init__(self) -> None:
        self._of: Any = WeakTensorKeyDictionary()
        self._in_losses: dict[_Cut, None] = {}
        self._reached: set[int] = set()
        self._numbers = count()

    def start(self) -> Callable[[], None]:
        """Begin; returns the undo."""
        return on_calls(self._called)

    def _called(self, function: Function, proceed: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(function, "__name__", "")
        if name == "__get__" and function != _DATA:
            return NotImplemented
        given = tree_leaves((args, kwargs))
        result = proceed(*args, **kwargs)
        try:
            return self._note(name, given, result)
        except Exception:
            # Another kind of tensor: it has no part in what is told.
            return result

    def _note(self, name: str, given: list[Any], result: Any) -> Any:
        cuts = frozenset[_Cut]().union(*(self._known(one) for one in given))
        made = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        number = name == "item" and type(result) is float
        within = [one for one in given if isinstance(one, Tensor) and one.requires_grad]
        if within and (made or number) and not any(one.requires_grad for one in made):
            cuts |= {
                _Cut(
                    name if name != "__get__" else "data",
                    users_line(3),
                    [one.grad_fn for one in within if one.grad_fn is not None],
                    [one for one in within if one.grad_fn is None],
                    not torch.is_grad_enabled(),
                    next(self._numbers),
                )
            }
        if not cuts:
            return result
        for one in made:
            self._of[one] = cuts
        return _marked(result, cuts) if number else result

    def _known(self, value: Any) -> frozenset[_Cut]:
        if isinstance(value, Tensor):
            found: frozenset[_Cut] = self._of.get(value, _NO_CUTS)
            return found
        return value.cuts if isinstance(value, _FromCut) else _NO_CUTS

    def note_loss(self, loss: Tensor) -> None:
        """A loss is about to be back-propagated."""
        self._in_losses.update(dict.fromkeys(self._known(loss)))
        self._reached |= {id(leaf) for leaf in _leaves([loss.grad_fn])}

    def found(self, step: int) -> list[Sight]:
        """The cuts by which parameters lose the gradient of every loss of these steps."""
        sights: dict[tuple[str, str], Sight] = {}
        # What was cut last is nearest to the loss: a sample is drawn from `detach()`, its score goes through `item()`.
        for cut in sorted(self._in_losses, key=lambda cut: -cut.number):
            lost = {id(leaf): leaf for leaf in (*_leaves(cut.nodes), *cut.leaves) if id(leaf) not in self._reached}
            if not lost:
                continue
            place = cut.line.place if cut.line is not None else ""
            sights.setdefault(
                (cut.operation, place),
                Sight(
                    kind=SightKind.GRADIENT_CUT,
                    operation=cut.operation,
                    phase="forward",
                    place=place,
                    expression=cut.line.expression if cut.line is not None else "",
                    step=step,
                    numbers={
                        "parameters": float(len(lost)),
                        "numbers": float(sum(leaf.numel() for leaf in lost.values())),
                        "no_grad": float(cut.no_grad),
                    },
                    cause_kind=CauseKind.GRAPH_CUT,
                ),
            )
        self._in_losses = {}
        return list(sights.values())


def _leaves(roots: list[Any]) -> Iterator[Tensor]:
    for root in roots:
        for node in _below(root):
            if hasattr(node, "variable"):
                yield node.variable
