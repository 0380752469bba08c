"""Every operation of one training step, below autograd: what goes in, what comes out, and who wrote it.

Nothing of the training changes: each operation runs as it is, and what is computed beside it draws no random number
and makes no node of the graph. It takes a tenth of a millisecond and more for each operation.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rectifier.hooks.microscope.source_lines import Line, users_line

_HOOKS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_MONITOR = os.path.join(os.path.dirname(_HOOKS), "monitor") + os.sep
_HOLD_NOTHING = ("empty", "new_empty", "resize_", "set_", "_to_copy_meta")
_GIVEN_LITERALLY = ("masked_fill", "full", "scalar_tensor", "fill", "lift_fresh", "_local_scalar_dense", "new_full")
_DEPTH = 40
"""Frames of ours above an operation of ours."""
FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimizer"


@dataclass(slots=True)
class Operation:
    """One that made numbers which are not finite, or was given some.

    Attributes:
        number: In the order of the step.
        name: As torch calls it; in the backward pass the node of the graph.
        phase: forward, backward or optimizer.
        line: The user's; of a backward operation that of its forward.
        origin: Whether it made what is not finite out of what is.
        literal: Whether the user gave an infinity as a constant.
        outside: An input that is not finite and that no operation of this step made; None where there is none.
        ranges: Of its operands, by name.
    """

    number: int
    name: str
    phase: str
    line: Line | None
    origin: bool
    literal: bool
    outside: Tensor | None
    ranges: dict[str, float]
    bad_output: bool = True


@dataclass
class Step:
    """What is known of one step."""

    bad: dict[int, Operation] = field(default_factory=dict)
    parents: dict[int, tuple[int, ...]] = field(default_factory=dict)
    makers: dict[int, tuple[int, ...]] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)
    lines: dict[int, Line] = field(default_factory=dict)
    count: int = 0
    loss: int | None = None
    """The operation that made the first loss which is not finite."""


_aside: list[None] = []


@contextmanager
def aside() -> Iterator[None]:
    """What is computed within it is none of the training's."""
    _aside.append(None)
    try:
        yield
    finally:
        _aside.pop()


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations of a step.

    Args:
        in_optimizer: Whether an optimizer is stepping.
    """

    rectifier_mode = True

    def __init__(self, in_optimizer: Callable[[], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._in_optimizer = in_optimizer
        self.step = Step()
        self.failed: Exception | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if args and isinstance(args[0], int | float | complex) and not _takes_number(func):
            # A number that autograd saved as a tensor comes as a plain one, which the operation itself does not take.
            args = (torch.scalar_tensor(args[0], dtype=_SAVED_AS[type(args[0])]), *args[1:])
        if self.failed is not None or _is_ours():
            return func(*args, **named)
        try:
            given = [value for value in tree_leaves((args, named)) if isinstance(value, Tensor)]
            before = [_state(value) for value in given]
        except Exception as error:
            # The training goes on; what was seen so far is no less true.
            self.failed = error
            return func(*args, **named)
        result = func(*args, **named)
        try:
            self._note(func, (args, named), given, before, result)
        except Exception as error:
            self.failed = error
        return result

    def _note(self, func: Any, call: Any, given: list[Tensor], before: list[tuple[bool, bool]], result: Any) -> None:
        name = func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else str(func)
        node = torch._C._current_autograd_node() if torch._C._current_graph_task_id() != -1 else None
        step = self.step
        number = step.count
        step.count += 1
        line = self._note_line(node)
        parents = tuple(sorted({maker for value in given for maker in step.makers.get(_storage(value), ())}))
        step.parents[number] = parents
        made = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
        for value in made:
            step.kept.append(_held(value))
            step.makers[_storage(value)] = (number,)
        if name.startswith(_HOLD_NOTHING):
            return
        after = [_state(value) for value in made]
        nan_in, inf_in = any(nan for nan, _ in before), any(inf for _, inf in before)
        nan_out, inf_out = any(nan for nan, _ in after), any(inf for _, inf in after)
        if not (nan_in or inf_in or nan_out or inf_out):
            return
        literal = name.rstrip("_").startswith(_GIVEN_LITERALLY) or any(
            isinstance(value, float) and not math.isfinite(value) for value in tree_leaves(call)
        )
        origin = not literal and ((nan_out and not nan_in) or (inf_out and not (nan_in or inf_in)))
        outside = next(
            (v for v, (n, i) in zip(given, before, strict=True) if (n or i) and _storage(v) not in step.makers), None
        )
        phase = BACKWARD if node is not None else OPTIMIZER if self._in_optimizer() else FORWARD
        overwritten = {_storage(value) for value in made}
        step.bad[number] = Operation(
            number=number,
            name=node.name() if node is not None else name,
            phase=phase,
            line=line,
            origin=origin,
            literal=literal,
            outside=outside,
            ranges=_ranges([v for v in given if _storage(v) not in overwritten]) if origin else {},
            bad_output=nan_out or inf_out,
        )

    def _note_line(self, node: Any) -> Line | None:
        step = self.step
        line = users_line(2)
        # The node of an operation that autograd records is made just before; a later one without must not replace it.
        if line is not None and torch.is_grad_enabled():
            step.lines.setdefault(torch._C._autograd._get_sequence_nr() - 1, line)
        if node is None:
            return line
        return self.line_of(node) or line

    def line_of(self, node: Any) -> Line | None:
        """Where the operation was written whose gradient a node computes."""
        return self.step.lines.get(node._sequence_nr())

    def note_loss(self, loss: Tensor) -> None:
        """A loss is about to be back-propagated."""
        if self.step.loss is None and any(_state(loss)):
            self.step.loss = next(iter(self.step.makers.get(_storage(loss), ())), None)


_SAVED_AS = {bool: torch.bool, int: torch.int64, float: torch.float64, complex: torch.complex128}


def _takes_number(func: Any) -> bool:
    """Whether an operation's first argument is declared as a number."""
    arguments = getattr(getattr(func, "_schema", None), "arguments", ())
    return not arguments or str(arguments[0].type) != "Tensor"


