"""Which training steps are observed, and how closely. A budget may thin them out, never add any."""

import math
from enum import IntEnum

from rectifier.records import Cost

# Beyond its budget, watching may take this much each time the number of steps doubles. Most happens at the beginning,
# and without an allowance a training of a second would hardly be seen; after 2¹⁰ steps it has added up to 0.5 s, after
# 2²⁰ to 1 s.
ALLOWANCE_SECONDS = 0.05
_LONGEST_INTERVAL = 1 << 20
# Of the budget this share is planned with. The rest is for what cannot be timed from within: calls passed through,
# caches that hold our data instead of the training's. In steps below a millisecond it is more than all that is timed.
PLANNED = 1 / 3
EARLY_STEPS = 1024
"""Up to here the number of a step alone decides how it is observed, however busy the machine is: what is told of a
short training must not depend on that. Everything is counted at the first 16 steps and then at eight of each doubling:
64 in all. Whether units fire is seen at the first 64 steps, at every second one up to 256, then at every fourth."""
_ALL_COUNTED = 16
_ALL_GLANCED = 64
_GLANCE_INTERVAL = 4
# Where counting takes more than this share of the training and these seconds all the same, the early steps are thinned,
# too: a network of ten thousand layers, not a machine that is busy with something else.
_LARGEST_EARLY_SHARE = 0.25
_EARLY_SECONDS = 5.0


class Look(IntEnum):
    """How closely a step is observed: not at all, whether units fire, everything."""

    AWAY = 0
    GLANCE = 1
    COUNT = 2


class Schedule:
    """Counts everything at every `count_interval`-th step, and glances at every `interval`-th whether units fire.

    A glance costs a fraction of a count, and is all that the evidence of death needs. Both intervals grow with the
    number of the step up to `EARLY_STEPS`. From there on, while watching costs more than its budget, the interval of
    whichever of the two costs more per step doubles.

    It doubles when the whole has cost too much *and* what is observed now costs more per step than the budget allows;
    the second keeps it from overshooting while an early expense is being paid off.

    Intervals are powers of two and count from step 0, so the steps of a slower rank or arm are among those of a
    faster one.

    Args:
        budget: Largest share of the training time to spend on watching.
        every: Count at every so many steps whatever it costs, instead of keeping a budget.
    """

    def __init__(self, budget: float = 0.01, every: int | None = None) -> None:
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
        self._seconds = {Look.GLANCE: 0.0, Look.COUNT: 0.0}
        self._seen = {Look.GLANCE: 0, Look.COUNT: 0}

    def look(self, step: int) -> Look:
        """How closely this step is to be observed."""
        if self._every is None and step >= _ALL_COUNTED and self.count_interval < EARLY_STEPS // _ALL_COUNTED:
            self._lengthen(step)
        if step % self.interval:
            return Look.AWAY
        return Look.GLANCE if step % self.count_interval else Look.COUNT

    def _lengthen(self, step: int) -> None:
        """The intervals that the number of an early step asks for; none grows shorter."""
        octave = min(step, EARLY_STEPS - 1).bit_length() - 1
        wanted = self._thinned << (octave - _ALL_COUNTED.bit_length() + 2)
        self.count_interval = max(self.count_interval, wanted)
        glances = 1 if step < _ALL_GLANCED else 2 if step < _GLANCE_INTERVAL * _ALL_GLANCED else _GLANCE_INTERVAL
        self.interval = max(self.interval, min(self.count_interval, glances * self._thinned))

    def steps_away(self, step: int) -> int:
        """How many steps from this one on are not observed."""
        return -step % self.interval

    def passed(self) -> None:
        """Take note of steps that have ended without being observed."""
        self._idle_seconds += self.watching_seconds - self._accounted_seconds
        self._accounted_seconds = self.watching_seconds

    def spent(self, look: Look, steps: int, training_seconds: float) -> None:
        """Take note of an observed step that has ended, and lengthen an interval when it was too dear.

        Args:
            look: How it was observed.
            steps: Training steps so far.
            training_seconds: How long they took.
        """
        self.observed_steps += 1
        self.counted_steps += look is Look.COUNT
        latest = self.watching_seconds - self._accounted_seconds
        self._accounted_seconds = self.watching_seconds
        # The first of a kind is no measure. After it, half old and half new: a slow write does not decide, a lasting
        # cost does.
        self._seconds[look] = (self._seconds[look] + latest) / 2 if self._seen[look] else 0.0
        self._seen[look] += 1
        budget = PLANNED * self._budget
        allowed = budget * training_seconds + ALLOWANCE_SECONDS * math.log2(1 + steps)
        if self._every is not None or self.watching_seconds <= allowed:
            return
        if steps < EARLY_STEPS:
            if self.watching_seconds > _EARLY_SECONDS + _LARGEST_EARLY_SHARE * training_seconds:
                self._thinned *= 2
                self.count_interval, self.interval = 2 * self.count_interval, 2 * self.interval
            return
        # What each step costs that is not observed, no interval can lower; the rest of the budget, and at least a
        # quarter of it, is for those that are.
        idle = self._idle_seconds / max(steps - self.observed_steps, 1)
        counting = self._seconds[Look.COUNT] / self.count_interval
        glancing = self._seconds[Look.GLANCE] * (1 / self.interval - 1 / self.count_interval)
        # What is allowed per step, here: the derivative of `allowed`.
        per_step = budget * training_seconds / max(steps, 1) + ALLOWANCE_SECONDS / (math.log(2) * (1 + steps))
        if counting + glancing <= max(per_step - idle, per_step / 4) or self.count_interval >= _LONGEST_INTERVAL:
            return
        if counting >= glancing or self.count_interval == self.interval:
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
