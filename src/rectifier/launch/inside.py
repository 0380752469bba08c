"""The child's side: what happens in the user's process right after torch has been imported.

Every process below the launch comes through here, workers too. One becomes a writer only when it trains.
"""

import atexit
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import torch

from rectifier.monitor import Monitor
from rectifier.store import RunWriter, write_note


def begin() -> None:
    """Start to observe this process as `RECTIFIER_LAUNCH` says; the caller turns an exception into one warning."""
    settings: dict[str, Any] = json.loads(os.environ["RECTIFIER_LAUNCH"])
    folder = Path(settings["folder"])
    _note(folder, "torch", str(torch.__version__))
    if settings["seed"] is not None:
        _seed(settings["seed"])
    writer = RunWriter(folder)
    for swap in settings["swap"]:
        from rectifier.treatment import swap_everywhere  # noqa: PLC0415 - most runs swap nothing

        old, _, new = swap.partition("=")
        swap_everywhere(old, new)
        writer.change(f"{old} replaced by {new} in every model")
    monitor = Monitor(writer, budget=settings["budget"], every=settings["every"])
    monitor.start()
    atexit.register(_end, monitor, folder, os.getpid())


def _end(monitor: Monitor, folder: Path, pid: int) -> None:
    """At the end of a process that began here; a forked child inherits the call and is not meant."""
    if os.getpid() != pid:
        return
    try:
        monitor.stop()
        if monitor.sees_activations:
            _note(folder, "activations", "seen")
        if monitor.sees_steps:
            _note(folder, "steps", "taken")
    except Exception as error:
        sys.stderr.write(f"rectifier: {type(error).__name__} while finishing: {error}; the script has ended\n")


def _note(folder: Path, name: str, text: str) -> None:
    try:
        write_note(folder, name, text)
    except OSError:
        # The writer will say that the folder cannot be written, if it ever has something to write.
        return


def _seed(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