def first_of(step: Step) -> Operation | None:
    """The operation that made the first number which is not finite, among those that the training's numbers come from.

    Where no operation made it, the first one that was given it; None where everything is finite, or only what nobody
    uses is not.
    """
    later = (one.number for one in step.bad.values() if one.phase != FORWARD and one.bad_output)
    targets = [number for number in (step.loss, min(later, default=None)) if number is not None]
    above: set[int] = set()
    pending = list(targets)
    while pending:
        number = pending.pop()
        if number not in above:
            above.add(number)
            pending += step.parents.get(number, ())
    among = [step.bad[number] for number in sorted(above & step.bad.keys())]
    origin = next((one for one in among if one.origin), None)
    reader = next((one for one in among if one.outside is not None and not one.literal), None)
    if origin is None or (reader is not None and reader.number < origin.number):
        return reader or origin
    return origin


def _is_ours() -> bool:
    """Whether the monitor or the microscope computes something beside the training."""
    if _aside:
        return True
    frame: Any = sys._getframe(2)
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if frame.f_code.co_filename.startswith(_MONITOR):
            return True
        frame = frame.f_back
    return False


def _state(value: Tensor) -> tuple[bool, bool]:
    """Whether a tensor holds NaN, and whether it holds an infinity."""
    if not value.is_floating_point() or value.is_meta or not value.numel() or value.layout is not torch.strided:
        return False, False
    with torch.no_grad():
        if bool(value.isfinite().all()):
            return False, False
        return bool(value.isnan().any()), bool(value.isinf().any())


def _storage(value: Tensor) -> int:
    if value.layout is not torch.strided or value.is_meta:
        return id(value)
    return value.untyped_storage().data_ptr() or id(value)


def _held(value: Tensor) -> Any:
    # The same address would otherwise be another tensor's.
    return value if value.layout is not torch.strided or value.is_meta else value.untyped_storage()


def _ranges(given: list[Tensor]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in zip(_operand_names(), given, strict=False):
        if not value.numel() or value.is_meta or value.dtype is torch.bool or value.is_complex():
            continue
        numbers = value.detach().double()
        finite = numbers[numbers.isfinite()]
        if finite.numel():
            found[f"{name}_min"], found[f"{name}_max"] = float(finite.min()), float(finite.max())
        found[f"{name}_zeros"] = float((numbers == 0).sum())
        found[f"{name}_not_finite"] = float(numbers.numel() - finite.numel())
        found[f"{name}_numbers"] = float(numbers.numel())
    return found


def _operand_names() -> Iterator[str]:
    yield from ("input", "second", "third")
