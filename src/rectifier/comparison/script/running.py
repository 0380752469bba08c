"""The processes of trials that are at work, and how they are ended from outside."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Running:
    """Trials at work; safe to use from several threads."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    @contextmanager
    def one(self) -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
        """While one trial is at work; what this gives is told the process."""
        own: list[subprocess.Popen[bytes]] = []

        def started(process: subprocess.Popen[bytes]) -> None:
            own.append(process)
            self._enter(process)

        try:
            yield started
        finally:
            with self._lock:
                self._processes.difference_update(own)

    def stop(self, patience: float = 5.0) -> None:
        """End all trials that are running: asked first, killed after `patience` seconds. No other will start."""
        with self._lock:
            self._stopped = True
            running = list(self._processes)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in running:
                _signal_group(process, number)
            deadline = time.monotonic() + patience
            # Their threads wait for them; here it is only looked whether they have gone.
            while any(process in self._processes for process in running) and time.monotonic() < deadline:
                time.sleep(0.02)

    def _enter(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.add(process)
            stopped = self._stopped
        if stopped:
            _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
