"""The files that a trial opens, for a comparison that must know whether its trainings pass files to each other.

Python's own audit events tell of `open`, of renaming and of SQLite; `torch.save` writes from C++ and is asked itself.
What other libraries read and write from compiled code is not seen.
"""

import contextlib
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from rectifier.storage.touched import Kind, TouchWriter

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
_OF_THE_SYSTEM = ("/proc/", "/sys/", "/dev/")


def record_files(folder: Path, *, since: float, own: Iterable[str]) -> None:
    """Note from now on what this process and those forked from it open; there is no way back.

    Args:
        folder: The run folder.
        since: Files that nobody has changed since then are read by all trainings alike; seconds since 1970.
        own: Folders that belong to this training alone.
    """
    recorder = _Recorder(folder, since, own)
    sys.addaudithook(recorder.hear)
    _hear_torch_save(recorder)


class _Recorder:
    def __init__(self, folder: Path, since: float, own: Iterable[str]) -> None:
        # Installed packages and their byte code: a compiled module is nobody's result.
        places = sysconfig.get_paths()
        libraries = {places[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
        self._passed_over = (
            *(os.path.join(os.path.realpath(path), "") for path in (*own, str(folder), *libraries)),
            *_OF_THE_SYSTEM,
        )
        self._since = since
        self._writer = TouchWriter(folder)
        self._inside = threading.local()

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """Python's audit hook: what it raises would reach the script, so it raises nothing."""
        if event not in ("open", "os.rename", "sqlite3.connect") or getattr(self._inside, "now", False):
            return
        self._inside.now = True
        try:
            if event == "open":
                path, _, flags = args
                if flags & _WRITING:
                    self.wrote(path)
                # What is emptied as it is opened holds nothing of another's.
                if not flags & (os.O_WRONLY | os.O_TRUNC):
                    self._read(path)
            elif event == "os.rename":
                self.wrote(args[1])
            else:
                self.wrote(args[0])
                self._read(args[0])
        except Exception:
            return
        finally:
            self._inside.now = False

    def wrote(self, path: Any) -> None:
        self._note("write", path)

    def _read(self, path: Any) -> None:
        # A file that is not there yet is not read, whatever the event says.
        if isinstance(path, str | bytes | os.PathLike) and os.stat(path).st_mtime >= self._since:
            self._note("read", path)

    def _note(self, kind: Kind, path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        real = os.path.realpath(os.fsdecode(path))
        if real.startswith(self._passed_over) or f"{os.sep}__pycache__{os.sep}" in real or os.path.isdir(real):
            return
        self._writer.note(kind, real, time.time())


def _hear_torch_save(recorder: _Recorder) -> None:
    opener = getattr(torch.serialization, "_open_zipfile_writer_file", None)
    if opener is None:
        return
    begin = opener.__init__

    def heard(self: Any, name: Any, *args: Any, **kwargs: Any) -> None:
        with contextlib.suppress(Exception):
            recorder.wrote(name)
        begin(self, name, *args, **kwargs)

    opener.__init__ = heard
