"""Opening a file of a folder that somebody else may have filled: regular files only, and never more than a bound."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from rectifier.errors import UnreadableRun

MOST_BYTES = 1 << 29
"""Of a line, and of a file that is read as a whole."""

REPAIR = "Copy the folder again from where it was made, or repeat the run."


def damaged(path: Path, why: object, line: int | None = None) -> UnreadableRun:
    """The one error for a file that is not as any version writes it: which, where, and what to do."""
    where = "" if line is None else f", line {line}"
    return UnreadableRun(f"{path}{where} is damaged or not Rectifier's: {why}. {REPAIR}")


class Head(msgspec.Struct):
    """What is read first: a newer version may have written what follows in a form of its own."""

    rectifier: str
    format_version: int


def newer(path: Path, head: Head, known: int) -> UnreadableRun:
    """The error for what a newer version wrote, of which this one knows formats up to `known`."""
    return UnreadableRun(
        f"{path} was written by rectifier {head.rectifier} in format {head.format_version}; this version reads up to "
        f"{known}. Upgrade with `pip install -U rectifier`."
    )


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read; whatever else has that name is refused, and never waited for.

    Raises:
        UnreadableRun: There is none, it cannot be read, or it is a link, a pipe or a device.
    """
    try:
        # Without O_NONBLOCK a pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableRun(f"{path} cannot be read: {error.strerror or error}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableRun(f"{path} is no regular file. {REPAIR}")
    return os.fdopen(descriptor, "rb")


def read_whole(path: Path) -> bytes:
    """Read a file.

    Raises:
        UnreadableRun: It cannot be read, or it is too large for what it should be.
    """
    with open_regular(path) as file:
        try:
            data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise UnreadableRun(f"{path} cannot be read: {error.strerror or error}.") from None
    if len(data) > MOST_BYTES:
        raise damaged(path, f"it is larger than {MOST_BYTES:,} bytes")
    return data


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1 on; what comes after the last line's end is torn, and left out.

    Raises:
        UnreadableRun: It cannot be read, or a line is too long.
    """
    with open_regular(path) as file:
        number = 0
        while True:
            number += 1
            try:
                line = file.readline(MOST_BYTES + 1)
            except OSError as error:
                raise UnreadableRun(f"{path} cannot be read: {error.strerror or error}.") from None
            if len(line) > MOST_BYTES:
                raise damaged(path, f"it is longer than {MOST_BYTES:,} bytes", number)
            if not line.endswith(b"\n"):
                return
            yield number, line[:-1]
