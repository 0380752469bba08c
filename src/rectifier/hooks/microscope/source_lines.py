"""The user's own line behind an operation, and what stands there."""

import linecache
import os
import sys
import sysconfig
import types
from itertools import islice
from typing import NamedTuple

OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_OTHERS = tuple(
    os.path.join(path, "")
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)


class Line(NamedTuple):
    """A place in the user's files.

    Attributes:
        file: Whole path.
        number: Of the line.
        expression: What of the line was running, shortened; "" where that is not known.
        code: Which code object, and where in it: apart from this another call of the same line cannot be told.
        at: See `code`.
    """

    file: str
    number: int
    expression: str
    code: types.CodeType | None = None
    at: int = -1

    @property
    def place(self) -> str:
        """`file.py:41`."""
        return f"{os.path.basename(self.file)}:{self.number}"


_MOST_TEXT = 80


def frame_of_user(depth: int = 1) -> types.FrameType | None:
    """The innermost frame outside of the standard library, of what is installed, and of us."""
    frame: types.FrameType | None = sys._getframe(depth)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(OURS) and not name.startswith("<") and not _installed(name):
            return frame
        frame = frame.f_back
    return None


def users_line(depth: int = 1) -> Line | None:
    """The line of the user's that is running now."""
    frame = frame_of_user(depth + 1)
    return None if frame is None else line_of(frame)


def line_of(frame: types.FrameType) -> Line:
    """Where a frame is now."""
    code, at = frame.f_code, frame.f_lasti
    position = next(islice(code.co_positions(), at // 2, None), (None, None, None, None)) if at >= 0 else (None,) * 4
    first, last, begin, end = position
    number = first or frame.f_lineno or 0
    return Line(code.co_filename, number, _text(code.co_filename, number, last, begin, end), code, at)


def _text(file: str, first: int, last: int | None, begin: int | None, end: int | None) -> str:
    line = linecache.getline(file, first)
    if not line:
        return ""
    if last is None or begin is None or end is None:
        return _short(line)
    if last == first:
        # Columns are counted in bytes.
        return _short(line.encode()[begin:end].decode(errors="replace"))
    return _short(line.encode()[begin:].decode(errors="replace"))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def _installed(file: str) -> bool:
    known = _known.get(file)
    if known is None:
        known = _known[file] = "site-packages" in file or "dist-packages" in file or file.startswith(_OTHERS)
    return known


_known: dict[str, bool] = {}
