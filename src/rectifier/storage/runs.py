"""A run is a folder: what was started, how it ended, and one append-only file per process that trained.

    run.json                       Manifest, written as the script starts
    process-<pid>-<n>.jsonl        one fact a line, {"kind": ..., "data": ...}, flushed line by line
    process-<pid>-<n>.latest.json  the unfinished window, replaced atomically
    notes.jsonl                    what the child said of itself, for the case that it never trains
    outcome.json                   Outcome, written after the script ended

A process that is killed leaves at worst a torn last line, which reading passes over.
"""

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
)
from rectifier.storage.earlier import READERS, notes_in_format_1
from rectifier.storage.writing import KINDS, MANIFEST, NOTES, OUTCOME

T = TypeVar("T")


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
    if not folder.exists():
        raise UnreadableRun(f"there is no {folder}. `ls rectifier-runs` shows the runs made from a folder.")
    if not is_run_folder(folder):
        raise UnreadableRun(f"{folder} is not a run: it has no {MANIFEST}. Name a folder that `rectifier run` printed.")
    manifest = _fact(folder / MANIFEST, Manifest)
    if manifest.format_version > FORMAT_VERSION:
        raise UnreadableRun(
            f"{folder} was written by rectifier {manifest.rectifier} in format {manifest.format_version}; this version "
            f"reads up to {FORMAT_VERSION}. Upgrade with `pip install -U rectifier`."
        )
    outcome = _fact(folder / OUTCOME, Outcome) if (folder / OUTCOME).is_file() else None
    # A file without a whole line belongs to a process that was killed as it made it.
    written = [path for path in folder.glob("process-*.jsonl") if b"\n" in _read(path)]
    readers = READERS.get(manifest.format_version, {})
    processes = [_read_process(path, readers) for path in sorted(written, key=_age)]
    processes.sort(key=lambda process: process.writer.rank)
    notes = _read_notes(folder / NOTES)
    if manifest.format_version == 1:
        notes = notes_in_format_1(notes, processes)
    return Run(manifest=manifest, processes=merge_ranks(processes), outcome=outcome, notes=notes)


def _age(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableRun(f"{path} cannot be read: {error.strerror or error}") from None


def _fact(path: Path, kind: type[T]) -> T:
    try:
        return decode(_read(path), kind)
    except ValueError as error:
        raise UnreadableRun(f"{path} is damaged or not Rectifier's: {error}") from None


def _read_notes(path: Path) -> dict[str, str]:
    notes: dict[str, str] = {}
    if path.is_file():
        for line in _read(path).splitlines():
            try:
                notes.update(msgspec.json.decode(line, type=dict[str, str]))
            except ValueError:
                # Only what the child said of itself, and torn: nothing is concluded from its absence.
                continue
    return notes


def _read_process(path: Path, readers: Mapping[str, Callable[[bytes], object]]) -> Process:
    facts: list[Any] = []
    lines = _read(path).split(b"\n")
    # A whole file ends with a line's end; what comes after the last one is a torn line.
    for number, line in enumerate(lines[:-1], 1):
        try:
            outer = decode(line, _Line)
            if outer.kind in _FACTS:
                read = readers.get(outer.kind, _FACTS[outer.kind])
                facts.append(read(bytes(outer.data)))
        except ValueError as error:
            raise UnreadableRun(f"{path}, line {number} is damaged: {error}") from None
    writers = sum(isinstance(fact, Writer) for fact in facts)
    if not 1 <= writers <= 1 + sum(isinstance(fact, Restarted) for fact in facts):
        raise UnreadableRun(f"{path} does not begin with the process that wrote it; was it cut or joined by hand?")
    latest = path.with_suffix(".latest.json")
    if latest.is_file():
        unfinished = _fact(latest, Snapshot)
        last = next((fact for fact in reversed(facts) if isinstance(fact, Snapshot)), None)
        if last is None or unfinished.step > last.step:
            facts.append(Unfinished(unfinished))
    process = process_of(facts)
    sites = range(len(process.sites))
    if any(window.site not in sites for snapshot in process.snapshots for window in snapshot.windows):
        raise UnreadableRun(f"{path} counts a site that it never names; was it cut by hand?")
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
