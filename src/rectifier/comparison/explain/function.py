"""`explain` of a Python function that trains, called in this process: what `explain_script` is for a script."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from rectifier.comparison.explain.engine import Engine
from rectifier.comparison.explain.progress import Step
from rectifier.comparison.explain.trials.function import FunctionTrials, Train
from rectifier.records import Explanation, Rule


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


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums round differently on other numbers of threads, and from call to call on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
