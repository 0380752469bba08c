"""Writing which files a training opened: an append-only text per process beside its run, one opening a line.

`files-<pid>-<number>.jsonl` holds [kind, seconds since 1970, path], the kind being "read" or "write". A line is one
write that appends, so that a kill at any moment leaves whole lines.
"""

import itertools
import json
import os
from pathlib import Path
from typing import Literal

from rectifier.storage.appended import AppendedFile

Kind = Literal["read", "write"]

_AGAIN_AFTER = 1.0
"""Seconds within which another opening of the same file says nothing new."""


class TouchWriter:
    """Notes the files that this process opens, and those of the processes forked from it each in their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = 0
        self._file: AppendedFile | None = None
        self._noted: dict[tuple[Kind, str], float] = {}

    def note(self, kind: Kind, path: str, at: float) -> None:
        """Note one opening, unless the same was noted within a second.

        Raises:
            OSError: The note cannot be written; no other will be.
        """
        if os.getpid() != self._pid:
            self._pid, self._noted, self._file = os.getpid(), {}, None
            self._file = self._create()
        if self._file is None or at - self._noted.get((kind, path), 0.0) < _AGAIN_AFTER:
            return
        self._noted[kind, path] = at
        try:
            self._file.append(json.dumps([kind, at, path]).encode() + b"\n")
        except OSError:
            self._file = None
            raise

    def _create(self) -> AppendedFile:
        # The number of a process that has ended is given again, and a script that replaces itself keeps its own.
        for number in itertools.count():
            try:
                return AppendedFile(self._folder / f"files-{self._pid}-{number}.jsonl")
            except FileExistsError:
                continue
        raise AssertionError("unreachable")
