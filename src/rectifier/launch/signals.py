"""Waits for a script and forwards signals: a signal to this process reaches the script; if the script stops, we stop.

The script runs in the process group of its parent, as it would without us. Ctrl-C and Ctrl-Z reach it directly, and so
do signals that a shell, a scheduler or `timeout` sends to the whole group. Only signals to this process alone have to
be forwarded. The sender does not tell the two cases apart: when a terminal hangs up, the kernel signals only the leader
of the session. So a second process of ours in the same group, the witness, notes which signals the group gets.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from types import FrameType, TracebackType
from typing import Any, NamedTuple

from rectifier.launch.witness import Witness, call_witness

_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGABRT")
_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, signal.SIGCONT, signal.SIGHUP, *_STOPS)

_GRACE = 0.02
"""Seconds until a signal is forwarded: `timeout` and schedulers signal one process after the other."""

_TOGETHER = 0.005
"""Seconds in which a signal is the same as one that the group has got: both were on their way when that was found."""

_STOPPED_WITHIN = 10.0
"""Seconds in which a script may stop after it was asked to: it may save its state before."""

_LONGEST = 1.0
"""Seconds between two looks at the script, even if nothing was heard."""


Started = Callable[[subprocess.Popen[bytes]], None]


def for_the_script() -> set[int | signal.Signals]:
    """All signals that somebody may send to a script: not those of this process's own faults."""
    faults = {number for name in _FAULTS if (number := getattr(signal, name, None)) is not None}
    every: set[int | signal.Signals] = {*signal.valid_signals()}
    return every - faults - {signal.SIGKILL, signal.SIGSTOP}


