"""Reading which files a training opened, where whoever trains pays nothing for it."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rectifier.errors import UnreadableRun
from rectifier.records import Touched, decode
from rectifier.storage.reading import whole_lines
from rectifier.storage.touched import Kind


def read_touched(folder: Path) -> dict[str, Touched]:
    """Read what all processes of a run opened, by path; whatever is no line of ours is passed over."""
    found: dict[str, Touched] = {}
    for file in sorted(folder.glob("files-*.jsonl")):
        for line in _lines(file):
            try:
                kind, at, path = decode(line, tuple[Kind, float, str])
            except ValueError:
                continue
            known = found.get(path, Touched(path=path))
            found[path] = _read_at(known, at) if kind == "read" else _written_at(known, at)
    return found


def _read_at(known: Touched, at: float) -> Touched:
    if known.first_read is None or known.last_read is None:
        return replace(known, first_read=at, last_read=at)
    return replace(known, first_read=min(at, known.first_read), last_read=max(at, known.last_read))


def _written_at(known: Touched, at: float) -> Touched:
    if known.first_write is None or known.last_write is None:
        return replace(known, first_write=at, last_write=at)
    return replace(known, first_write=min(at, known.first_write), last_write=max(at, known.last_write))


def _lines(file: Path) -> Iterator[bytes]:
    """What can be read of it: the training's own code may have put anything there."""
    with contextlib.suppress(UnreadableRun):
        for _, line in whole_lines(file):
            yield line
