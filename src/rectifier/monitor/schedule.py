"""Which training steps are observed. A budget may thin them out, never add any."""

import math

from rectifier.records import Cost

# Beside its budget, watching may take this much each time the number of steps doubles. Most happens at the beginning,
# and without an allowance a training of a second would hardly be seen; after 2¹⁰ steps it has added up to 0.5 s, after
# 2²⁰ to 1 s.
_ALLOWANCE_SECONDS = 0.05
_LONGEST_INTERVAL = 1 << 20


class Schedule:
    """Observes every `interval`-th step; the interval doubles while watching costs more than its budget.

    It doubles when the whole has cost too much *and* an observed step costs more than the steps since the one before
    allow; the second keeps it from overshooting while an early expense is being paid off.

    Intervals are powers of two and count from step 0, so the steps of a slower rank or arm are among those of a
    faster one.

    Args:
        budget: Largest share of the training time to spend on watching.
        every: Observe every so many steps whatever it costs, instead of keeping a budget.
    """

    def __init__(self, budget: float = 0.01, every: int | None = None) -> None:
        self._budget = budget
        self._fixed = every is not None
        self.interval = every or 1
        self.watching_seconds = 0.0
        self.observed_steps = 0
        self._accounted_seconds = 0.0
        self._seconds_per_observation = 0.0

    def observes(self, step: int) -> bool:
        """Whether this step is to be observed."""
        return step % self.interval == 0

    def spent(self, steps: int, training_seconds: float) -> None:
        """Take note of an observed step that has ended, and lengthen the interval when it was too dear.

        Args:
            steps: Training steps so far.
            training_seconds: How long they took.
        """
        self.observed_steps += 1
        latest = self.watching_seconds - self._accounted_seconds
        self._accounted_seconds = self.watching_seconds
        # Half old, half new: one slow write does not decide, a lasting cost does.
        self._seconds_per_observation = (self._seconds_per_observation + latest) / 2 if self.observed_steps > 1 else 0.0
        allowed = self._budget * training_seconds + _ALLOWANCE_SECONDS * math.log2(1 + steps)
        # The same, per step, here: its derivative.
        per_step = self._budget * training_seconds / max(steps, 1) + _ALLOWANCE_SECONDS / (math.log(2) * (1 + steps))
        too_dear = self._seconds_per_observation > self.interval * per_step
        lengthen = self.watching_seconds > allowed and too_dear and self.interval < _LONGEST_INTERVAL
        if lengthen and not self._fixed:
            self.interval *= 2

    def cost(self, steps: int, training_seconds: float) -> Cost:
        """What watching has cost so far."""
        return Cost(
            watching_seconds=self.watching_seconds,
            training_seconds=training_seconds,
            observed_steps=self.observed_steps,
            steps=steps,
            interval=self.interval,
        )
