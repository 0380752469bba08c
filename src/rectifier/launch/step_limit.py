"""The end of a training after so many optimizer steps: the script is left as if it had asked to exit by itself.

`SystemExit` out of `optimizer.step()` runs the script's own `finally` blocks and exit handlers, and passes every
`except Exception`. A script that catches even that trains nothing on: each further step ends the same way.
"""

import _thread
import threading
import weakref
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook


def end_after(
    steps: int | None, clock: Callable[[], int], end: Callable[[], None], asked: Callable[[], bool] = lambda: False
) -> None:
    """End this process, and each one that is forked from it, once its training has taken so many steps.

    Call it after the monitor has begun, so that the last step has been seen.

    Args:
        steps: At least 1; None for no limit.
        clock: Steps that the training has taken, as it is watched.
        end: Called before the process is left: what comes later belongs to no step of the training.
        asked: Whether somebody wants it to end now.
    """
    # If watching had to stop, its clock stands still; the busiest optimizer's own steps then tell the end.
    own: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()

    def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        own[optimizer] = own.get(optimizer, 0) + 1
        if (steps is None or max(clock(), own[optimizer]) < steps) and not asked():
            return
        end()
        if threading.current_thread() is not threading.main_thread():
            # An exit of this thread alone would leave the others waiting for it.
            _thread.interrupt_main()
        raise SystemExit(0)

    register_optimizer_step_post_hook(after)
