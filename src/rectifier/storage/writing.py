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
from rectifier.storage.appended import AppendedFile

if TYPE_CHECKING:
    from rectifier.records import Manifest, Outcome, Site, Snapshot, Treated, Unseen, Writer

MANIFEST, OUTCOME, NOTES = "run.json", "outcome.json", "notes.jsonl"


def write_manifest(folder: Path, manifest: "Manifest") -> None:
    """Write what has been started."""
    _replace(folder / MANIFEST, records.encode(manifest))


def write_outcome(folder: Path, outcome: "Outcome") -> None:
    """Write how it ended."""
    _replace(folder / OUTCOME, records.encode(outcome))


def write_note(folder: Path, name: str, text: str) -> None:
    """Add one note about the run; several processes may do so at once."""
    line = json.dumps({name: text}).encode() + b"\n"
    with (folder / NOTES).open("ab") as file:
        file.write(line)


class RunWriter:
    """A monitor's sink that writes to a run folder, one file per process.

    Nothing is created before `open`, so a process that never trains leaves no file. When the disk refuses, or the
    file is gone or replaced, the writer says so once on standard error and writes no more; the training goes on. No
    descriptor is open between two records: the script may close them all, or use their numbers for files of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._file: AppendedFile | None = None
        self._pid = os.getpid()
        self._early: list[tuple[str, object]] = []
        self._changes: list[str] = []
        self._refused = False

    def open(self, writer: "Writer") -> None:
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

    def site(self, site: "Site") -> None:
        """Write a new site."""
        self._write("site", site)

    def parameter(self, parameter: "Parameter") -> None:
        """Write a new parameter."""
        self._write("parameter", parameter)

    def output(self, output: "Output") -> None:
        """Write a new output."""
        self._write("output", output)

    def feeds(self, feeds: "Feeds") -> None:
        """Write which sites feed each other."""
        self._write("feeds", feeds)

    def restart(self) -> None:
        """Take back what has been written."""
        self._early.clear()
        self.close()

    def snapshot(self, snapshot: "Snapshot") -> None:
        """Append a finished window, which makes the unfinished one obsolete."""
        self._write("snapshot", snapshot)

    def latest(self, snapshot: "Snapshot") -> None:
        """Replace the unfinished window."""
        self._begin_in_fork()
        file = self._file
        if file is None:
            return

        def replace() -> None:
            # Another folder may have taken the name of ours, and nothing of ours belongs there.
            file.check()
            _replace(self._latest, records.encode(snapshot))

        self._guarded(replace)

    def unseen(self, unseen: "Unseen") -> None:
        """Write what was not observed."""
        self._write("unseen", unseen)

    def change(self, text: str) -> None:
        """Write what was changed in the user's model; it holds in forked children, too."""
        self._changes.append(text)
        if self._file is not None:
            self._write("change", text)

    def treated(self, treated: "Treated") -> None:
        """Write what was changed in the user's model while it trains."""
        self._write("treated", treated)

    def warning(self, text: str) -> None:
        """Write what went wrong inside of Rectifier, and say it once to the user."""
        self._write("warning", text)
        self._say(f"{text}; the training goes on")

    def close(self) -> None:
        """Write no more to this process's file."""
        self._file = None

    def _write(self, kind: str, fact: object) -> None:
        self._begin_in_fork()
        if self._file is None:
            if not self._refused:
                self._early.append((kind, fact))
            return
        file = self._file
        line = b'{"kind":"' + kind.encode() + b'","data":' + records.encode(fact) + b"}\n"
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
                print(f"rectifier: {text}", file=sys.stderr)  # noqa: T201


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_suffix(".part")
    beside.write_bytes(data)
    beside.replace(path)
