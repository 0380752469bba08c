"""Whether a trial's script reads its standard input: trials get an empty one, and so other data than the user's run."""

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def hear_reading(read: Callable[[], None]) -> None:
    """Call `read` at the first read of standard input through `sys.stdin` or `input()`, from now on.

    Args:
        read: Raises nothing.
    """
    before = sys.stdin
    if not isinstance(before, io.TextIOWrapper) or before is not sys.__stdin__:
        return
    with suppress(OSError, ValueError):
        reader = io.BufferedReader(_Heard(read))
        sys.stdin = sys.__stdin__ = _Stdin(reader, before.encoding, before.errors)  # type: ignore[misc]


class _Stdin(io.TextIOWrapper):
    mode = "r"


class _Heard(io.FileIO):
    """Descriptor 0, which tells when it is first read."""

    def __init__(self, read: Callable[[], None]) -> None:
        super().__init__(0, "rb", closefd=False)
        self.name = "<stdin>"  # type: ignore[assignment,unused-ignore]
        self._tell: Callable[[], None] | None = read

    def readinto(self, buffer: Any) -> Any:
        """As its parent."""
        self._told()
        return super().readinto(buffer)

    def readall(self) -> bytes:
        """As its parent."""
        self._told()
        return super().readall()

    def read(self, size: int | None = -1, /) -> Any:
        """As its parent."""
        self._told()
        return super().read(-1 if size is None else size)

    def _told(self) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()
