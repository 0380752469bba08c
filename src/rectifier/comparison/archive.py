"""A comparison on disk: one SQLite file that one driver writes, whole after every finished trial. No torch."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rectifier.comparison import older
from rectifier.comparison.checking import Seconds, check_question, check_trial
from rectifier.comparison.database import Database, Say, cannot_keep, damaged, to_read, to_write
from rectifier.comparison.question import Question
from rectifier.comparison.weighing import Plan, plan_of, weigh
from rectifier.errors import NothingToCompare, RectifierError, UnreadableRun
from rectifier.records import Comparison, Trial, decode, encode

FILE_NAME = "comparison.sqlite"

ARCHIVE_VERSION = 3
"""Raised when a reader of the previous version cannot read a file: in 1 a failure was a sentence; in 2 the plan of
interim analyses had another name, and so had the baseline."""

T = TypeVar("T")


class Archive:
    """The finished trials of one comparison, by the key of what was run. Comes from `open_archive`; one thread only.

    Args:
        database: Its file, opened.
        file: It, for what errors say.

    Raises:
        UnreadableRun: A newer version wrote it, or a row is not as any version writes it.
    """

    def __init__(self, database: Database, file: Path) -> None:
        self._database = database
        self._file = file
        self._facts = database.rows("study")
        if (self._fact("format_version", lambda line: decode(line, int)) or 0) > ARCHIVE_VERSION:
            raise UnreadableRun(f"{file} was written by a newer version of Rectifier; update this one to read it.")

    def keep_question(self, question: Question) -> None:
        """Remember what was asked last; trials of earlier questions stay."""
        self._set("format_version", encode(ARCHIVE_VERSION))
        self._set("question", encode(question))

    def question(self) -> Question | None:
        """What was asked last, None in a new comparison."""
        return self._fact("question", lambda line: check_question(older.read_question(line)))

    def keep_judged(self, question: Question) -> None:
        """Remember that a question has been judged: another plan of analyses or arms would be a second chance."""
        self._set("judged", encode(tuple(dict.fromkeys((*self.judged(), plan_of(question))))))

    def judged(self) -> tuple[Plan, ...]:
        """By which plans these trainings have been judged."""
        return self._fact("judged", older.read_plans) or ()

    def add_seconds(self, seconds: float) -> None:
        """Add to the time that the comparison has taken, over all its continuations."""
        self._set("seconds", encode(self.seconds() + seconds))

    def seconds(self) -> float:
        """Time that the comparison has taken."""
        return self._fact("seconds", lambda line: decode(line, Seconds)) or 0.0

    def record(self, key: str, trial: Trial) -> None:
        """Keep a finished trial; when this returns it survives a kill."""
        self._database.put("trials", key, encode(trial))

    def forget(self, keys: Iterable[str]) -> None:
        """Drop trials, so that they are run again."""
        self._database.drop("trials", list(keys))

    def trials(self) -> dict[str, Trial]:
        """All finished trials by key."""
        found = {}
        for key, line in self._database.rows("trials").items():
            found[key] = self._read(f"trial {key}", line, lambda line: check_trial(older.read_trial(line)))
        return found

    def _set(self, name: str, value: bytes) -> None:
        self._database.put("study", name, value)
        self._facts[name] = value

    def _fact(self, name: str, read: Callable[[bytes], T]) -> T | None:
        return self._read(name, self._facts[name], read) if name in self._facts else None

    def _read(self, name: str, line: bytes, read: Callable[[bytes], T]) -> T:
        try:
            return read(line)
        except (ValueError, RectifierError) as error:
            raise damaged(self._file, f"{name}: {error}") from None


@contextlib.contextmanager
def open_archive(folder: Path, say: Say = lambda text: None) -> Iterator[Archive]:
    """Open a comparison for writing, creating it when there is none; one driver at a time.

    Args:
        folder: The comparison's.
        say: Told what is waited for.

    Raises:
        NothingToCompare: Another driver is at work on this comparison, or the folder cannot be made.
        CannotKeep: The disk takes no more, or somebody else does not let go of the file.
        UnreadableRun: The folder holds a file of that name which is not a comparison of this version.
    """
    path = _file_in(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NothingToCompare(
            f"the comparison's folder {folder} cannot be written ({error.strerror or error}); "
            "name another with --out DIR."
        ) from error
    try:
        # The lock is the folder's own: nothing is left behind, and a killed driver has let go of it.
        with _only_driver(folder), to_write(path, say) as database:
            yield Archive(database, path)
    except sqlite3.OperationalError as error:
        raise cannot_keep(folder, error) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error
    except OSError as error:
        raise cannot_keep(folder, error) from error


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


def _file_in(folder: Path) -> Path:
    """The file of a comparison's folder; an earlier version's is continued under the name that it has."""
    now, before = folder / FILE_NAME, folder / older.FILE_NAME
    return before if before.is_file() and not now.exists() else now


def is_comparison(path: Path) -> bool:
    """Whether this looks like a comparison: its folder, or its single file wherever that was copied."""
    if path.is_dir():
        return _file_in(path).is_file()
    try:
        # A pipe would be waited for.
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def kept_question(folder: Path) -> Question | None:
    """What was last asked in a comparison's folder, None when there is no comparison that can be read."""
    file = _file_in(folder)
    if not file.is_file():
        return None
    with contextlib.suppress(UnreadableRun), _reading(file, lambda text: None) as archive:
        return archive.question()
    return None


def read_comparison(path: Path, say: Say = lambda text: None) -> Comparison:
    """Read a comparison, finished or not, and weigh what it holds. Loads no torch and writes nothing.

    Args:
        path: The comparison's folder, or its SQLite file, wherever that was copied.
        say: Told what is waited for.

    Raises:
        UnreadableRun: There is no comparison, it is damaged or newer, or no trial of the baseline has finished.
        CannotKeep: Somebody else does not let go of the file.
    """
    file = _file_in(path) if path.is_dir() else path
    if not file.is_file():
        raise UnreadableRun(f"{path} holds no comparison: there is no file {FILE_NAME}.")
    with _reading(file, say) as archive:
        question, trials, seconds, judged = archive.question(), archive.trials(), archive.seconds(), archive.judged()
    if question is None:
        raise UnreadableRun(f"{file} holds no question; it was interrupted before its first trial.")
    return weigh(question, trials, seconds, judged)


@contextlib.contextmanager
def _reading(file: Path, say: Say) -> Iterator[Archive]:
    try:
        with to_read(file, say) as database:
            yield Archive(database, file)
    except (sqlite3.DatabaseError, OSError, MemoryError) as error:
        raise damaged(file, error) from None
