"""Trials of a Python function that trains, for an explanation: each a call of it in this process."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from rectifier.comparison.explain.trials.reading import shown_of
from rectifier.comparison.explain.trials.script import BUDGET
from rectifier.comparison.explain.trials.trial import Ask, Shown, ended_by_error
from rectifier.errors import CannotExplain
from rectifier.hooks import training
from rectifier.launch.explaining import Explaining
from rectifier.monitor import MemorySink, Monitor
from rectifier.records import Change
from rectifier.sandbox import streams_kept

Train = Callable[[int], Any]
"""Trains from a seed; what it returns is not looked at."""


@dataclass
class FunctionTrials:
    """Runs trials of a function: a call each, after which the process is as it was.

    Attributes:
        train: The function.
        seed: Of the run that fails.
    """

    train: Train
    seed: int = 0
    _unchanged: Shown | None = None

    def __call__(self, ask: Ask) -> Shown:
        """Call the function once, with what is asked for changed around it.

        Raises:
            CannotExplain: The unchanged function trains nothing.
            Exception: What the unchanged function raises where no finding tells why.
        """
        sink, seed = MemorySink(), self.seed + (ask.seed or 0)
        raised: Exception | None = None
        began = time.perf_counter()
        with ExitStack() as stack:
            stack.enter_context(streams_kept(seed=seed))
            monitor = Monitor(sink, budget=BUDGET)
            monitor.start()
            stack.callback(monitor.stop)
            changed = Explaining(_settings(ask), sink.record, lambda: monitor.step)
            stack.callback(changed.finish)
            if ask.stop_after is not None:
                # After the monitor, so that the last step has been seen.
                end = _End(ask.stop_after, lambda: monitor.step)
                stack.callback(training.listen(end))
            try:
                self.train(seed)
            except _Enough:
                pass
            except Exception as error:
                raised = error
        shown = shown_of(
            sink.process(),
            ask,
            crashed=raised is not None,
            error="" if raised is None else f"{type(raised).__name__}: {raised}".splitlines()[0],
            seconds=time.perf_counter() - began,
        )
        control = ask.seed is None and ask.intervention.change in (Change.NONE, Change.PLACEBO)
        if self._unchanged is not None and control and ended_by_error(shown, self._unchanged):
            raise CannotExplain(
                f"the first call of the function trained, the second one failed, unchanged: {shown.error}. Each trial "
                "calls the function again: make it start afresh, without files or global state of an earlier call."
            ) from raised
        if ask == Ask():
            self._unchanged = shown
            if raised is not None and not any(one.severity != "info" for one in shown.findings):
                raise raised
            if not len(shown.losses) and not shown.findings:
                raise CannotExplain("no loss was seen: the function must call backward() on a torch loss.")
        return shown


def _settings(ask: Ask) -> dict[str, Any]:
    # The function is given its seed: there is nothing to shift.
    return {"intervention": str(ask.intervention), "microscope": ask.microscope, "seed_shift": 0}


class _Enough(BaseException):
    """A trial is decided; no `except Exception` of the user's catches it."""


class _End(training.TrainingListener):
    """Leaves the function after so many optimizer steps, or backward passes where no optimizer steps.

    Args:
        steps: At least 1.
        clock: Steps that the training has taken, as it is watched.
    """

    def __init__(self, steps: int, clock: Callable[[], int]) -> None:
        self._steps, self._clock = steps, clock
        self._passes = 0
        self._stepped = False

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        self._stepped = True
        if self._clock() >= self._steps:
            raise _Enough

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        self._passes += 1
        if not self._stepped and self._passes > self._steps:
            raise _Enough
