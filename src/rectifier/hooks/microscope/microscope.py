"""A closer look at some steps of a training: what `explain` sees that statistics cannot tell.

It is for a few steps only, because each operation is followed. The training's own numbers stay what they are.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.hooks import training
from rectifier.hooks.microscope.addends import Sums
from rectifier.hooks.microscope.cuts import Cuts
from rectifier.hooks.microscope.gradient import Followed
from rectifier.hooks.microscope.inputs import inputs_of
from rectifier.hooks.microscope.moved import by_addends, by_optimizer
from rectifier.hooks.microscope.operations import OPTIMIZER, Operation, Operations, aside, first_of
from rectifier.hooks.patch.attributes import on_construction
from rectifier.hooks.patch.function_calls import leave_if_idle
from rectifier.hooks.roots import Forward, route_roots
from rectifier.records import CauseKind, Sight, SightKind, Warned

Record = Callable[[Sight | Warned], None]
Clock = Callable[[], int]

_ONLY_BY_SIZE = (
    "mm", "addmm", "bmm", "baddbmm", "convolution", "mul", "add", "sub", "sum", "mean", "square", "pow", "mse_loss",
    "MmBackward", "AddmmBackward", "BmmBackward", "ConvolutionBackward", "MulBackward", "PowBackward",
    "MseLossBackward",
)  # fmt: skip
"""Operations that give an infinity of finite numbers only where these are huge."""
_OVER_A_BATCH = ("var", "std", "native_batch_norm", "VarBackward", "StdBackward")


def look(
    first: int, last: int, clock: Clock, record: Record, *, lost: float, huge: float = math.inf
) -> Callable[[], None]:
    """Look at the steps from `first` to `last`, counted from 0; returns the undo, which tells what is left to tell.

    Args:
        first: A step before, what follows is prepared.
        last: Not before the first.
        clock: The step that comes next. It is asked after whoever counts has heard of a step.
        record: Takes what is seen.
        lost: Share of a gradient that passes an operation, up to which it counts as lost there.
        huge: Size of an operand from which on an infinity is where growth ended, not the operation's own.
    """
    microscope = Microscope(first, last, clock, record, lost, huge)
    microscope.start()
    return microscope.stop


class Microscope(training.TrainingListener):
    """See `look`."""

    def __init__(self, first: int, last: int, clock: Clock, record: Record, lost: float, huge: float) -> None:
        self._lost, self._huge = lost, huge
        self._first, self._last, self._clock, self._record = first, last, clock, record
        self._operations: Operations | None = None
        self._cuts = Cuts()
        self._sums = Sums()
        self._modes: list[Callable[[], None]] = []
        self._followed: Followed | None = None
        self._seen: set[tuple[SightKind, str, str]] = set()
        self._undo: list[Callable[[], None]] = []
        self._stepping = False
        self._done = False
        self._told = False
        self._step = 0

    def start(self) -> None:
        """Begin to wait for the first step."""
        self._undo.append(training.listen(self))
        self._undo.append(route_roots(self._forward))
        if self._first == 0:
            # Before the first step there is no step's end: a model's first forward, or its optimizer, begins it.
            self._undo.append(on_construction(Optimizer, lambda optimizer: self._guarded(self._turn)))

    def stop(self) -> None:
        """Take everything away."""
        self._guarded(self._end)
        self._done = True
        while self._undo:
            self._undo.pop()()
        leave_if_idle()

    def _forward(self, module: nn.Module, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._guarded(self._look_at_inputs, module, args, kwargs)
        return forward(*args, **kwargs)

    def _look_at_inputs(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._turn()
        if self._operations is not None and torch.is_grad_enabled():
            with aside():
                self._tell(inputs_of(module, args, kwargs, self._step))

    def _guarded(self, look: Callable[..., None], *args: Any) -> None:
        """A failure of ours is the end of looking, never of the training."""
        if self._done:
            return
        try:
            look(*args)
        except Exception as error:
            self._done = True
            with suppress(Exception):
                self._leave()
            self._record(Warned(f"the microscope stopped at step {self._step}: {type(error).__name__}: {error}"))

    # What the training tells. ------------------------------------------------------------------------------------

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """A loss is about to be back-propagated."""
        self._guarded(self._look_at_loss, loss, unscaled)

    def _look_at_loss(self, loss: Tensor, unscaled: Tensor) -> None:
        self._turn()
        if self._operations is None:
            return
        self._operations.note_loss(unscaled)
        self._cuts.note_loss(loss)
        with aside():
            self._tell(by_addends(loss, self._sums.of(loss), self._step))
        self._sums.forget()
        if self._followed is None:
            self._followed = Followed(loss, self._lost)

    def on_backward_end(self) -> None:
        """It has been."""
        self._guarded(self._look_back)

    def _look_back(self) -> None:
        followed, self._followed = self._followed, None
        if followed is not None and self._operations is not None:
            self._tell(followed.lost(self._operations.line_of, self._step))
        self._turn()

    def on_step_start(self, optimizer: Optimizer, *call: object) -> None:
        """An optimizer is about to step."""
        self._guarded(self._look_at_step, optimizer)

    def _look_at_step(self, optimizer: Optimizer) -> None:
        if self._operations is not None:
            with aside():
                self._tell(by_optimizer(optimizer, self._step))
        self._stepping = True

    def on_step_end(self, optimizer: Optimizer, *call: object) -> None:
        """It has stepped."""
        self._stepping = False
        self._guarded(self._turn)

    def on_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler has left a step out."""
        self._guarded(self._turn)

    # --------------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Begin, go on to the next step, or end, as the clock says."""
        step = self._clock()
        if self._operations is not None and step != self._step:
            self._end()
        if step > self._last:
            self._done = True
        elif step >= self._first and self._operations is None:
            self._begin(step)

    def _begin(self, step: int) -> None:
        self._step = step
        self._operations = Operations(lambda: self._stepping)
        self._modes = [self._cuts.start(), self._sums.start()]
        self._operations.__enter__()  # type: ignore[no-untyped-call]

    def _leave(self) -> Operations | None:
        """Take the modes away that follow a step."""
        operations, self._operations, self._followed = self._operations, None, None
        if operations is not None:
            operations.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        while self._modes:
            self._modes.pop()()
        return operations

    def _end(self) -> None:
        operations = self._leave()
        if operations is None:
            return
        if operations.failed is not None:
            self._record(Warned(f"the microscope saw step {self._step} in part: {operations.failed}"))
        self._tell(self._cuts.found(self._step))
        found = None if self._told else first_of(operations.step)
        if found is not None:
            # The steps after it only hand it on.
            self._told = True
            self._record(_first_nonfinite(found, self._step, self._huge))

    def _tell(self, sights: Iterable[Sight]) -> None:
        """Tell each thing once: of several steps the first."""
        for sight in sights:
            key = sight.kind, sight.operation, sight.place
            if key not in self._seen:
                self._seen.add(key)
                self._record(sight)


