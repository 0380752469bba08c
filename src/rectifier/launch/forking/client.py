"""The driver's side: starts the server, asks it for scripts, and waits for their ends."""

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from rectifier.exit_codes import SIGNALLED, TIMED_OUT
from rectifier.launch.parent import PACKAGE, Launch, environment_of, inherited, kill_group

_SERVER = Path(__file__).parent / "server.py"
_WITHOUT_TORCH = frozenset({"numpy", "scipy", "sklearn", "pandas", "PIL"})
"""Packages that take long to import, import no torch, start no threads, and can be there before the script asks."""
_UNTIL_IT_SERVES = 120.0


class CannotFork(Exception):
    """A script has to be started as a new process."""


class Forked(NamedTuple):
    """The process of a script, as far as a driver needs it."""

    pid: int


class _Trial:
    """What is known of one script that was asked for."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()
        self.pid = 0
        self.code: int | None = None
        self.refused = ""


class Forking:
    """Starts scripts by forking; safe to use from several threads.

    Args:
        launch: Any of the launches to come: they share interpreter, folder and number of threads.
    """

    def __init__(self, launch: Launch) -> None:
        if not sys.platform.startswith("linux"):
            # Elsewhere libraries of the system itself do not survive a fork.
            raise CannotFork(sys.platform)
        self._lock = threading.Lock()
        self._trials: dict[int, _Trial] = {}
        self._over = False
        environment = environment_of(launch)
        for name in ("RECTIFIER_LAUNCH", "RECTIFIER_PARENT", "RECTIFIER_EXPLAIN", "TMPDIR"):
            environment.pop(name, None)
        if "TMPDIR" in os.environ:
            environment["TMPDIR"] = os.environ["TMPDIR"]
        passed_on = inherited()
        theirs, self._requests = os.pipe()
        self._replies, others = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(_SERVER), str(theirs), str(others)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs, others, *passed_on),
                start_new_session=True,
                cwd=launch.directory,
            )
        finally:
            os.close(theirs)
            os.close(others)
        settings = {"package": str(PACKAGE), "modules": modules_of(launch)}
        self._write({**settings, "command": list(launch.command), "cwd": _directory(launch)})
        self._reader = threading.Thread(target=self._read, name="rectifier-forking", daemon=True)
        self._reader.start()

    def run(
        self,
        launch: Launch,
        output: Path,
        *,
        timeout: float | None = None,
        started: Callable[[Any], None] = lambda process: None,
    ) -> int:
        """Run a script to its end, in a process group of its own.

        Args:
            launch: What to start.
            output: File that gets what it prints.
            timeout: Seconds after which it is killed.
            started: Called with what has its `pid`.

        Returns:
            The exit code as a shell sees it.

        Raises:
            CannotFork: The server refuses, or has ended.
        """
        environment = environment_of(launch)
        environment.pop("RECTIFIER_PARENT", None)
        trial = _Trial()
        with self._lock:
            if self._over:
                raise CannotFork("the server has ended")
            number = len(self._trials)
            self._trials[number] = trial
        self._write(
            {
                "id": number,
                "command": list(launch.command),
                "environment": environment,
                "cwd": _directory(launch),
                "output": str(output.absolute()),
            }
        )
        trial.begun.wait(_UNTIL_IT_SERVES)
        if not trial.pid:
            raise CannotFork(trial.refused or "the server does not answer")
        started(Forked(trial.pid))
        try:
            if not trial.ended.wait(timeout):
                kill_group(trial.pid)
                trial.ended.wait()
                return TIMED_OUT
        except BaseException:
            kill_group(trial.pid)
            raise
        if trial.code is None:
            raise CannotFork("the server has ended")
        return trial.code if trial.code >= 0 else SIGNALLED - trial.code

    def close(self) -> None:
        """End the server, and whatever it still runs."""
        with self._lock:
            self._over = True
            with suppress(OSError):
                os.close(self._requests)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
            return
        self._process.kill()
        self._process.wait()

    def _write(self, message: dict[str, Any]) -> None:
        with self._lock:
            try:
                os.write(self._requests, json.dumps(message).encode() + b"\n")
            except OSError as error:
                raise CannotFork(str(error)) from error

    def _read(self) -> None:
        with os.fdopen(self._replies, "rb") as replies:
            for line in replies:
                reply = json.loads(line)
                trial = self._trials[reply["id"]]
                if "pid" in reply:
                    trial.pid = reply["pid"]
                elif "code" in reply:
                    trial.code = reply["code"]
                    trial.ended.set()
                else:
                    trial.refused = reply["refused"]
                trial.begun.set()
        with self._lock:
            self._over = True
            left = list(self._trials.values())
        for trial in left:
            trial.begun.set()
            trial.ended.set()


def _directory(launch: Launch) -> str:
    return str(Path(launch.directory or Path.cwd()).absolute())


def modules_of(launch: Launch) -> list[str]:
    """What a script imports of the packages that may be imported before it; nothing where it cannot be read."""
    if launch.command[0] == "-m":
        return []
    try:
        tree = ast.parse((Path(launch.directory or ".") / launch.command[0]).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        found.update(dict.fromkeys(name for name in names if name.partition(".")[0] in _WITHOUT_TORCH))
    return list(found)
