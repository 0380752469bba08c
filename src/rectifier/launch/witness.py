"""A second process in the group of this one, which tells a signal to the whole group from one to this process alone."""

import contextlib
import os
import select
import signal
import warnings
from collections.abc import Collection

_ANSWERED_WITHIN = 2.0
"""Seconds until a witness that has not answered is taken for gone."""


class Witness:
    """A process in this one's group that blocks the same signals, and reports which ones have been sent to it.

    No other program knows its process ID, so a signal that it gets was sent to the whole group. It ends when this
    process ends, for whatever reason.
    """

    def __init__(self) -> None:
        asked, self._ask = os.pipe()
        self._answer, answered = os.pipe()
        try:
            with warnings.catch_warnings():
                # Python warns of forking beside threads; this child only reads, writes, and leaves.
                warnings.simplefilter("ignore")
                self._pid = os.fork()
            if self._pid == 0:
                _bear_witness(asked, answered)
        except OSError:
            os.close(self._ask)
            os.close(self._answer)
            raise
        finally:
            os.close(asked)
            os.close(answered)

    def seen(self, forget: Collection[int]) -> set[int]:
        """The signals that have been sent to it.

        Args:
            forget: It answers as always, and then forgets these.

        Raises:
            OSError: It does not answer.
        """
        os.write(self._ask, bytes([0, *forget]))
        if not select.select([self._answer], [], [], _ANSWERED_WITHIN)[0]:
            raise TimeoutError
        answer = os.read(self._answer, select.PIPE_BUF)
        if not answer:
            raise BrokenPipeError
        return set(answer[1:])

    def dismiss(self) -> None:
        """End it."""
        os.close(self._ask)
        os.close(self._answer)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def call_witness() -> Witness | None:
    """A witness, or None where there are too many processes or descriptors for one.

    Without a witness, the sender of a signal has to tell whether the group got it.
    """
    with contextlib.suppress(OSError):
        return Witness()
    return None


def _bear_witness(asked: int, answered: int) -> None:
    """Be the witness until its questions end; never returns."""
    try:
        # Whoever reads what the script writes must not have to wait for this process, too.
        for descriptor in [int(name) for name in os.listdir("/dev/fd")]:
            if descriptor not in (asked, answered):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        while forget := os.read(asked, select.PIPE_BUF):
            seen = signal.sigpending()
            for number in seen & {*forget}:
                while signal.sigtimedwait({number}, 0) is not None:
                    pass
            os.write(answered, bytes([0, *seen]))
    finally:
        os._exit(0)
