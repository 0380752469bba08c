"""A run is a folder: what was started, how it ended, and one append-only file per process that trained.

    run.json                       Manifest, written as the script starts
    process-<pid>-<n>.jsonl        one fact a line, {"kind": ..., "data": ...}, flushed line by line
    process-<pid>-<n>.latest.json  the unfinished window, replaced atomically
    notes.jsonl                    what the child said of itself, for the case that it never trains
    outcome.json                   Outcome, written after the script ended

A process that is killed leaves at worst a torn last line, which reading passes over.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from rectifier.errors import UnreadableRun
from rectifier.records import (
    FORMAT_VERSION,
    Manifest,
    Outcome,
    Process,
    Run,
    Site,
    Snapshot,
    Treated,
    Unseen,
    Writer,
    decode,
    encode,
    merge_ranks,
)

_MANIFEST, _OUTCOME, _NOTES = "run.json", "outcome.json", "notes.jsonl"

T = TypeVar("T")


class _Line(msgspec.Struct):
    kind: str
    data: msgspec.Raw


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write what has been started."""
    _replace(folder / _MANIFEST, encode(manifest))


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write how it ended."""
    _replace(folder / _OUTCOME, encode(outcome))


def write_note(folder: Path, name: str, text: str) -> None:
    """Add one note about the run; several processes may do so at once."""
    line = msgspec.json.encode({name: text}) + b"\n"
    with (folder / _NOTES).open("ab") as file:
        file.write(line)


def is_run_folder(path: Path) -> bool:
    """Whether this looks like a run folder at all."""
    return (path / _MANIFEST).is_file()


class RunWriter:
    """A monitor's sink that writes to a run folder, one file per process.

    Nothing is created before `open`, so a process that never trains leaves no file. When the disk refuses, the
    writer says so once on standard error and writes no more; the training goes on.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._pid = os.getpid()
        self._early: list[tuple[str, object]] = []
        self._changes: list[str] = []
        self._refused = False

    def open(self, writer: Writer) -> None:
        """Create this process's file."""
        self._begin_in_fork()
        self._guarded(self._create)
        self._write("writer", writer)
        for text in self._changes:
            self._write("change", text)
        for kind, fact in self._early:
            self._write(kind, fact)
        self._early.clear()

    def _begin_in_fork(self) -> None:
        """Leave everything to the parent that is its own, except what was changed in the models of both."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._early.clear()
            if self._file is not None:
                # Our copy of its descriptor: closing it writes nothing, the file has no buffer.
                self._file.close()
                self._file = None

    def _create(self) -> None:
        number = 0
        while True:
            path = self._folder / f"process-{self._pid}-{number}.jsonl"
            try:
                # Without a buffer there is nothing that could be written twice, or at an end that nobody chose.
                self._file = path.open("xb", buffering=0)
            except FileExistsError:
                number += 1
            else:
                self._latest = path.with_suffix(".latest.json")
                return

    def site(self, site: Site) -> None:
        """Write a new site."""
        self._write("site", site)

    def snapshot(self, snapshot: Snapshot) -> None:
        """Append a finished window, which makes the unfinished one obsolete."""
        self._write("snapshot", snapshot)

    def latest(self, snapshot: Snapshot) -> None:
        """Replace the unfinished window."""
        self._guarded(lambda: _replace(self._latest, encode(snapshot)))

    def unseen(self, unseen: Unseen) -> None:
        """Write what was not observed."""
        self._write("unseen", unseen)

    def change(self, text: str) -> None:
        """Write what was changed in the user's model; it holds in forked children, too."""
        self._changes.append(text)
        if self._file is not None:
            self._write("change", text)

    def treated(self, treated: Treated) -> None:
        """Write what was changed in the user's model while it trains."""
        self._write("treated", treated)

    def warning(self, text: str) -> None:
        """Write what went wrong inside of Rectifier, and say it once to the user."""
        self._write("warning", text)
        self._say(f"{text}; the training goes on")

    def close(self) -> None:
        """Close this process's file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _write(self, kind: str, fact: object) -> None:
        self._begin_in_fork()
        if self._file is None:
            if not self._refused:
                self._early.append((kind, fact))
            return
        file = self._file
        line = b'{"kind":"' + kind.encode() + b'","data":' + encode(fact) + b"}\n"
        self._guarded(lambda: _write_all(file, line))

    def _guarded(self, write: Callable[[], object]) -> None:
        if self._refused:
            return
        try:
            write()
        except OSError as error:
            self._refused = True
            reason = error.strerror or str(error)
            self._say(f"cannot write to {self._folder}: {reason}; the training goes on, unrecorded from here")

    def _say(self, text: str) -> None:
        # A process without a console has no standard error.
        if sys.stderr is not None:
            print(f"rectifier: {text}", file=sys.stderr)  # noqa: T201


def _write_all(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_suffix(".part")
    beside.write_bytes(data)
    beside.replace(path)


def read_run(folder: Path) -> Run:
    """Read a run folder back, also while the script still runs or after it was killed.

    Raises:
        UnreadableRun: There is no such folder, it is no run folder, a newer version wrote it, or it is damaged
            other than by a torn last line; the text names the file and the line.
    """
    if not folder.exists():
        raise UnreadableRun(f"there is no {folder}. `ls rectifier-runs` shows the runs made from a folder.")
    if not is_run_folder(folder):
        raise UnreadableRun(
            f"{folder} is not a run: it has no {_MANIFEST}. Name a folder that `rectifier run` printed."
        )
    manifest = _fact(folder / _MANIFEST, Manifest)
    if manifest.format_version > FORMAT_VERSION:
        raise UnreadableRun(
            f"{folder} was written by rectifier {manifest.rectifier} in format {manifest.format_version}; this version "
            f"reads up to {FORMAT_VERSION}. Upgrade with `pip install -U rectifier`."
        )
    outcome = _fact(folder / _OUTCOME, Outcome) if (folder / _OUTCOME).is_file() else None
    # A file without a whole line belongs to a process that was killed as it made it.
    written = [path for path in folder.glob("process-*.jsonl") if b"\n" in _read(path)]
    processes = [_read_process(path) for path in sorted(written, key=_age)]
    processes.sort(key=lambda process: process.writer.rank)
    return Run(manifest=manifest, processes=merge_ranks(processes), outcome=outcome, notes=_read_notes(folder / _NOTES))


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


def _read_process(path: Path) -> Process:
    found: dict[str, list[object]] = {kind: [] for kind in _KINDS}
    lines = _read(path).split(b"\n")
    # A whole file ends with a line's end; what comes after the last one is a torn line.
    for number, line in enumerate(lines[:-1], 1):
        try:
            outer = msgspec.json.decode(line, type=_Line)
            if outer.kind in _KINDS:
                found[outer.kind].append(decode(bytes(outer.data), _KINDS[outer.kind]))
        except ValueError as error:
            raise UnreadableRun(f"{path}, line {number} is damaged: {error}") from None
    if len(found["writer"]) != 1:
        raise UnreadableRun(f"{path} does not begin with the process that wrote it; was it cut or joined by hand?")
    snapshots: list[Snapshot] = list(found["snapshot"])  # type: ignore[arg-type]
    latest = path.with_suffix(".latest.json")
    if latest.is_file():
        unfinished = _fact(latest, Snapshot)
        if not snapshots or unfinished.step > snapshots[-1].step:
            snapshots.append(unfinished)
    sites = tuple(found["site"])
    if any(not 0 <= window.site < len(sites) for snapshot in snapshots for window in snapshot.windows):
        raise UnreadableRun(f"{path} counts a site that it never names; was it cut by hand?")
    return Process(
        writer=found["writer"][0],  # type: ignore[arg-type]
        sites=sites,  # type: ignore[arg-type]
        snapshots=tuple(snapshots),
        unseen=tuple(found["unseen"]),  # type: ignore[arg-type]
        changes=tuple(found["change"]),  # type: ignore[arg-type]
        warnings=tuple(found["warning"]),  # type: ignore[arg-type]
        treated=tuple(found["treated"]),  # type: ignore[arg-type]
    )


_KINDS: dict[str, type] = {
    "writer": Writer, "site": Site, "snapshot": Snapshot, "unseen": Unseen, "change": str, "warning": str,
    "treated": Treated,
}  # fmt: skip
