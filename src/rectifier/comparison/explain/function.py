"""`explain` of a Python function that trains, called in this process: what `explain_script` is for a script."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from rectifier.comparison.explain.engine import Engine
from rectifier.comparison.explain.progress import Step
from rectifier.comparison.explain.reading import shown_of
from rectifier.comparison.explain.script import BUDGET
from rectifier.comparison.explain.trial import Ask, Shown, ended_by_error
from rectifier.errors import CannotExplain
from rectifier.hooks import training
from rectifier.launch.explaining import Explaining
from rectifier.monitor import MemorySink, Monitor
from rectifier.records import Change, Explanation, Rule
from rectifier.sandbox import streams_kept

Train = Callable[[int], Any]
"""Trains from a seed; what it returns is not looked at."""


def explain_function(
    train: Train,
    *,
    seed: int = 0,
    finding: Rule | None = None,
    because: str | None = None,
    max_minutes: float | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Explanation:
    """Find out by experiment why the training of a function fails.

    Args:
        train: Called with a seed, once for each trial.
        seed: With which it fails.
        finding: What is to be explained; None for the most serious finding.
        because: The failure in the user's words, where no finding tells it: `loss stays at 2.3`.
        max_minutes: Minutes after which no further trial begins.
        on_step: Told of each trial that has ended.

    Raises:
        CannotExplain: The function trains nothing, or `because` cannot be read.
        Exception: Whatever the function raises where nothing is changed and no finding tells why.
    """
    began = time.monotonic()
    engine = Engine(
        run=FunctionTrials(train, seed),
        may_begin=lambda: max_minutes is None or time.monotonic() - began < 60 * max_minutes,
        tell=on_step,
        finding=finding,
        because=because,
        here=True,
    )
    with _one_thread():
        return engine.explain()


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


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums round differently on other numbers of threads, and from call to call on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
