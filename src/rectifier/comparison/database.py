"""The SQLite file of a comparison: opened as a stranger's file, waited for while others read it, never left half done.

A file is read by its two plain tables only: a view or a trigger could compute for ever. No torch.
"""

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from rectifier.errors import CannotKeep, UnreadableRun

T = TypeVar("T")
Say = Callable[[str], None]

TABLES = {"study": ("name", "value"), "trials": ("key", "trial")}
"""The first one has the name that the first version gave it."""

PATIENCE_SECONDS = 60.0
"""How long a lock is waited for: longer than any reader of ours takes, and not for ever."""
_FIRST_SECONDS = 2.0
_AGAIN_AFTER = 0.1
_MOST_BYTES = 1 << 26
"""Of one value."""

_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Database:
    """Rows of the two tables, each written at once.

    Args:
        connection: To the file.
        file: It, for what errors say.
        say: Told that somebody else's lock is waited for.
    """

    def __init__(self, connection: sqlite3.Connection, file: Path, say: Say) -> None:
        self._connection = connection
        self._file = file
        self._say = say

    def create(self) -> None:
        """Make the tables where there are none."""

        def made() -> None:
            # A rollback journal rather than WAL: the single file is whole, also on a network or read-only disk.
            self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._connection:
                for table, (key, value) in TABLES.items():
                    self._connection.execute(
                        f"CREATE TABLE IF NOT EXISTS {table} ({key} TEXT PRIMARY KEY, {value} BLOB NOT NULL)"
                    )

        self._patiently(made)

    def check(self) -> None:
        """Find out whether the file holds the two tables and nothing that would be computed.

        Raises:
            UnreadableRun: It holds something else.
        """
        found = self._patiently(
            lambda: self._connection.execute(
                "SELECT type, name, rootpage FROM sqlite_master WHERE name NOT LIKE 'sqlite_autoindex_%'"
            ).fetchall()
        )
        if not found:
            return
        # A virtual table has no page of its own.
        if {name for kind, name, page in found if kind == "table" and page} != set(TABLES) or len(found) != len(TABLES):
            raise damaged(self._file, "its tables have other names")
        for table, columns in TABLES.items():
            told = self._connection.execute(f"PRAGMA table_xinfo({table})").fetchall()
            # The last number tells of a column that is computed.
            if [(row[1], row[6]) for row in told] != [(column, 0) for column in columns]:
                raise damaged(self._file, f"its table {table} has other columns")

    def rows(self, table: str) -> dict[str, bytes]:
        """All rows of a table.

        Raises:
            UnreadableRun: A row is not of the form that is written.
        """
        key, value = TABLES[table]
        return self._patiently(lambda: self._checked(f"SELECT {key}, {value} FROM {table}"))

    def _checked(self, query: str) -> dict[str, bytes]:
        # A damaged tree of pages may lead in a circle.
        left = self._file.stat().st_size
        found: dict[str, bytes] = {}
        for key, value in self._connection.execute(query):
            if not isinstance(key, str) or not isinstance(value, bytes):
                raise damaged(self._file, f"the row {key!r} holds no text")
            left -= len(value)
            if left < 0 or key in found:
                raise damaged(self._file, "its pages hold more than the file")
            found[key] = value
        return found

    def put(self, table: str, key: str, value: bytes) -> None:
        """Write one row; when this returns it survives a kill."""
        self._write(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", [(key, value)])

    def drop(self, table: str, keys: list[str]) -> None:
        """Take rows away."""
        self._write(f"DELETE FROM {table} WHERE {TABLES[table][0]} = ?", [(key,) for key in keys])

    def _write(self, statement: str, rows: list[tuple[str, bytes]] | list[tuple[str]]) -> None:
        def write() -> None:
            with self._connection:
                self._connection.executemany(statement, rows)

        try:
            self._patiently(write)
        except sqlite3.OperationalError as error:
            if _code(error) in _NO_ROOM:
                raise cannot_keep(self._file.parent, error) from error
            raise

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call again while somebody else holds a lock."""
        began, told = time.monotonic(), False
        while True:
            try:
                return call()
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began
                if _code(error) not in _LOCKED:
                    raise
                if waited > PATIENCE_SECONDS:
                    raise CannotKeep(
                        f"{self._file} has been locked by another program for {PATIENCE_SECONDS:g} s. End what reads "
                        "it, and run the same command again: what has ended is kept."
                    ) from error
                if not told and waited > _FIRST_SECONDS:
                    told = True
                    self._say(f"{self._file} is locked by another program; waiting up to {PATIENCE_SECONDS:g} s for it")
                time.sleep(_AGAIN_AFTER)


def _code(error: sqlite3.Error) -> int:
    """The first byte of an extended code is the code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def damaged(file: Path, why: object) -> UnreadableRun:
    """The one error for a file that is no comparison as any version writes it."""
    return UnreadableRun(
        f"{file} is not a comparison of Rectifier, or it is damaged ({why}). Copy it again from where it was made, or "
        "name another folder with --out DIR."
    )


def cannot_keep(folder: Path, error: Exception) -> CannotKeep:
    """The one error for a disk that takes no more."""
    reason = getattr(error, "strerror", None) or error
    return CannotKeep(
        f"results cannot be written to {folder} ({reason}). Free space, or make the folder writable, and run the same "
        "command again: what has ended is kept."
    )


@contextlib.contextmanager
def to_write(file: Path, say: Say) -> Iterator[Database]:
    """Open a comparison's file for writing, and make it where there is none."""
    with contextlib.closing(_connected(sqlite3.connect(file, timeout=0.0))) as connection:
        database = Database(connection, file, say)
        database.check()
        database.create()
        yield database


@contextlib.contextmanager
def to_read(file: Path, say: Say = lambda text: None) -> Iterator[Database]:
    """Open a comparison's file for reading; nothing in its folder is written.

    A killed writer leaves a journal from which the file must be put right first. A reader does that with a copy.
    """
    with contextlib.closing(_read_only(file)) as connection:
        database = Database(connection, file, say)
        try:
            database.check()
            recover = False
        except sqlite3.OperationalError as error:
            journal = file.with_name(f"{file.name}-journal")
            if not journal.is_file():
                raise
            recover = _code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
            if not recover:
                raise
        if not recover:
            yield database
            return
    with tempfile.TemporaryDirectory(prefix="rectifier-") as folder:
        copy = Path(folder) / file.name
        shutil.copyfile(file, copy)
        shutil.copyfile(journal, copy.with_name(journal.name))
        with contextlib.closing(_connected(sqlite3.connect(copy, timeout=0.0))) as connection:
            database = Database(connection, copy, say)
            database.check()
            yield database


def _read_only(file: Path) -> sqlite3.Connection:
    return _connected(sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro", uri=True, timeout=0.0))


def _connected(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    return connection
