"""A page or figure that the user asked for, written so that whoever loads it meanwhile gets a whole one."""

import contextlib
import errno
import os
from pathlib import Path

from rectifier.errors import CannotKeep


def write_page(page: Path, html: str) -> None:
    """Write it in the place of what has that name; what is no regular file is written to.

    Raises:
        CannotKeep: It cannot be written; nothing is left half done.
    """
    try:
        if page.exists() and not page.is_file():
            page.write_text(html, encoding="utf-8")
            return
        beside = page.with_name(f".rectifier-{os.getpid()}.part")
        try:
            beside.write_text(html, encoding="utf-8")
            beside.replace(page)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        todo = "Free space" if getattr(error, "errno", None) == errno.ENOSPC else "Name another file"
        raise CannotKeep(f"{page} cannot be written: {reason}. {todo}.") from None
