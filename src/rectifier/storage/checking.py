"""What the facts of one process must keep to among each other, so that whoever judges them need not ask again.

Each field by itself has been checked as it was decoded. Here arrays are compared with the units, steps and parameters
that they count, and indices with what they refer to.
"""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from rectifier.records import IntArray, OutputWindow, ParameterCounts, Process, SiteWindow, Snapshot

_BY_STEP = frozenset({"steps", "delta", "update", "learning_rate", "square", "spread"})
"""Arrays of a site's window with a number for each step; its others have one for each unit."""

_NOT_NEGATIVE = (
    "mean_abs", "delta", "update", "square", "spread", "features_square", "features_spread", "target_square",
    "target_spread", "weight_first", "weight_last", "gradient",
)  # fmt: skip
"""Arrays of norms and of mean squares. What is not a number is neither."""


def check_process(process: Process) -> None:
    """Check what one process wrote.

    Raises:
        ValueError: Something does not fit; the text names it.
    """
    step = -1
    for number, snapshot in enumerate(process.snapshots, 1):
        try:
            if snapshot.step < step:
                raise ValueError(f"it comes after step {step}")
            step = snapshot.step
            _check_snapshot(snapshot, process)
        except ValueError as error:
            raise ValueError(f"snapshot {number}, of step {snapshot.step}: {error}") from None
    for pair in process.feeds or ():
        _check_index(max(pair), len(process.sites), "site")


def _check_snapshot(snapshot: Snapshot, process: Process) -> None:
    """Check one snapshot.

    Args:
        snapshot: It.
        process: What its indices refer to.
    """
    for window in snapshot.windows:
        _check_index(window.site, len(process.sites), "site")
        _check_window(window, process.sites[window.site].units or 0)
    for name, series in snapshot.series.items():
        if len(series.steps) != len(series.values):
            raise ValueError(f"{len(series.values)} values at {len(series.steps)} steps in the series {name!r}")
        _check_ascending(series.steps, f"the series {name!r}")
    if snapshot.parameters is not None:
        _check_counts(snapshot.parameters, len(process.parameters))
    for output in snapshot.outputs:
        _check_index(output.output, len(process.outputs), "output")
        _check_lengths(output, len(output.steps))
        _check_ascending(output.steps, f"output {output.output}")


def _check_window(window: SiteWindow, units: int) -> None:
    for name, length in _lengths(window):
        expected, of = (len(window.steps), "steps") if name in _BY_STEP else (units, "units")
        if length != expected:
            raise ValueError(f"`{name}` of site {window.site} has {length} numbers for {expected} {of}")
    _check_signs(window)
    if not len(window.steps):
        raise ValueError(f"the window of site {window.site} has no step")
    _check_ascending(window.steps, f"site {window.site}")


def _check_counts(counts: ParameterCounts, parameters: int) -> None:
    known = len(counts.looked)
    if known > parameters:
        raise ValueError(f"it counts {known} parameters of {parameters}")
    _check_lengths(counts, known)
    if known:
        _check_index(int(counts.optimizer.max()), len(counts.optimizers), "optimizer")


def _check_lengths(fact: OutputWindow | ParameterCounts, expected: int) -> None:
    for name, length in _lengths(fact):
        if length != expected:
            raise ValueError(f"`{name}` has {length} numbers instead of {expected}")
    _check_signs(fact)


def _check_signs(fact: SiteWindow | OutputWindow | ParameterCounts) -> None:
    for name in _NOT_NEGATIVE:
        numbers = getattr(fact, name, None)
        if numbers is not None and np.any(numbers < 0):
            raise ValueError(f"`{name}` holds a number below 0")


def _lengths(fact: SiteWindow | OutputWindow | ParameterCounts) -> Iterator[tuple[str, int]]:
    for field in fields(fact):
        value = getattr(fact, field.name)
        if isinstance(value, np.ndarray):
            yield field.name, len(value)


def _check_ascending(steps: IntArray, of: str) -> None:
    if len(steps) and (steps[0] < 0 or np.any(np.diff(steps) < 0)):
        raise ValueError(f"the steps of {of} do not ascend")


def _check_index(index: int, known: int, what: str) -> None:
    if index >= known:
        raise ValueError(f"it counts {what} {index} of {known}")
