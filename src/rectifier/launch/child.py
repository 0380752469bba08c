"""The child's side: what happens in the user's process right after torch has been imported.

Every process below the launch comes through here, workers too. One becomes a writer only when it trains.
"""

import atexit
import json
import multiprocessing.util
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rectifier import catalogue, records
from rectifier._formatting import listed, printable
from rectifier.monitor import Monitor
from rectifier.records import Changed, RunNote
from rectifier.storage import RunWriter, write_note

if TYPE_CHECKING:
    from rectifier.launch.explaining import Explaining
    from rectifier.launch.framework_logs import AfterImport
    from rectifier.launch.treating import Treating
    from rectifier.treatment import Change

_MOST_PLACES = 6


def begin(after_import: "AfterImport") -> None:
    """Start to observe this process as `RECTIFIER_LAUNCH` says; the caller turns an exception into one warning."""
    settings: dict[str, Any] = json.loads(os.environ["RECTIFIER_LAUNCH"])
    folder = Path(settings["folder"])
    _note(folder, RunNote.TORCH, str(torch.__version__))
    if settings["seed"] is not None:
        _seed(settings["seed"])
    if settings["files_since"] is not None:
        from rectifier.launch.file_access import record_files  # noqa: PLC0415 - trials of a comparison only

        record_files(folder, since=settings["files_since"], own=settings["own_folders"])
    if settings["frameworks"]:
        from rectifier.launch.framework_logs import hear_frameworks  # noqa: PLC0415 - trials of a comparison only

        hear_frameworks(after_import)
    process = _Observed(folder, settings)
    if settings["learning_rate"] != 1:
        from rectifier.treatment import scale_learning_rates  # noqa: PLC0415

        scale_learning_rates(settings["learning_rate"])
    explain = os.environ.get("RECTIFIER_EXPLAIN")
    if explain:
        process.explains(explain)
    process.ends_with_us()
    multiprocessing.util.register_after_fork(process, _Observed.ends_with_us)
    if settings["max_steps"] is not None:
        process.ends_after(settings["max_steps"])


def load_what_waits() -> None:
    """Load what otherwise loads on first use, when nothing of ours can be found by its name any more."""
    for package in (catalogue, records):
        for group in vars(package)["_NAMES"].values():
            for name in group.split():
                getattr(package, name)


class _Observed:
    """This process, and each one that is forked from it."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._ended_in: int | None = None
        self._writer = RunWriter(folder)
        self._changes: list[Change] = []
        for text in settings["swap"]:
            from rectifier.treatment import swap_everywhere  # noqa: PLC0415 - most runs swap nothing

            old, _, new = text.partition("=")
            self._changes.append(swap_everywhere(old, new))
        self._treating: Treating | None = None
        self._explaining: Explaining | None = None
        how = {
            "budget": settings["budget"],
            "every": settings["every"],
            "observe_compiled": settings["observe_compiled"],
        }
        if settings["rescale"] or settings["recycle"]:
            from rectifier.launch import treating  # noqa: PLC0415 - most runs treat nothing

            sink = treating.Kept(self._writer)
            self._monitor = Monitor(sink, **how)
            self._monitor.start()
            self._treating = treating.Treating(
                self._monitor,
                sink,
                rescale=settings["rescale"],
                recycle=settings["recycle"],
                on_refusal=lambda: _note(folder, RunNote.NOT_TREATED, ""),
            )
        else:
            self._monitor = Monitor(self._writer, **how)
            self._monitor.start()

    def explains(self, text: str) -> None:
        """Change one thing, or look closer at some steps, as an explanation asks."""
        from rectifier.launch import explaining  # noqa: PLC0415 - trials of an explanation only
        from rectifier.launch.parent import ENOUGH  # noqa: PLC0415

        settings = explaining.read(text)
        self._explaining = explaining.Explaining(settings, self._writer.record, lambda: self._monitor.step)
        self._explaining.ends_unchanged(self._end_early)
        if settings["end_nonfinite"] is not None:
            explaining.EndNonfinite(
                settings["end_nonfinite"], lambda: self._end_early(max(self._monitor.step, 1))
            ).start()
        steps = settings["stop_after"]
        enough = os.path.join(self._folder, ENOUGH)
        self.ends_after(steps, lambda: os.path.exists(enough))
        if steps is not None:
            explaining.EndWithoutSteps(steps, lambda: self._end_early(steps)).start()

    def ends_with_us(self) -> None:
        """Finish at the end of the process that this is called in."""
        pid = os.getpid()
        # A child that multiprocessing made runs its finalizers, and leaves without the interpreter's exit handlers.
        multiprocessing.util.Finalize(None, self._end, args=(pid,), exitpriority=0)
        atexit.register(self._end, pid)

    def ends_after(self, steps: int | None, asked: Callable[[], bool] = lambda: False) -> None:
        """Finish after so many steps, and leave the script; the driver of a comparison reads the note."""
        from rectifier.launch.step_limit import end_after  # noqa: PLC0415 - trials of a comparison only

        end_after(steps, lambda: self._monitor.step, lambda: self._end_early(steps or self._monitor.step), asked)

    def _end_early(self, steps: int) -> None:
        from rectifier.launch.parent import STOPPED  # noqa: PLC0415 - trials of a comparison only

        if self._ended_in != os.getpid():
            _note(self._folder, STOPPED, f"after {steps} steps")
        self._end(os.getpid())

    def _end(self, pid: int) -> None:
        # A forked child inherits the exit handlers, which are not meant for it.
        if os.getpid() != pid or self._ended_in == pid:
            return
        self._ended_in = pid
        try:
            self._finish()
        except KeyboardInterrupt:
            # The user is in a hurry; what has been written stays.
            return
        except Exception as error:
            say(f"{type(error).__name__} while finishing: {error}; the script has ended")

    def _finish(self) -> None:
        changes, self._changes = self._changes, []
        for change in changes:
            if change.replaced:
                places = listed(change.replaced, _MOST_PLACES)
                self._writer.record(Changed(f"{change.old} became {change.new} ({places})"))
            elif self._monitor.sees_steps:
                _note(self._folder, RunNote.nothing_swapped(change.old), "")
        if self._treating is not None:
            self._treating.stop()
            if looked := self._treating.looked:
                _note(self._folder, RunNote.LOOKED, str(len(looked)))
                _note(self._folder, RunNote.LAST_LOOK, str(looked[-1]))
        if self._explaining is not None:
            self._explaining.finish()
        self._monitor.stop()
        if self._monitor.sees_activations:
            _note(self._folder, RunNote.ACTIVATIONS, "")
        if self._monitor.sees_steps:
            _note(self._folder, RunNote.STEPS, "")


def _note(folder: Path, name: str, text: str) -> None:
    try:
        write_note(folder, name, text)
    except OSError:
        # The writer will say that the folder cannot be written, if it ever has something to write.
        return


def say(text: str) -> None:
    """Print a line on standard error."""
    # A process without a console has no standard error.
    if sys.stderr is not None:
        sys.stderr.write(f"rectifier: {printable(text)}\n")


def _seed(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
