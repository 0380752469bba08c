"""A run is a folder: what was started, how it ended, and one append-only file per process that trained.

    run.json                       Manifest, written as the script starts
    process-<pid>-<n>.jsonl        one fact a line, {"kind": ..., "data": ...}, flushed line by line
    process-<pid>-<n>.latest.json  the unfinished window, replaced atomically
    notes.jsonl                    what the child said of itself, for the case that it never trains
    outcome.json                   Outcome, written after the script ended

A process that is killed leaves at worst a torn last line, which reading passes over.
"""

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rectifier.errors import UnreadableRun
from rectifier.records import (
    FORMAT_VERSION,
    Applied,
    Changed,
    Fact,
    Feeds,
    Manifest,
    Outcome,
    Output,
    Parameter,
    Process,
    Restarted,
    Run,
    RunNote,
    Sight,
    Site,
    Snapshot,
    Treated,
    Unfinished,
    Unseen,
    Warned,
    Writer,
    decode,
    merge_ranks,
    process_of,
    room_for,
)
from rectifier.storage.checking import check_process
from rectifier.storage.earlier import READERS, notes_in_format_1
from rectifier.storage.reading import Head, damaged, newer, read_whole, whole_lines
from rectifier.storage.writing import KINDS, MANIFEST, NOTES, OUTCOME

T = TypeVar("T")

_COUNT = re.compile(r"[0-9]{1,15}")


class _Line(msgspec.Struct):
    kind: str
    data: msgspec.Raw


def is_run_folder(path: Path) -> bool:
    """Whether this looks like a run folder at all."""
    return (path / MANIFEST).is_file()


def read_run(folder: Path) -> Run:
    """Read a run folder back, also while the script still runs or after it was killed.

    Raises:
        UnreadableRun: There is no such folder, it is no run folder, a newer version wrote it, or it is damaged
            other than by a torn last line; the text names the file and the line.
    """
    if not os.path.lexists(folder):
        raise UnreadableRun(f"there is no {folder}. `ls rectifier-runs` shows the runs made from a folder.")
    if not is_run_folder(folder):
        raise UnreadableRun(f"{folder} is not a run: it has no {MANIFEST}. Name a folder that `rectifier run` printed.")
    head = _fact(folder / MANIFEST, Head)
    if head.format_version > FORMAT_VERSION:
        raise newer(folder, head, FORMAT_VERSION)
    manifest = _fact(folder / MANIFEST, Manifest)
    try:
        # Sorted by age: `merge_ranks` and reports have processes in the order in which they began.
        written = sorted(folder.glob("process-*.jsonl"), key=_age)
        size = sum(map(_size, folder.iterdir()))
    except OSError as error:
        raise UnreadableRun(f"{folder} cannot be read: {error.strerror or error}.") from None
    with room_for(size):
        outcome = _fact(folder / OUTCOME, Outcome) if (folder / OUTCOME).exists() else None
        readers = READERS.get(manifest.format_version, {})
        processes = [process for path in written if (process := _read_process(path, readers)) is not None]
    processes.sort(key=lambda process: process.writer.rank)
    notes = _read_notes(folder / NOTES)
    if manifest.format_version == 1:
        notes = notes_in_format_1(notes, processes)
    return Run(manifest=manifest, processes=merge_ranks(processes), outcome=outcome, notes=notes)


def _size(path: Path) -> int:
    """In bytes; 0 of a file that has gone, as what is written beside another and then takes its place."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _age(path: Path) -> tuple[int, str]:
    return path.lstat().st_mtime_ns, path.name


def _fact(path: Path, kind: type[T]) -> T:
    try:
        return decode(read_whole(path), kind)
    except ValueError as error:
        raise damaged(path, error) from None


def _read_notes(path: Path) -> dict[str, str]:
    notes: dict[str, str] = {}
    if path.exists():
        for _, line in whole_lines(path):
            # Only what the child said of itself: nothing is concluded from its absence.
            with contextlib.suppress(ValueError):
                notes.update(decode(line, dict[str, str]))
    if not all(_COUNT.fullmatch(notes.get(name, "")) for name in (RunNote.LOOKED, RunNote.LAST_LOOK)):
        notes.pop(RunNote.LOOKED, None)
    return notes


def _read_process(path: Path, readers: Mapping[str, Callable[[bytes], object]]) -> Process | None:
    """What one process wrote; None where it was killed as it made its file."""
    # Read first: whatever it refers to stands in the process's file by then.
    latest = path.with_suffix(".latest.json")
    unfinished = _fact(latest, Snapshot) if latest.exists() else None
    facts: list[Any] = []
    number = 0
    for number, line in whole_lines(path):
        try:
            outer = decode(line, _Line)
            if outer.kind in _FACTS:
                read = readers.get(outer.kind, _FACTS[outer.kind])
                facts.append(read(bytes(outer.data)))
        except ValueError as error:
            raise damaged(path, error, number) from None
    if not number:
        return None
    writers = sum(isinstance(fact, Writer) for fact in facts)
    if not 1 <= writers <= 1 + sum(isinstance(fact, Restarted) for fact in facts):
        raise damaged(path, "it does not begin with the process that wrote it")
    last = next((fact for fact in reversed(facts) if isinstance(fact, Snapshot)), None)
    if unfinished is not None and (last is None or unfinished.step > last.step):
        facts.append(Unfinished(unfinished))
    process = process_of(facts)
    try:
        check_process(process)
    except ValueError as error:
        raise damaged(path, error) from None
    return process


def _reader(kind: type[Fact]) -> Callable[[bytes], object]:
    if issubclass(kind, Changed | Warned):
        return lambda data: kind(decode(data, str))
    return lambda data: decode(data, kind)


_FACTS = {
    KINDS[kind.__name__]: _reader(kind)
    for kind in (
        Writer, Site, Snapshot, Unseen, Changed, Treated, Warned, Parameter, Output, Feeds, Restarted,
        Applied, Sight,
    )
}  # fmt: skip
"""What reads a line, by what the line calls its fact."""
