"""Whether a trial's script reads its standard input: trials get an empty one, and so other data than the user's run.

The bootstrap loads it by its path, before the script: it imports nothing of ours.
"""

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

NOTE = "reads_standard_input"


def hear_reading(folder: str) -> None:
    """Note the first read of standard input through `sys.stdin` or `input()`, from now on.

    Args:
        folder: Of the run; its notes get a line, as `rectifier.storage` reads it.
    """

    def read() -> None:
        with suppress(OSError), open(os.path.join(folder, "notes.jsonl"), "a", encoding="utf-8") as notes:
            notes.write(json.dumps({NOTE: ""}) + "\n")

    before = sys.stdin
    if not isinstance(before, io.TextIOWrapper) or before is not sys.__stdin__:
        return
    with suppress(OSError, ValueError):
        if os.fstat(0).st_rdev != os.stat(os.devnull).st_rdev:
            # What a script itself starts is given another one.
            return
        reader = io.BufferedReader(_Heard(read))
        sys.stdin = sys.__stdin__ = _Stdin(reader, before.encoding, before.errors)  # type: ignore[misc]


class _Stdin(io.TextIOWrapper):
    mode = "r"


class _Heard(io.FileIO):
    """Descriptor 0, which tells when it is first read."""

    def __init__(self, read: Callable[[], None]) -> None:
        super().__init__(0, "rb", closefd=False)
        self.name = "<stdin>"  # type: ignore[assignment,unused-ignore]
        self._tell: Callable[[], None] | None = read

    def readinto(self, buffer: Any) -> Any:
        """As its parent."""
        self._told()
        return super().readinto(buffer)

    def readall(self) -> bytes:
        """As its parent."""
        self._told()
        return super().readall()

    def read(self, size: int | None = -1, /) -> Any:
        """As its parent."""
        self._told()
        return super().read(-1 if size is None else size)

    def _told(self) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()
