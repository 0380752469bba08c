"""Which files a training opened: an append-only text per process beside its run, one opening a line.

`files-<pid>.jsonl` holds [kind, seconds since 1970, path], the kind being "read" or "write". A line is one write to a
descriptor that appends, so that a kill at any moment leaves whole lines.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rectifier.records import Touched

Kind = Literal["read", "write"]

_AGAIN_AFTER = 1.0
"""Seconds within which another opening of the same file says nothing new."""


class TouchWriter:
    """Notes the files that this process opens, and those of the processes forked from it each in their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = 0
        self._descriptor = -1
        self._noted: dict[tuple[Kind, str], float] = {}

    def note(self, kind: Kind, path: str, at: float) -> None:
        """Note one opening, unless the same was noted within a second."""
        if os.getpid() != self._pid:
            self._pid, self._noted = os.getpid(), {}
            name = self._folder / f"files-{self._pid}.jsonl"
            self._descriptor = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if at - self._noted.get((kind, path), 0.0) < _AGAIN_AFTER:
            return
        self._noted[kind, path] = at
        os.write(self._descriptor, json.dumps([kind, at, path]).encode() + b"\n")


def read_touched(folder: Path) -> dict[str, Touched]:
    """Read what all processes of a run opened, by path; whatever is no line of ours is passed over."""
    found: dict[str, Touched] = {}
    for file in sorted(folder.glob("files-*.jsonl")):
        for line in file.read_bytes().splitlines():
            try:
                kind, at, path = json.loads(line)
                first, last = f"first_{kind}", f"last_{kind}"
                known = found.get(path, Touched(path=path))
                earliest, latest = getattr(known, first), getattr(known, last)
            except (ValueError, TypeError, AttributeError):
                continue
            found[path] = replace(
                known,
                **{
                    first: at if earliest is None else min(at, earliest),
                    last: at if latest is None else max(at, latest),
                },
            )
    return found
