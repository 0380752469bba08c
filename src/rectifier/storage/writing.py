"""Writing a run folder, whose files `rectifier.storage.runs` describes.

Much of what writing needs loads when there is something to write: most processes below `rectifier run` never train.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rectifier import records
from rectifier._formatting import printable
from rectifier.storage.appended import AppendedFile

if TYPE_CHECKING:
    from rectifier.records import Changed, Fact, Manifest, Outcome, Snapshot

MANIFEST, OUTCOME, NOTES = "run.json", "outcome.json", "notes.jsonl"
KINDS = {
    "Writer": "writer", "Site": "site", "Snapshot": "snapshot", "Unseen": "unseen", "Changed": "change",
    "Treated": "treated", "Warned": "warning", "Parameter": "parameter", "Output": "output", "Feeds": "feeds",
    "Restarted": "restarted", "Applied": "applied", "Sight": "sight",
}  # fmt: skip
"""What a line calls a fact of a type."""


def write_manifest(folder: Path, manifest: "Manifest") -> None:
    """Write what has been started."""
    replace_whole(folder / MANIFEST, records.encode(manifest))


def write_outcome(folder: Path, outcome: "Outcome") -> None:
    """Write how it ended."""
    replace_whole(folder / OUTCOME, records.encode(outcome))


def write_note(folder: Path, name: str, text: str) -> None:
    """Add one note about the run; several processes may do so at once."""
    line = json.dumps({name: text}).encode() + b"\n"
    with (folder / NOTES).open("ab") as file:
        file.write(line)


class RunWriter:
    """A monitor's sink that writes to a run folder, one file per process.

    Nothing is created before a `Writer` is recorded, so a process that never trains leaves no file. When the disk
    refuses, or the file is gone or replaced, this one says so once on standard error and writes no more; the training
    goes on. No descriptor is open between two records: the script may close them all, or use their numbers for files
    of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._file: AppendedFile | None = None
        self._pid = os.getpid()
        self._early: list[Fact] = []
        self._changes: list[Changed] = []
        self._refused = False

    def record(self, fact: "Fact") -> None:
        """Write a fact, at once or as soon as there is a file."""
        self._begin_in_fork()
        match fact:
            case records.Unfinished():
                self._replace_latest(fact.snapshot)
                return
            case records.Writer():
                if self._file is None:
                    self._guarded(self._create)
                early, self._early = (fact, *self._changes, *self._early), []
                for one in early:
                    self._write(one)
                return
            case records.Restarted():
                self._early.clear()
                if self._file is None:
                    return
            case records.Changed():
                self._changes.append(fact)
                if self._file is None:
                    return
            case records.Warned():
                self._say(f"{fact.text}; the training goes on")
        self._write(fact)

    def _begin_in_fork(self) -> None:
        """Leave everything to the parent that is its own, except what was changed in the models of both."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._early.clear()
            self._file = None

    def _create(self) -> None:
        number = 0
        while True:
            path = self._folder / f"process-{self._pid}-{number}.jsonl"
            try:
                self._file = AppendedFile(path)
            except FileExistsError:
                number += 1
            else:
                self._latest = path.with_suffix(".latest.json")
                return

    def _replace_latest(self, snapshot: "Snapshot") -> None:
        file = self._file
        if file is None:
            return

        def replace() -> None:
            # Another folder may have taken the name of ours, and nothing of ours belongs there.
            file.check()
            replace_whole(self._latest, records.encode(snapshot))

        self._guarded(replace)

    def close(self) -> None:
        """Write no more to this process's file."""
        self._file = None

    def _write(self, fact: "Fact") -> None:
        if self._file is None:
            if not self._refused:
                self._early.append(fact)
            return
        file, kind = self._file, KINDS[type(fact).__name__]
        data = _data_of(fact)
        line = b'{"kind":"' + kind.encode() + b'","data":' + records.encode(data) + b"}\n"
        self._guarded(lambda: file.append(line))

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
        # A process without a console has no standard error, and a script may have closed its own.
        if sys.stderr is not None:
            with suppress(OSError, ValueError):
                print(f"rectifier: {printable(text)}", file=sys.stderr)  # noqa: T201


def _data_of(fact: "Fact") -> object:
    """What stands in its line."""
    if isinstance(fact, records.Changed | records.Warned):
        return fact.text
    return fact.written if isinstance(fact, records.Sight) else fact


def replace_whole(path: Path, data: bytes) -> None:
    """Write a file so that whoever reads it meanwhile gets a whole one, the old or the new."""
    beside = path.with_suffix(".part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
