"""Where the graph ends although its input is part of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from rectifier.hooks.microscope.graph import below
from rectifier.hooks.microscope.source_lines import Line, users_line
from rectifier.hooks.patch.function_calls import Function, on_calls
from rectifier.records import CauseKind, Sight, SightKind


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
        for node in below(root):
            if hasattr(node, "variable"):
                yield node.variable
