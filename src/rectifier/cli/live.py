"""`rectifier run --live`: a table at the bottom of the terminal while the script trains.

The script's own output goes where it always goes, untouched. As apt does for its progress bar, the terminal is asked to
scroll in the rows above ours only, and whatever we write is put there with the cursor saved and restored, in one write.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from rectifier.launch.signals import for_the_script
from rectifier.report.text.terminal import echo

_SECONDS = 1.0
"""Between two looks at the run folder."""

_SHARE = 0.05
"""Largest share of this process's time that reading and drawing may take; it is not the script's process."""

_FEWEST_ROWS = 12
_FEWEST_COLUMNS = 40
_MOST_LINES = 14
_PART = 3
"""At most one third of the terminal is ours."""


@contextlib.contextmanager
def live(folder: Path) -> Iterator[None]:
    """Show the run in a folder while the block runs, if standard error is a terminal."""
    reason = _why_not()
    if reason is not None:
        echo(f"rectifier: --live shows nothing: {reason}.", err=True)
        yield
        return
    table = LiveTable(folder, sys.stderr.fileno())
    table.start()
    try:
        yield
    finally:
        table.stop()


def _why_not() -> str | None:
    if not sys.stderr.isatty():
        return "standard error is not a terminal"
    if os.environ.get("TERM", "dumb") == "dumb":
        return "this terminal takes no commands (TERM=dumb)"
    size = os.get_terminal_size(sys.stderr.fileno())
    if size.lines < _FEWEST_ROWS or size.columns < _FEWEST_COLUMNS:
        return f"the terminal is smaller than {_FEWEST_COLUMNS} columns and {_FEWEST_ROWS} rows"
    return None


class LiveTable:
    """The rows at the bottom of a terminal.

    Args:
        folder: The run's.
        terminal: File descriptor of the terminal.
        seconds: Between two looks at the folder.
    """

    def __init__(self, folder: Path, terminal: int, seconds: float = _SECONDS) -> None:
        self._folder = folder
        self._terminal = terminal
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="rectifier-live", daemon=True)
        self._size: os.terminal_size | None = None

    def start(self) -> None:
        """Take the rows and begin to look."""
        self._take()
        self._thread.start()

    def stop(self) -> None:
        """Give the rows back; nothing of ours stays on the screen."""
        self._ended.set()
        self._thread.join()
        if self._size is None:
            return
        ours = range(self._size.lines - self._rows + 1, self._size.lines + 1)
        cleared = "".join(f"\x1b[{row};1H\x1b[2K" for row in ours)
        # The margins first: setting them moves the cursor, which is restored last.
        self._write(f"\x1b7\x1b[r{cleared}\x1b8")
        self._size = None

    @property
    def _rows(self) -> int:
        assert self._size is not None
        return min(_MOST_LINES, self._size.lines // _PART)

    def _take(self) -> None:
        self._size = os.get_terminal_size(self._terminal)
        rows = self._rows
        # Scrolled up first, so that what stands there moves above our rows, and the cursor with it.
        self._write("\n" * rows + f"\x1b7\x1b[1;{self._size.lines - rows}r\x1b8\x1b[{rows}A")

    def _look(self) -> None:
        # Signals are for the thread that waits for the script.
        signal.pthread_sigmask(signal.SIG_BLOCK, for_the_script())
        # What drawing needs is not imported before the script has started, and is not counted as drawing.
        with contextlib.suppress(Exception):
            import_module("rectifier.report.text.live")
        wait = 0.0
        while not self._ended.wait(wait):
            began = time.thread_time()
            # A table that cannot be drawn just now is no reason to trouble anybody's training.
            with contextlib.suppress(Exception):
                self._draw()
            wait = max(self._seconds, (time.thread_time() - began) / _SHARE)

    def _draw(self) -> None:
        size = os.get_terminal_size(self._terminal)
        if size != self._size:
            self._take()
        lines = self._lines(size.columns, self._rows)
        first = size.lines - self._rows + 1
        rows = [f"\x1b[{first + index};1H\x1b[2K{line}" for index, line in enumerate(lines)]
        self._write(f"\x1b7{''.join(rows)}\x1b8")

    def _lines(self, columns: int, rows: int) -> list[str]:
        from rectifier.diagnosis import diagnose  # noqa: PLC0415
        from rectifier.errors import UnreadableRun  # noqa: PLC0415
        from rectifier.report.text.live import live_lines  # noqa: PLC0415
        from rectifier.storage import read_run  # noqa: PLC0415

        try:
            run = read_run(self._folder)
        except UnreadableRun:
            return live_lines(None, [], columns, rows, sys.stderr.encoding)
        return live_lines(run, [diagnose(one) for one in run.processes], columns, rows, sys.stderr.encoding)

    def _write(self, text: str) -> None:
        # One write: what the script prints at the same time cannot come between the saving and restoring of the cursor.
        with contextlib.suppress(OSError):
            os.write(self._terminal, text.encode(sys.stderr.encoding or "utf-8", "replace"))
