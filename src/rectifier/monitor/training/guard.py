"""What stands between a monitor and the training: one lock, and an end of watching instead of an error."""

import threading
from collections.abc import Callable
from typing import Any

from rectifier.hooks.location import raised_by_signal_handler
from rectifier.hooks.recorders import without_subclasses

# A thread holds the lock for microseconds, or while it reads a window; up to two seconds on a busy machine. A thread
# that waits for longer than this is in a deadlock with locks of the user's.
_PATIENCE_SECONDS = 30.0


class Guard:
    """Calls parts of ours, one thread at a time; a failure becomes the end of watching, never of the training.

    Args:
        give_up: Told once why watching ends, and whether the caller holds the lock.
        may_nest: Whether a part of ours may be called from within another one at the moment.
    """

    def __init__(self, give_up: Callable[[str, bool], None], may_nest: Callable[[], bool]) -> None:
        self._give_up, self._may_nest = give_up, may_nest
        self._failed = False
        self.begin_again()

    def begin_again(self) -> None:
        """Begin in a forked child: another thread of the parent's may have held the lock, and is not there any more."""
        self.lock, self._holder = threading.RLock(), _NO_THREAD

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function, and return what it does; None where it is not called or fails."""
        lock = self.lock
        if self._failed:
            return None
        # Without a timeout first: to convert one takes longer than all the rest.
        if not lock.acquire(False) and not lock.acquire(timeout=_PATIENCE_SECONDS):
            self._failed = True
            self._give_up(f"another thread has held the monitor's lock for {_PATIENCE_SECONDS:.0f} s", False)
            return None
        entered, self._holder = self._holder, threading.get_ident()
        try:
            # A handler of signals, or a finalizer, may train while we are in the middle of something.
            if entered == self._holder and not self._may_nest():
                return None
            # A tensor of the user's own kind may compute, draw or count in its `__torch_function__`.
            with without_subclasses():
                return function(*args, **kwargs)
        except Exception as error:
            if raised_by_signal_handler(error):
                raise
            self._failed = True
            self._give_up(f"{type(error).__name__}: {error}", True)
            return None
        finally:
            self._holder = entered
            lock.release()


_NO_THREAD = 0
"""No thread has this identity."""
