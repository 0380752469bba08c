"""The monitors of this process: who logs a number tells all of them, and a fork is noticed by each."""

import os
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from rectifier.monitor.training.monitor import Monitor

live: list["Monitor"] = []


def _after_fork() -> None:
    """In a forked child: let every monitor notice, with its next call, that it is one."""
    for monitor in live:
        monitor.note_fork()


if hasattr(os, "register_at_fork"):
    # Instead of asking for the process number at every step: that took 2.5 of the 17 µs of one that is not observed.
    os.register_at_fork(after_in_child=_after_fork)


def log(name: str, value: float | Tensor) -> None:
    """Record a number of the user's own, such as a validation accuracy, in every monitor that watches this process.

    Without a monitor it does nothing, so a script may keep the call.

    Args:
        name: What reports and comparisons call it. `loss` is what is back-propagated, so a number that is logged under
            that name is called `logged loss`.
        value: A finite number or a tensor with one element.

    Example:
        >>> log("val_accuracy", 0.93)
    """
    for monitor in live:
        monitor.log(name, float(value))
