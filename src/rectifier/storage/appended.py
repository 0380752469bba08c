"""A file that only Rectifier appends to, in a process whose descriptors belong to the user's script."""

import errno
import os
from pathlib import Path

_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class AppendedFile:
    """A new file, opened again by its name for each record.

    A training script may close every descriptor that it has not opened itself, as daemons do. The next file it opens
    then gets the number that ours had. So this class holds no descriptor between two records. Before it writes one, it
    compares the opened file with the one that it created: device, inode, and size, because a file system may give the
    inode of a removed file to a new one. No other process may write to the file.

    Args:
        path: Where to create it.

    Raises:
        FileExistsError: There is something of that name.
        OSError: It cannot be created.
    """

    def __init__(self, path: Path) -> None:
        # The script may change its directory.
        self._path = os.fspath(path.absolute())
        descriptor = os.open(self._path, _APPENDING | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            status = os.fstat(descriptor)
            self._identity = status.st_dev, status.st_ino
            self._size = 0
        finally:
            os.close(descriptor)

    def append(self, record: bytes) -> None:
        """Write one record at the end.

        Raises:
            OSError: There is no room, or the file of that name is gone or another one.
        """
        descriptor = os.open(self._path, _APPENDING)
        try:
            self._compare(os.fstat(descriptor))
            try:
                rest = memoryview(record)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            finally:
                # Asked, not added up: a signal's handler may raise right after a write.
                self._size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """Find out whether the name still leads to this file.

        Raises:
            OSError: The file of that name is gone or another one.
        """
        self._compare(os.lstat(self._path))

    def _compare(self, status: os.stat_result) -> None:
        if (status.st_dev, status.st_ino) != self._identity or status.st_size != self._size:
            raise OSError(errno.ESTALE, f"{os.path.basename(self._path)} was removed or replaced")
