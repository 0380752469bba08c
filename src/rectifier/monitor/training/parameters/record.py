"""What is known of one parameter, on the host."""

import math

from rectifier.monitor.training.sites.parameters import Held


class ParameterRecord:
    """What is known of one parameter, on the host."""

    __slots__ = (
        "_size", "bits", "connected", "decay", "epsilon", "first_compared", "first_looked", "gradient", "held",
        "last_changed", "last_compared", "last_looked", "last_nonzero", "looked", "nonfinite_step",
        "nonfinite_weight_step", "optimizer", "rate", "threads", "uses", "weight_first", "weight_high",
        "weight_last", "weight_low", "without_gradient",
        "zero_gradient",
    )  # fmt: skip

    def __init__(self, held: Held) -> None:
        self.held = held
        self.looked = self.without_gradient = self.zero_gradient = self.connected = self.uses = 0
        self.first_looked = self.last_looked = self.last_nonzero = self.nonfinite_step = -1
        self.first_compared = self.last_compared = self.last_changed = self.nonfinite_weight_step = -1
        self.weight_first = self.weight_last = self.gradient = math.nan
        self.weight_low = self.weight_high = math.nan
        self.optimizer, self.rate, self.decay, self.epsilon = -1, math.nan, math.nan, math.nan
        self.bits: int | None = None
        self._size = -1.0
        self.threads: set[int] = set()

    def note_look(self, step: int, size: float) -> None:
        """What a look at the gradient found.

        Args:
            step: The training's.
            size: Largest absolute value; -1 where there was no gradient.
        """
        if self.last_looked == step:
            # A window was read in the middle of the step; a gradient may have come since.
            size = size if not size <= self._size else self._size
            self.without_gradient -= self._size < 0
            self.zero_gradient -= self._size == 0
        else:
            self.looked += 1
        self.first_looked = step if self.first_looked < 0 else self.first_looked
        self.last_looked, self._size = step, size
        self.without_gradient += size < 0
        self.zero_gradient += size == 0
        if not size <= 0:
            self.last_nonzero = step
            if not math.isfinite(size) and self.nonfinite_step < 0:
                self.nonfinite_step = step

    def note_comparison(self, step: int, bits: int, norm: float, low: float, high: float) -> None:
        """What a look at the weights found.

        Args:
            step: The training's.
            bits: One number from all bits.
            norm: Theirs.
            low: The smallest of them.
            high: The largest.
        """
        if self.bits is None:
            self.first_compared, self.weight_first = step, norm
            self.weight_low, self.weight_high = low, high
        elif self.bits != bits:
            self.last_changed = step
        if not math.isfinite(norm) and self.nonfinite_weight_step < 0:
            self.nonfinite_weight_step = step
        self.bits, self.last_compared, self.weight_last = bits, step, norm
