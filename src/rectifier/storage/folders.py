"""Where a run lies: a new folder for each, made before anything else is loaded."""

import re
import time
from pathlib import Path


def create_run_folder(base: Path, stem: str) -> Path:
    """Make a new folder for a run, never touching an existing one.

    Args:
        base: Folder that holds runs; made when missing. When it cannot be written, a temporary folder is used.
        stem: What the run is about, usually the script's name; anything unfit for a file name is replaced.

    Returns:
        The folder's absolute path, `BASE/train-20261124-101500`, with `-2`, `-3`, ... when that is taken.

    Raises:
        OSError: A temporary folder cannot be made either.
    """
    safe = re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:80] or "run"
    name = f"{safe}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        return _first_free(base, name)
    except OSError:
        import tempfile  # noqa: PLC0415 - before a script starts, milliseconds count

        return _first_free(Path(tempfile.mkdtemp(prefix="rectifier-")), name)


def _first_free(base: Path, name: str) -> Path:
    number = 1
    while True:
        folder = base / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder.absolute()
