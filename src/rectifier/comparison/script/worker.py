"""What a worker of a cluster does: tell what code it has, train, and send the record back."""

import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rectifier.comparison.question import Question, TrialSpec, script_digest
from rectifier.comparison.script.trial import OUTPUT, ScriptLauncher
from rectifier.errors import NothingToCompare
from rectifier.records import Trial


@dataclass(frozen=True, slots=True)
class Code:
    """What a training's numbers depend on beside its options.

    Attributes:
        script: SHA-256 of the script's text, None for a module.
    """

    python: str
    rectifier: str
    torch: str
    script: str | None


@dataclass(frozen=True, slots=True)
class Returned:
    """What comes back from a worker.

    Attributes:
        trial: The row.
        files: The training's record and what it printed, by path in the training's folder.
    """

    trial: Trial
    files: dict[str, bytes]


def refuse(ours: Code, theirs: Code, worker: str, command: Sequence[str]) -> None:
    """Refuse a worker that does not have the driver's code.

    Raises:
        NothingToCompare: The text says what differs.

    Example:
        >>> refuse(Code("3.11.4", "0.1.0", "2.13.0", "abc"), Code("3.11.4", "0.1.0", "2.6.0", "abc"), "node7", ["t.py"])
        Traceback (most recent call last):
        ...
        rectifier.errors.NothingToCompare: the worker node7 has torch 2.6.0, this process 2.13.0: ...
    """
    for package in ("python", "rectifier", "torch"):
        here, there = getattr(ours, package), getattr(theirs, package)
        if here != there:
            raise NothingToCompare(refused_code(worker, f"{package} {there}", here))
    if ours.script != theirs.script:
        raise NothingToCompare(
            f"the worker {worker} has another {command[0]} than this machine: their trainings would not be "
            "comparable. Copy the script and what it imports to the same path there."
        )


def refused_code(worker: str, has: str, ours: str) -> str:
    """What is told of a worker that does not have the driver's code."""
    return (
        f"the worker {worker} has {has}, this process {ours}: their trainings would not be comparable. Start the "
        "workers in the same environment as this command."
    )


_launchers: dict[str, set[ScriptLauncher]] = {}
"""Those at work in this process, by comparison."""


def code_here(command: Sequence[str], directory: Path) -> Code:
    """What a training that is started in this process's environment runs.

    Raises:
        NothingToCompare: The directory or the script is not there, or torch is not installed.
    """
    where = f"on {socket.gethostname()}"
    if not directory.is_dir():
        raise NothingToCompare(f"there is no {directory} {where}, where the script is to be started")
    try:
        torch = version("torch")
    except PackageNotFoundError:
        raise NothingToCompare(f"torch is not installed {where} for {sys.executable}") from None
    placed = [str(directory / command[0]), *command[1:]] if command[0] != "-m" else command
    return Code(sys.version.split()[0], version("rectifier"), torch, script_digest(placed))


def train_here(
    spec: TrialSpec,
    question: Question,
    name: str,
    code: Code,
    directory: Path,
    timeout: float | None,
    since: float,
    comparison: str,
) -> Returned:
    """Train once in a folder that does not outlive the training; a worker's task.

    Args:
        spec: What to run.
        question: For the metric and its summary.
        name: The training's name in messages.
        code: What the driver has.
        directory: Where the script is started.
        timeout: Seconds after which it is killed.
        since: When the comparison began, in seconds since 1970.
        comparison: By which `stop_here` finds it.
    """
    refuse(code, code_here(spec.command, directory), socket.gethostname(), spec.command)
    launcher = ScriptLauncher(timeout, directory=directory, since=since)
    with tempfile.TemporaryDirectory(prefix="rectifier-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        running = _launchers.setdefault(comparison, set())
        running.add(launcher)
        try:
            trial = launcher(spec, question, folder)
        finally:
            running.discard(launcher)
        return Returned(trial, _record(folder))


def _record(folder: Path) -> dict[str, bytes]:
    """The training's own record, oldest first: the order of its processes is that of their files."""
    files = [path for path in (folder / "run").iterdir() if path.is_file() and path.name != "run.json"]
    files.sort(key=lambda path: path.stat().st_mtime_ns)
    return {str(path.relative_to(folder)): path.read_bytes() for path in [*files, folder / OUTPUT]}


def stop_here(comparison: str) -> None:
    """End the trainings of a comparison that run on this worker."""
    for launcher in list(_launchers.get(comparison, ())):
        launcher.stop()
