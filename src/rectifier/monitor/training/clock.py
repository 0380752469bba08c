"""Whose steps are the training's steps."""

import weakref
from collections.abc import Callable

from torch.optim import Optimizer

_MOST_OF_OTHERS = 64


def _nobody() -> None:
    """Stand in for the optimizer before any has stepped."""


class Clock:
    """The optimizer that is counted.

    With several (a GAN) the first that steps is the clock; another takes over when the first has not stepped while that
    one did a few times, as in a second phase of training.

    Attributes:
        optimizer: Gives it, or None.
        others: Steps of other optimizers since its last one.
    """

    def __init__(self) -> None:
        self.optimizer: Callable[[], Optimizer | None] = _nobody
        self.others = 0

    def ticks(self, optimizer: Optimizer) -> bool:
        """Whether this step of an optimizer's is one of the training's."""
        clock = self.optimizer()
        if clock is not optimizer:
            self.others += 1
            if clock is not None and self.others <= _MOST_OF_OTHERS:
                return False
            self.optimizer = weakref.ref(optimizer)
        self.others = 0
        return True
