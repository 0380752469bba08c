"""The parent's side: start the real interpreter, pass signals on, and give its exit code back.

The script is not run inside of this process: importing torch before the user's `__main__` exists breaks spawned
workers. Everything of ours enters through a private `sitecustomize` on PYTHONPATH.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from rectifier.exit_codes import SIGNALLED, TIMED_OUT
from rectifier.launch.signals import follow

BOOTSTRAP = Path(__file__).parent / "bootstrap"
PACKAGE = Path(__file__).parents[2]
ENOUGH = "enough"
"""The file in a run folder by which a driver asks a script to end at its next step."""

_Stream = int | IO[bytes] | IO[str] | None

STOPPED = "stopped"
"""The note of a run that was ended after the number of steps asked for, whatever its exit code."""


class Launch(NamedTuple):
    """A script to be started, and what is to be observed or changed in it.

    No dataclass: their module takes 6 ms to load, and a script that is to be run waits for them.

    Attributes:
        command: The script and its arguments, or `-m`, a module and its arguments.
        folder: The run folder, which exists already.
        swap: Activations to replace: `relu=leaky_relu:0.1`.
        rescale: Rescale initial weights before the first step.
        recycle: Recycle dead units after every so many steps.
        budget: Largest share of the training time that watching may take; None where the number of a step alone is
            to decide whether it is observed.
        every: Observe every so many steps instead.
        observe_compiled: Repeat the forward of what runs compiled as it is written, at observed steps, and count there.
        seed: Seed torch, random and numpy as soon as torch is imported; for comparisons only.
        learning_rate: Factor of every optimizer's learning rate; for comparisons only.
        max_steps: End the script after so many optimizer steps; for comparisons only.
        threads: Threads of the script's numerical libraries; None leaves them alone.
        own_group: Put the script into a process group of its own, which a timeout ends as a whole.
        files_since: Note which files the script opens, for reading only those changed since (seconds since 1970); for
            comparisons only.
        own_folders: Folders whose files are not noted, because they are this script's alone.
        temporary: Its folder for temporary files; None for the usual one.
        frameworks: Keep the numbers that Lightning, Hugging Face's Trainer and TensorBoard log, too; for comparisons
            only.
        directory: Where it is started; None for where this process is.
        explain: What an explanation asks for, as `rectifier.launch.explaining` reads it; None for nothing.
    """

    command: tuple[str, ...]
    folder: Path
    swap: tuple[str, ...] = ()
    rescale: bool = False
    recycle: int | None = None
    budget: float | None = 0.01
    every: int | None = None
    observe_compiled: bool = False
    seed: int | None = None
    learning_rate: float = 1.0
    max_steps: int | None = None
    threads: int | None = None
    own_group: bool = False
    files_since: float | None = None
    own_folders: tuple[str, ...] = ()
    temporary: Path | None = None
    frameworks: bool = False
    directory: Path | None = None
    explain: str | None = None


def start(
    launch: Launch,
    *,
    stdin: _Stream = None,
    stdout: _Stream = None,
    stderr: _Stream = None,
    timeout: float | None = None,
    started: Callable[[subprocess.Popen[bytes]], None] = lambda process: None,
) -> int:
    """Run a script to its end under observation.

    While the script runs, this process forwards signals to it, and Ctrl-C does nothing here. In a thread other than the
    main one, this function leaves signals alone. The script inherits the descriptors that this process got from its own
    parent, such as that of a shell's `3>log`.

    Args:
        launch: What to start.
        stdin: As for `subprocess.Popen`; None shares this process's.
        stdout: Likewise.
        stderr: Likewise.
        timeout: Seconds after which the script is killed.
        started: Called with the process, for a driver that must be able to end it.

    Returns:
        The exit code as a shell sees it: 128 + n after a death by signal n, `TIMED_OUT` after the timeout.

    Raises:
        OSError: The interpreter could not be started.
    """
    with follow(same_group=not launch.own_group) as following:
        process = subprocess.Popen(
            [sys.executable, *launch.command],
            env=environment_of(launch),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=launch.own_group,
            cwd=launch.directory,
            # Not `close_fds=False`: Popen then starts the script in a way that makes it ignore two signals of glibc's.
            pass_fds=inherited(),
        )
        try:
            code = following.wait(process, started, timeout)
        except subprocess.TimeoutExpired:
            _kill(process, group=launch.own_group)
            process.wait()
            return TIMED_OUT
        except BaseException:
            # Somebody is leaving in a hurry (an error in a driver's thread): a script must not stay behind.
            _kill(process, group=launch.own_group)
            raise
    return code if code >= 0 else SIGNALLED - code


def end_soon(folder: Path) -> None:
    """Ask a script that was started with `max_steps` or for an explanation to end at its next optimizer step.

    Args:
        folder: Its run folder.
    """
    (folder / ENOUGH).touch()


def environment_of(launch: Launch) -> dict[str, str]:
    """The environment of a script, in which the bootstrap finds what it is to do."""
    environment = dict(os.environ)
    own = environment.get("PYTHONPATH")
    # An empty entry would put the current directory before the standard library.
    environment["PYTHONPATH"] = os.pathsep.join([str(BOOTSTRAP), own]) if own else str(BOOTSTRAP)
    settings = {
        "folder": str(launch.folder.absolute()),
        "swap": list(launch.swap),
        "rescale": launch.rescale,
        "recycle": launch.recycle,
        "budget": launch.budget,
        "every": launch.every,
        "observe_compiled": launch.observe_compiled,
        "seed": launch.seed,
        "learning_rate": launch.learning_rate,
        "max_steps": launch.max_steps,
        "package": str(PACKAGE),
        "files_since": launch.files_since,
        "own_folders": list(launch.own_folders),
        "frameworks": launch.frameworks,
    }
    environment["RECTIFIER_LAUNCH"] = json.dumps(settings)
    # On Linux the bootstrap asks to be killed when the thread that starts it now ends. It removes this variable.
    environment["RECTIFIER_PARENT"] = str(os.getpid())
    # One that started this process is not meant for its script.
    environment.pop("RECTIFIER_EXPLAIN", None)
    if launch.explain is not None:
        environment["RECTIFIER_EXPLAIN"] = launch.explain
    if launch.temporary is not None:
        environment["TMPDIR"] = str(launch.temporary)
    if launch.threads is not None:
        environment.update(
            dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(launch.threads))
        )
    return environment


def inherited() -> list[int]:
    """Descriptors that this process was given to be passed on; those that Python opens here are never inherited."""
    found = []
    with suppress(OSError):
        for descriptor in map(int, os.listdir("/dev/fd")):
            # The one that lists them is closed by now.
            with suppress(OSError):
                if descriptor > 2 and os.get_inheritable(descriptor):
                    found.append(descriptor)
    return found


def _kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    if group:
        kill_group(process.pid)
    else:
        process.kill()


def kill_group(number: int) -> None:
    """Kill a process and all others of its group."""
    with suppress(ProcessLookupError):
        os.killpg(number, signal.SIGKILL)