class Waiting:
    """Waits for a script without forwarding signals: Python allows only the main thread to install handlers."""

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def wait(self, process: subprocess.Popen[bytes], started: Started, timeout: float | None) -> int:
        """Wait for the end of a script that has just been started, and return what `Popen.wait` does.

        Args:
            process: The script.
            started: Called with the script's process; an exception that it raises is raised here.
            timeout: Seconds.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        started(process)
        return process.wait(timeout)


def follow(*, same_group: bool) -> Waiting:
    """Give what suits this thread and system.

    Args:
        same_group: The script will be in this process's group.
    """
    if threading.current_thread() is not threading.main_thread():
        return Waiting()
    return _Following(same_group=same_group) if hasattr(signal, "sigtimedwait") else _Forwarding(same_group=same_group)


class _Heard(NamedTuple):
    """A signal that is to be forwarded, unless others turn out to have got it, too."""

    number: int
    due: float


class _Following(Waiting):
    """Blocks every signal while the script runs, and takes them one by one.

    Handlers that only keep the number are installed before the script starts. They lose nothing in between, and unlike
    ignoring they are not inherited. Blocking comes after the start, because a script inherits that.
    """

    def __init__(self, *, same_group: bool) -> None:
        self._same_group = same_group
        self._signals = for_the_script()
        self._previous: dict[int, Any] = {}
        self._mask: set[int | signal.Signals] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._kept: list[int] = []
        self._heard: list[_Heard] = []
        self._sent_to_all: dict[int, float] = {}
        """When the witness was found to have a signal, by its number."""
        self._asked_to_stop: float | None = None
        self._stopped = False
        self._witness: Witness | None = None
        self._beside: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> "Waiting":
        # What is ignored here stays so, for the script inherits that: under nohup it outlives its terminal. None is a
        # handler that Python knows nothing of and could not install again.
        for number in self._signals - {signal.SIGCHLD}:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._previous[number] = signal.signal(number, self._keep)
        return self

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self._kept.append(number)

    def wait(self, process: subprocess.Popen[bytes], started: Started, timeout: float | None) -> int:
        self._begin(process)
        # `started` may take long, and signals must not wait for it. Its thread inherits that all signals are blocked.
        self._beside = threading.Thread(target=self._call, args=(started, process), name="rectifier-started")
        self._beside.start()
        end = None if timeout is None else time.monotonic() + timeout
        while process.poll() is None:
            if self._error is not None:
                break
            if self._is_stopped(process):
                self._stop_too()
            now = time.monotonic()
            if timeout is not None and end is not None and now >= end:
                raise subprocess.TimeoutExpired(process.args, timeout)
            self._take(process, min([now + _LONGEST, *(heard.due for heard in self._heard), *([end] if end else [])]))
            self._forward(process)
        if self._error is None:
            self._beside.join()
        if self._error is not None:
            raise self._error
        return process.returncode

    def _call(self, started: Started, process: subprocess.Popen[bytes]) -> None:
        try:
            started(process)
        except BaseException as error:
            self._error = error

    def _begin(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._mask = {*signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)}
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            # Inherited; the system would keep no exit code. The script has its own copy by now.
            self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # The script has just begun and has no handler yet: what it gets twice now has the effect of once.
        for number in self._kept:
            if number in _STOPS:
                self._asked_to_stop = time.monotonic()
            process.send_signal(number)
        self._kept.clear()
        if self._same_group:
            self._witness = call_witness()

    def _take(self, process: subprocess.Popen[bytes], until: float) -> None:
        """Take the next signal, if one comes in time."""
        info = signal.sigtimedwait(self._signals, max(0.0, until - time.monotonic()))
        if info is not None:
            # Codes above 0 are the kernel's; only other processes have a number.
            self._hear(info.si_signo, process, info.si_pid if info.si_code <= 0 else None)
        # Where this process has other threads, the handler may have run after all.
        while self._kept:
            self._hear(self._kept.pop(0), process, sender=0)

    def _hear(self, number: int, process: subprocess.Popen[bytes], sender: int | None) -> None:
        heard_at = time.monotonic()
        if number in _STOPS:
            self._asked_to_stop = heard_at
        elif number == signal.SIGCONT:
            self._forget_stops()
        # A script that stops its group, say, has had that signal, and SIGPIPE may come of our own writing.
        if number == signal.SIGCHLD or sender in (process.pid, os.getpid()):
            return
        if not self._same_group:
            process.send_signal(number)
            return
        # The system takes back a stop when a continuation comes, and the other way round, but not from the witness
        # where only this process was meant.
        opposite = (signal.SIGCONT,) if number in _STOPS else _STOPS if number == signal.SIGCONT else ()
        seen = self._seen_by_all(forget=(number, *opposite))
        if seen is None:
            if sender is not None or number not in _OF_THE_TERMINAL:
                process.send_signal(number)
        elif number in seen or heard_at < self._sent_to_all.get(number, 0.0) + _TOGETHER:
            if number in seen:
                self._sent_to_all[number] = time.monotonic()
            # To this process alone and to the group shortly after: that was meant to be one signal.
            self._heard = [heard for heard in self._heard if heard.number != number]
        else:
            self._heard.append(_Heard(number, heard_at + _GRACE))

    def _forget_stops(self) -> None:
        self._heard = [heard for heard in self._heard if heard.number not in _STOPS]

    def _forward(self, process: subprocess.Popen[bytes]) -> None:
        now = time.monotonic()
        due = [heard.number for heard in self._heard if heard.due <= now]
        if not due:
            return
        self._heard = [heard for heard in self._heard if heard.due > now]
        seen = self._seen_by_all(forget=due) or ()
        for number in due:
            if number not in seen:
                process.send_signal(number)

    def _seen_by_all(self, forget: Collection[int]) -> set[int] | None:
        """The signals that the whole group has got, some of which are asked about only once; None if nobody knows."""
        if self._witness is None:
            return None
        try:
            return self._witness.seen(forget)
        except OSError:
            self._witness.dismiss()
            self._witness = None
            return None

    def _is_stopped(self, process: subprocess.Popen[bytes]) -> bool:
        with contextlib.suppress(ChildProcessError):
            while news := os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG):
                self._stopped = news.si_code == os.CLD_STOPPED
        return self._stopped

    def _stop_too(self) -> None:
        """Stop as the script did, so that the shell takes its terminal back; the shell makes both go on."""
        asked, self._asked_to_stop = self._asked_to_stop, None
        if asked is None or time.monotonic() - asked > _STOPPED_WITHIN:
            # Somebody stopped the script alone, and will let it go on alone.
            return
        self._forget_stops()
        if signal.SIGCONT not in signal.sigpending():
            os.kill(os.getpid(), signal.SIGSTOP)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beside is not None:
            self._beside.join()
        if self._witness is not None:
            self._witness.dismiss()
        if self._mask is not None:
            # They were sent to a script that has ended.
            while signal.sigtimedwait(self._signals, 0) is not None:
                pass
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        # Ctrl-C last: from then on it may interrupt what comes.
        for number in sorted(self._previous, key=lambda number: number == signal.SIGINT):
            signal.signal(number, self._previous[number])
        if self._process is None:
            # There never was a script to send them to.
            for number in self._kept:
                os.kill(os.getpid(), number)


class _Forwarding(Waiting):
    """For systems that cannot wait for signals with a timeout: handlers forward what no terminal sends."""

    def __init__(self, *, same_group: bool) -> None:
        self._same_group = same_group
        self._process: subprocess.Popen[bytes] | None = None
        self._kept: list[int] = []
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Waiting":
        # The terminal stops and continues both processes by itself, if nobody interferes.
        alone = {signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH, signal.SIGPIPE, *_STOPS}
        for number in for_the_script() - alone:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._previous[number] = signal.signal(number, self._forward)
        return self

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGQUIT) and self._same_group:
            # Most likely the terminal's, which the script has got, too.
            return
        if self._process is None:
            self._kept.append(number)
        else:
            self._process.send_signal(number)

    def wait(self, process: subprocess.Popen[bytes], started: Started, timeout: float | None) -> int:
        self._process = process
        for number in self._kept:
            process.send_signal(number)
        return super().wait(process, started, timeout)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in sorted(self._previous, key=lambda number: number == signal.SIGINT):
            signal.signal(number, self._previous[number])
