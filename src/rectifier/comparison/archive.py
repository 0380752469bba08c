"""A comparison on disk: one SQLite file that one driver writes, whole after every finished trial. No torch."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from rectifier.comparison import older
from rectifier.comparison.question import Question
from rectifier.comparison.weighing import Plan, plan_of, weigh
from rectifier.errors import NothingToCompare, UnreadableRun
from rectifier.records import Comparison, Trial, decode, encode

FILE_NAME = "comparison.sqlite"

ARCHIVE_VERSION = 3
"""Raised when a reader of the previous version cannot read a file: in 1 a failure was a sentence; in 2 the plan of
interim analyses had another name, and so had the baseline."""

# The table has the name that the first version gave it.
_TABLES = """
    CREATE TABLE IF NOT EXISTS study (name TEXT PRIMARY KEY, value BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS trials (key TEXT PRIMARY KEY, trial BLOB NOT NULL);
"""


class Archive:
    """The finished trials of one comparison, by the key of what was run. Comes from `open_archive`; one thread only."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def keep_question(self, question: Question) -> None:
        """Remember what was asked last; trials of earlier questions stay."""
        self._set("question", encode(question))

    def question(self) -> Question | None:
        """What was asked last, None in a new comparison."""
        found = self._get("question")
        return None if found is None else older.read_question(found)

    def keep_judged(self, question: Question) -> None:
        """Remember that a question has been judged: another plan of analyses or arms would be a second chance."""
        self._set("judged", encode(tuple(dict.fromkeys((*self.judged(), plan_of(question))))))

    def judged(self) -> tuple[Plan, ...]:
        """By which plans these trainings have been judged."""
        found = self._get("judged")
        return () if found is None else older.read_plans(found)

    def add_seconds(self, seconds: float) -> None:
        """Add to the time that the comparison has taken, over all its continuations."""
        self._set("seconds", encode(self.seconds() + seconds))

    def seconds(self) -> float:
        """Time that the comparison has taken."""
        found = self._get("seconds")
        return 0.0 if found is None else decode(found, float)

    def record(self, key: str, trial: Trial) -> None:
        """Keep a finished trial; when this returns it survives a kill."""
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO trials VALUES (?, ?)", (key, encode(trial)))

    def forget(self, keys: Iterable[str]) -> None:
        """Drop trials, so that they are run again."""
        with self._connection:
            self._connection.executemany("DELETE FROM trials WHERE key = ?", [(key,) for key in keys])

    def trials(self) -> dict[str, Trial]:
        """All finished trials by key."""
        rows = self._connection.execute("SELECT key, trial FROM trials").fetchall()
        return {key: older.read_trial(trial) for key, trial in rows}

    def _set(self, name: str, value: bytes) -> None:
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO study VALUES (?, ?)", (name, value))

    def _get(self, name: str) -> bytes | None:
        row = self._connection.execute("SELECT value FROM study WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])


@contextlib.contextmanager
def open_archive(folder: Path) -> Iterator[Archive]:
    """Open a comparison for writing, creating it when there is none; one driver at a time.

    Raises:
        NothingToCompare: Another driver is at work on this comparison, or the folder cannot be written.
        UnreadableRun: The folder holds a file of that name which is not a comparison of this version.
    """
    path = _file_in(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The lock is the folder's own: nothing is left behind, and a killed driver has let go of it.
        with _only_driver(folder), contextlib.closing(sqlite3.connect(path)) as connection:
            # A rollback journal rather than WAL: the single file is whole, also on a network or read-only disk.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
            archive = Archive(connection)
            _check_version(archive, path)
            archive._set("format_version", encode(ARCHIVE_VERSION))
            yield archive
    except sqlite3.DatabaseError as error:
        raise UnreadableRun(
            f"{path} is not a comparison that can be continued ({error}); name another folder."
        ) from error
    except OSError as error:
        raise NothingToCompare(
            f"the comparison's folder {folder} cannot be written ({error.strerror or error}); "
            "name another with --out DIR."
        ) from error


@contextlib.contextmanager
def _only_driver(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NothingToCompare(
                f"another rectifier compare is at work in {folder}; wait for it, or name another folder with --out DIR."
            ) from error
        yield
    finally:
        os.close(handle)


def _check_version(archive: Archive, path: Path) -> None:
    found = archive._get("format_version")
    if found is not None and decode(found, int) > ARCHIVE_VERSION:
        raise UnreadableRun(f"{path} was written by a newer version of Rectifier; update this one to read it.")


def _file_in(folder: Path) -> Path:
    """The file of a comparison's folder; an earlier version's is continued under the name that it has."""
    now, before = folder / FILE_NAME, folder / older.FILE_NAME
    return before if before.is_file() and not now.exists() else now


def is_comparison(path: Path) -> bool:
    """Whether this looks like a comparison: its folder, or its single file wherever that was copied."""
    if path.is_dir():
        return _file_in(path).is_file()
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def kept_question(folder: Path) -> Question | None:
    """What was last asked in a comparison's folder, None when there is no comparison that can be read."""
    file = _file_in(folder)
    if not file.is_file():
        return None
    try:
        with contextlib.closing(_read_only(file)) as connection:
            return Archive(connection).question()
    except (sqlite3.DatabaseError, ValueError):
        return None


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro", uri=True)


def read_comparison(path: Path) -> Comparison:
    """Read a comparison, finished or not, and weigh what it holds. Loads no torch and writes nothing.

    Args:
        path: The comparison's folder, or its SQLite file, wherever that was copied.

    Raises:
        UnreadableRun: There is no comparison, it is damaged or newer, or no trial of the baseline has finished.
    """
    file = _file_in(path) if path.is_dir() else path
    if not file.is_file():
        raise UnreadableRun(f"{path} holds no comparison: there is no file {FILE_NAME}.")
    try:
        with contextlib.closing(_read_only(file)) as connection:
            archive = Archive(connection)
            _check_version(archive, file)
            question, trials, seconds = archive.question(), archive.trials(), archive.seconds()
            judged = archive.judged()
    except (sqlite3.DatabaseError, ValueError) as error:
        raise UnreadableRun(f"{file} is not a comparison of Rectifier, or it is damaged ({error}).") from error
    if question is None:
        raise UnreadableRun(f"{file} holds no question; it was interrupted before its first trial.")
    return weigh(question, trials, seconds, judged)