def _first_nonfinite(found: Operation, step: int, huge: float) -> Sight:
    grown = _grown(found, huge)
    line = found.line
    return Sight(
        kind=SightKind.FIRST_NONFINITE,
        operation=found.name,
        phase=found.phase,
        place=line.place if line is not None else "",
        expression=line.expression if line is not None else "",
        step=step,
        numbers={
            **{name: number for name, number in found.ranges.items() if math.isfinite(number)},
            **({"grown": 1.0} if grown else {}),
        },
        cause_kind=CauseKind.UNKNOWN if grown else _cause_of(found),
    )


def _grown(found: Operation, huge: float) -> bool:
    """Whether the operation only met numbers that had grown before: it is where that ends, not where it comes from."""
    largest = max((abs(number) for name, number in found.ranges.items() if name.endswith(("_min", "_max"))), default=0)
    return found.origin and found.name.rstrip("0123456789_").startswith(_ONLY_BY_SIZE) and largest > huge


def _cause_of(found: Operation) -> CauseKind:
    if not found.origin:
        return CauseKind.UNKNOWN if found.outside is None or found.outside.requires_grad else CauseKind.INPUT_NOT_FINITE
    if found.phase == OPTIMIZER:
        return CauseKind.OPTIMIZER_STATE
    if "loss" in found.name.lower():
        return CauseKind.LOSS_NOT_FINITE
    if found.name.startswith(_OVER_A_BATCH):
        return CauseKind.BATCH_OF_ONE
    return CauseKind.NUMERICAL_OPERATION
