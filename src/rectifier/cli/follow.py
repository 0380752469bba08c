"""`rectifier report RUN --html PAGE --follow`: the page again and again, until the run ends."""

import time
from collections.abc import Callable
from pathlib import Path

from rectifier.records import Run
from rectifier.report.text.terminal import echo
from rectifier.storage import read_run

REFRESH_SECONDS = 10
_SECONDS = 2.0
_SHARE = 0.1
"""Largest share of the time that writing pages may take."""
_PATIENCE_SECONDS = 1_800.0
"""A run whose folder has not changed for so long was killed without an end on record."""


def follow(folder: Path, write: Callable[[Run, int | None], None]) -> Run:
    """Write a run's page whenever its folder has changed, until the run has ended or is followed no longer.

    Args:
        folder: The run's.
        write: Gets the run and after how many seconds the page shall load itself again; None for a page that is final.

    Returns:
        The run as it was last read.

    Raises:
        UnreadableRun: There is no such run.
    """
    run, seen, changed, wait = read_run(folder), None, time.monotonic(), _SECONDS
    try:
        while run.outcome is None:
            state = _state(folder)
            if state != seen:
                began = time.monotonic()
                run, seen = read_run(folder), state
                if run.outcome is not None:
                    break
                write(run, REFRESH_SECONDS)
                changed = time.monotonic()
                wait = max(_SECONDS, (changed - began) / _SHARE)
            elif time.monotonic() - changed > _PATIENCE_SECONDS:
                echo(f"Nothing was written to {folder} for half an hour: it is followed no longer.", err=True)
                break
            time.sleep(wait)
    except KeyboardInterrupt:
        echo("Followed no longer; the training goes on.", err=True)
    write(run, None)
    return run


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes as soon as anything is written."""
    found = []
    for path in folder.iterdir():
        try:
            about = path.stat()
        except OSError:
            # Replaced just now: its successor is seen next time.
            continue
        found.append((path.name, about.st_size, about.st_mtime_ns))
    return tuple(sorted(found))
