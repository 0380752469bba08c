"""What a trial showed, read from its run."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rectifier.comparison.explain.trials.collapse import constant_optimum, sorted_by_class
from rectifier.comparison.explain.trials.idle import idle_changes
from rectifier.comparison.explain.trials.trial import Ask, Shown
from rectifier.comparison.script.trial import last_error
from rectifier.diagnosis import diagnose
from rectifier.errors import UnreadableRun
from rectifier.exit_codes import TIMED_OUT
from rectifier.launch import STOPPED
from rectifier.records import Finding, FloatArray, Outcome, Process, Run, RunNote
from rectifier.storage import read_run

_BETWEEN_LOOKS = 1.4
"""Ratio of the steps that two neighbouring looks have."""
_LONGEST_LOOKING = 10.0
"""Seconds that looking back may take; it only makes trials shorter."""


def outcome_of(run: Path) -> Outcome | None:
    """How a trial ended; None where it has not, or cannot be read.

    Args:
        run: Its folder.
    """
    try:
        return read_run(run).outcome if run.is_dir() else None
    except UnreadableRun:
        return None


def shown_so_far(ask: Ask, folder: Path) -> Shown | None:
    """What a trial at work has shown; None where it is too early to tell.

    Args:
        ask: What was asked of it.
        folder: Its run.
    """
    run = read_run(folder)
    process = _main_process(run)
    if process is None or not process.snapshots or process.snapshots[-1].step + 1 < ask.least:
        return None
    return shown_of(process, ask, crashed=False, whole=False, seconds=0.0)


def read_trial(ask: Ask, folder: Path, outcome: Outcome) -> Shown:
    """What a trial showed that has ended.

    Args:
        ask: What was asked of it.
        folder: Its run.
        outcome: How it ended.
    """
    run = read_run(folder)
    process = _main_process(run)
    if process is None:
        crashed = outcome.exit_code != 0
        error = _error(folder, outcome) if crashed else ""
        reads = RunNote.READS_INPUT in run.notes
        return Shown(losses=_none(), steps=0, crashed=crashed, error=error, reads_input=reads, seconds=outcome.seconds)
    crashed = outcome.exit_code != 0 and STOPPED not in run.notes
    return shown_of(
        process,
        ask,
        crashed=crashed,
        error=_error(folder, outcome) if crashed else "",
        reads_input=RunNote.READS_INPUT in run.notes,
        stopped=STOPPED in run.notes,
        seconds=outcome.seconds,
    )


def _error(folder: Path, outcome: Outcome) -> str:
    if outcome.exit_code == TIMED_OUT:
        return f"stopped after {outcome.seconds:.0f} s"
    return last_error(folder.parent) or f"exit code {outcome.exit_code}"


def shown_of(
    process: Process,
    ask: Ask,
    *,
    crashed: bool,
    seconds: float,
    error: str = "",
    reads_input: bool = False,
    stopped: bool = False,
    whole: bool = True,
) -> Shown:
    """What a process showed that trained as it was asked to.

    Args:
        process: What it wrote.
        ask: What was asked of it.
        crashed: Whether it ended by an error of its own.
        seconds: How long it took.
        error: What it said then, in one line.
        reads_input: Whether the script reads standard input.
        stopped: Whether it was ended before its end.
        whole: Whether it has ended, so that all is read that is asked once.
    """
    unchanged = whole and ask == Ask()
    return Shown(
        findings=diagnose(process).findings,
        history=_history(process) if unchanged else (),
        losses=process.series("loss").values,
        steps=process.snapshots[-1].step + 1 if process.snapshots else 0,
        crashed=crashed,
        error=error,
        reads_input=reads_input,
        stopped=stopped,
        seconds=seconds,
        applied=process.applied,
        sights=process.sights,
        idle=idle_changes(process) if unchanged else frozenset(),
        constant_optimum=unchanged and constant_optimum(process),
        sorted_by_class=unchanged and sorted_by_class(process),
    )


def _main_process(run: Run) -> Process | None:
    """The process of lowest rank that gave a loss, else the one of lowest rank."""
    with_loss = [process for process in run.processes if len(process.series("loss").values)]
    return min(with_loss or run.processes, key=lambda process: process.writer.rank, default=None)


def _history(process: Process) -> tuple[tuple[int, tuple[Finding, ...]], ...]:
    """What would have been found earlier: looks that are closer together the earlier they are, back to a silent one."""
    found: list[tuple[int, tuple[Finding, ...]]] = []
    began = time.perf_counter()
    for count in looks([snapshot.step for snapshot in process.snapshots]):
        earlier = replace(process, snapshots=process.snapshots[:count])
        found.insert(0, (earlier.snapshots[-1].step, diagnose(earlier).findings))
        silent = all(one.severity == "info" for one in found[0][1])
        if silent or time.perf_counter() - began > _LONGEST_LOOKING:
            break
    return tuple(found)


def looks(steps: Sequence[int]) -> Iterator[int]:
    """How many snapshots each look takes, from all of them back; snapshots are further apart the later they are.

    Args:
        steps: Of the snapshots.

    Example:
        >>> list(looks([0, 1, 2, 4, 8, 16]))
        [6, 5, 4, 3, 2, 1]
    """
    count = len(steps)
    while count:
        yield count
        bound = steps[count - 1] / _BETWEEN_LOOKS
        count = min(count - 1, sum(step <= bound for step in steps))


def _none() -> FloatArray:
    return np.empty(0)
