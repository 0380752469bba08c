"""Whose steps are the training's steps: an optimizer's, or those that a training makes by itself."""

import weakref
from collections.abc import Callable, Sequence

from torch import Tensor
from torch.optim import Optimizer

from rectifier.monitor.training.steps.movement import OwnSteps

_MOST_OF_OTHERS = 64
# A GradScaler begins with a factor that is too large, and skips a few steps until it has found one.
_MOST_SKIPPED = 10


def _nobody() -> None:
    """Stand in for the optimizer before any has stepped."""


class Clock:
    """The optimizer whose steps are counted; until one steps, what moves the weights without it.

    With several (a GAN) the first that steps is the clock; another takes over when the first has not stepped while that
    one did a few times, as in a second phase of training.

    Attributes:
        optimizer: Gives it, or None.
        others: Steps of other optimizers since its last one.
        own: Stands in for an optimizer, as long as none of torch's has stepped.
        between: Whether a backward pass has ended, and the script may have moved the weights since.
    """

    def __init__(self) -> None:
        self.optimizer: Callable[[], Optimizer | None] = _nobody
        self.others = self._skipped = 0
        self.own: OwnSteps | None = OwnSteps()
        self.between = False

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

    def begins(self) -> None:
        """An optimizer is about to step: what changes from here on must not be taken for the script's own doing."""
        if self.own is not None and self.own.passes_per_step is None:
            self.own = None

    def stepped(self) -> bool:
        """An optimizer has stepped.

        Returns:
            Whether steps were counted without one before: an analysis, or one step's accumulated gradients.
        """
        counted = self.own is not None and self.own.passes_per_step is not None
        self.own, self.between, self._skipped = None, False, 0
        return counted

    def skipped(self, optimizer: Optimizer) -> bool:
        """A GradScaler has left a step out; whether it counts as one.

        One that skips for ever must not make the training stand still in what is told of it.
        """
        self._skipped += 1
        return self._skipped > _MOST_SKIPPED and self.ticks(optimizer)

    def passed(self, trained: Sequence[Tensor]) -> bool:
        """A backward pass has ended without an optimizer; whether that is the end of a step.

        Args:
            trained: What a loss led to.
        """
        # Another thread's optimizer may have begun to step since it was asked for.
        own = self.own
        if own is None:
            return False
        ends = own.note_pass(trained)
        self.between = not ends
        return ends

    def moved(self) -> bool:
        """Before a forward or a backward pass: whether the script itself is seen to have made the first step."""
        self.between = False
        own = self.own
        return own is not None and own.look()
