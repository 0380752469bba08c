"""Which training steps are observed, and how closely. A budget may thin them out, never add any."""

import math
from enum import IntEnum

from rectifier.records import EARLY_STEPS, Cost

# Beyond its budget, watching may take this much each time the number of steps doubles. Most happens at the beginning,
# and without an allowance a training of a second would hardly be seen; after 2¹⁰ steps it has added up to 0.5 s, after
# 2²⁰ to 1 s.
ALLOWANCE_SECONDS = 0.05
_LONGEST_INTERVAL = 1 << 20
# Of the budget this share is planned with. The rest is for what cannot be timed from within: calls passed through,
# caches that hold our data instead of the training's. In steps below a millisecond it is more than all that is timed.
PLANNED = 1 / 3
_ALL_COUNTED = 16
_ALL_LIGHT = 64
_LIGHT_INTERVAL = 4
# Where counting takes more than this share of the training and these seconds all the same, the early steps are thinned,
# too: a network of ten thousand layers, not a machine that is busy with something else.
_LARGEST_EARLY_SHARE = 0.25
_EARLY_SECONDS = 5.0


class Sampling(IntEnum):
    """How closely a step is observed."""

    SKIPPED = 0
    LIGHT = 1
    """It is seen whether units fire."""
    FULL = 2
    """Everything is counted."""


class Schedule:
    """Samples every `interval`-th step, and every `count_interval`-th of all steps in full.

    Light sampling costs a fraction of full sampling, and is all that the evidence of death needs. Both intervals grow
    with the number of the step up to `EARLY_STEPS`. From there on, while watching costs more than its budget, the
    interval of whichever of the two costs more per step doubles.

    It doubles when the whole has cost too much *and* what is observed now costs more per step than the budget allows;
    the second keeps it from overshooting while an early expense is being paid off.

    Intervals are powers of two and count from step 0, so the steps of a slower rank or arm are among those of a
    faster one.

    Args:
        budget: Largest share of the training time to spend on watching. None: the number of a step alone decides how
            it is observed, so that two trainings are observed alike whatever else their machines do.
        every: Count at every so many steps whatever it costs, instead of keeping a budget.
    """

    def __init__(self, budget: float | None = 0.01, every: int | None = None) -> None:
        self._budget = budget
        self._every = every
        self.begin_again()

    def begin_again(self) -> None:
        """Forget what has been spent, and observe as at the beginning."""
        self.interval = self.count_interval = self._every or 1
        self._thinned = 1
        self.watching_seconds = self.treating_seconds = 0.0
        self.observed_steps = self.counted_steps = 0
        self._accounted_seconds = self._idle_seconds = 0.0
        self._seconds = {Sampling.LIGHT: 0.0, Sampling.FULL: 0.0}
        self._seen = {Sampling.LIGHT: 0, Sampling.FULL: 0}

    def sampling_of(self, step: int) -> Sampling:
        """How closely this step is to be observed."""
        if self._every is None and step >= _ALL_COUNTED:
            if self._budget is None and step >= EARLY_STEPS:
                self._lengthen_further(step)
            elif self.count_interval < EARLY_STEPS // _ALL_COUNTED:
                self._lengthen(step)
        if step % self.interval:
            return Sampling.SKIPPED
        return Sampling.LIGHT if step % self.count_interval else Sampling.FULL

    def _lengthen(self, step: int) -> None:
        """The intervals that the number of an early step asks for; none grows shorter."""
        octave = min(step, EARLY_STEPS - 1).bit_length() - 1
        wanted = self._thinned << (octave - _ALL_COUNTED.bit_length() + 2)
        self.count_interval = max(self.count_interval, wanted)
        light = 1 if step < _ALL_LIGHT else 2 if step < _LIGHT_INTERVAL * _ALL_LIGHT else _LIGHT_INTERVAL
        self.interval = max(self.interval, min(self.count_interval, light * self._thinned))

    def _lengthen_further(self, step: int) -> None:
        """Without a budget: twice the intervals for four times the steps, so that their share falls towards none."""
        octaves = step.bit_length() - EARLY_STEPS.bit_length() + 1
        self.interval = min(_LIGHT_INTERVAL << (octaves + 1) // 2, _LONGEST_INTERVAL)
        self.count_interval = min(_ALL_COUNTED * self.interval, _LONGEST_INTERVAL)

    def steps_skipped(self, step: int) -> int:
        """How many steps from this one on are not observed."""
        return -step % self.interval

    def passed(self) -> None:
        """Take note of steps that have ended without being observed."""
        self._idle_seconds += self.watching_seconds - self._accounted_seconds
        self._accounted_seconds = self.watching_seconds

    def spent(self, sampling: Sampling, steps: int, training_seconds: float) -> None:
        """Take note of an observed step that has ended, and lengthen an interval when it was too dear.

        Args:
            sampling: How it was observed.
            steps: Training steps so far.
            training_seconds: How long they took.
        """
        self.observed_steps += 1
        self.counted_steps += sampling is Sampling.FULL
        latest = self.watching_seconds - self._accounted_seconds
        self._accounted_seconds = self.watching_seconds
        # The first of a kind is no measure. After it, half old and half new: a slow write does not decide, a lasting
        # cost does.
        self._seconds[sampling] = (self._seconds[sampling] + latest) / 2 if self._seen[sampling] else 0.0
        self._seen[sampling] += 1
        if self._every is not None or self._budget is None:
            return
        budget = PLANNED * self._budget
        allowed = budget * training_seconds + ALLOWANCE_SECONDS * math.log2(1 + steps)
        if self.watching_seconds <= allowed:
            return
        if steps < EARLY_STEPS:
            if self.watching_seconds > _EARLY_SECONDS + _LARGEST_EARLY_SHARE * training_seconds:
                self._thinned *= 2
                self.count_interval, self.interval = 2 * self.count_interval, 2 * self.interval
            return
        # What each step costs that is not observed, no interval can lower; the rest of the budget, and at least a
        # quarter of it, is for those that are.
        idle = self._idle_seconds / max(steps - self.observed_steps, 1)
        full = self._seconds[Sampling.FULL] / self.count_interval
        light = self._seconds[Sampling.LIGHT] * (1 / self.interval - 1 / self.count_interval)
        # What is allowed per step, here: the derivative of `allowed`.
        per_step = budget * training_seconds / max(steps, 1) + ALLOWANCE_SECONDS / (math.log(2) * (1 + steps))
        if full + light <= max(per_step - idle, per_step / 4) or self.count_interval >= _LONGEST_INTERVAL:
            return
        if full >= light or self.count_interval == self.interval:
            self.count_interval *= 2
        else:
            self.interval *= 2

    def cost(self, steps: int, training_seconds: float) -> Cost:
        """What watching has cost so far."""
        return Cost(
            watching_seconds=self.watching_seconds,
            training_seconds=training_seconds,
            observed_steps=self.observed_steps,
            counted_steps=self.counted_steps,
            steps=steps,
            interval=self.interval,
            count_interval=self.count_interval,
            treating_seconds=self.treating_seconds,
        )
