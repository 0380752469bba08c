"""The processes of trials that are at work, and how they are ended from outside."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class WithPid(Protocol):
    """A process that leads its own group."""

    @property
    def pid(self) -> int:
        """Its number."""


class Running:
    """Trials at work; safe to use from several threads."""

    def __init__(self) -> None:
        self._processes: set[WithPid] = set()
        self._lock = threading.Lock()
        self._stopped = False

    @contextmanager
    def one(self) -> Iterator[Callable[[WithPid], None]]:
        """While one trial is at work; what this gives is told the process."""
        own: list[WithPid] = []

        def started(process: WithPid) -> None:
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

    def _enter(self, process: WithPid) -> None:
        with self._lock:
            self._processes.add(process)
            stopped = self._stopped
        if stopped:
            _signal_group(process, signal.SIGKILL)


def _signal_group(process: WithPid, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
