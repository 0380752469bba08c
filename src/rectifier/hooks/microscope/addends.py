"""The addends of a loss: where its autograd graph is a sum, and what the user wrote there."""

import ast
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from rectifier.hooks.location import inside_a_model
from rectifier.hooks.microscope.source_lines import OURS, Line, line_of
from rectifier.hooks.patch.function_calls import Function, on_calls

_SUMS = frozenset(
    {"add", "add_", "sub", "sub_", "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__isub__", "rsub",
     "stack", "cat", "concat", "sum"}
)  # fmt: skip
_LINEAR = (
    "MulBackward", "DivBackward", "NegBackward", "MeanBackward", "SumBackward", "ViewBackward", "UnsafeViewBackward",
    "ReshapeAliasBackward", "SqueezeBackward", "UnsqueezeBackward", "ToCopyBackward", "CloneBackward", "AliasBackward",
)  # fmt: skip
_BRANCHES = ("AddBackward", "SubBackward", "RsubBackward", "StackBackward", "CatBackward")
_TORCH = os.path.dirname(torch.__file__) + os.sep
_WRAPPERS = tuple(os.path.join(_TORCH, name) for name in ("_tensor.py", "overrides.py", "functional.py"))
_MOST_ADDENDS = 32


class Addend(NamedTuple):
    """One of them.

    Attributes:
        node: The sum that it enters.
        input: As which of the node's inputs.
        text: What the user wrote, as far as it can be told.
        place: `file.py:41`.
        value: What entered there; None where that is not known.
    """

    node: Any
    input: int
    text: str
    place: str
    value: Tensor | None = None


class Sums:
    """Notes where the user's code adds, while it is `start`ed; tells the addends of a loss."""

    def __init__(self) -> None:
        self._by_number: dict[int, tuple[Line, bool]] = {}
        self._values: dict[int, list[Tensor]] = {}

    def start(self) -> Callable[[], None]:
        """Begin; returns the undo."""
        return on_calls(self._called)

    def forget(self) -> None:
        """The graph has been used."""
        self._by_number.clear()
        self._values.clear()

    def _called(self, function: Function, proceed: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if getattr(function, "__name__", "") not in _SUMS or not torch.is_grad_enabled():
            return NotImplemented
        entered = [one.detach() for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        # `loss += term` overwrites one of them.
        entered = [one.clone() if one.numel() == 1 else one for one in entered]
        result = proceed(*args, **kwargs)
        if isinstance(result, Tensor) and result.grad_fn is not None:
            line = _written_by_user()
            scalar = result.numel() == 1
            if line is not None and (scalar or not inside_a_model()):
                self._by_number[result.grad_fn._sequence_nr()] = line, scalar
                self._values[result.grad_fn._sequence_nr()] = entered
        return result

    def of(self, loss: Tensor) -> list[Addend]:
        """The addends of a loss in the order in which they are written; none where it is no sum."""
        found: list[Addend] = []
        first = self._branch(loss.grad_fn)
        if first is not None:
            self._collect(first, found)
        return found if len(found) > 1 else []

    def _branch(self, node: Any) -> Any:
        """The sum that a node comes to through linear operations of one input; None where there is none."""
        while node is not None:
            name = node.name()
            if name.startswith(_BRANCHES):
                known = self._by_number.get(node._sequence_nr())
                edges = [parent for parent, _ in node.next_functions if parent is not None]
                if known is not None and len(edges) > 1:
                    return node
                if len(edges) != 1:
                    return None
            elif not name.startswith(_LINEAR):
                return None
            edges = [parent for parent, _ in node.next_functions if parent is not None]
            if len(edges) != 1:
                return None
            node = edges[0]
        return None

    def _collect(self, node: Any, found: list[Addend]) -> None:
        line, _ = self._by_number[node._sequence_nr()]
        texts = _operands(line.expression)
        edges = [(number, parent) for number, (parent, _) in enumerate(node.next_functions) if parent is not None]
        if node.name().startswith("RsubBackward"):
            edges.reverse()
        for order, (number, parent) in enumerate(edges):
            further = self._branch(parent)
            if further is not None and len(found) < _MOST_ADDENDS:
                below, scalar = self._by_number[further._sequence_nr()]
                if scalar or (below.file, below.number) == (line.file, line.number):
                    self._collect(further, found)
                    continue
            text = texts[order] if len(texts) == len(edges) else line.expression
            entered = self._values.get(node._sequence_nr(), [])
            value = entered[number] if len(entered) == len(node.next_functions) else None
            found.append(Addend(node, number, text, line.place, value))


def terms_of(addends: Iterable[Addend]) -> list[list[Addend]]:
    """Addends by what the user wrote: a sum over all parameters, or one built up in a loop, is one term."""
    terms: dict[tuple[str, str], list[Addend]] = {}
    for addend in addends:
        terms.setdefault((addend.place, addend.text), []).append(addend)
    return list(terms.values())


def _operands(expression: str) -> list[str]:
    """The two sides of a sum as it is written."""
    try:
        tree = ast.parse(expression.strip(), mode="exec").body[0]
    except (SyntaxError, IndexError):
        return []
    match tree:
        case ast.Expr(value=ast.BinOp(left=left, right=right)):
            return [ast.unparse(left), ast.unparse(right)]
        case ast.AugAssign(target=target, value=value):
            return [ast.unparse(target), ast.unparse(value)]
    return []


def _written_by_user() -> Line | None:
    """The user's line, where the user adds: not where torch does on the user's behalf."""
    for frame in _frames():
        name = frame.f_code.co_filename
        if name.startswith((OURS, "<")) or name in _WRAPPERS:
            continue
        return None if name.startswith(_TORCH) else line_of(frame)
    return None


def _frames() -> Iterator[Any]:
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]
