"""Which training steps are observed. A budget may thin them out, never add any."""

from rectifier.records import Cost

# The first observations carry what happens once (finding the units' axis, first allocations); without an allowance
# a training of a second would be seen twice in all.
_ALLOWANCE_SECONDS = 0.2
_LONGEST_INTERVAL = 1 << 20


class Schedule:
    """Observes every `interval`-th step; the interval doubles whenever watching costs more than its budget.

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

    def observes(self, step: int) -> bool:
        """Whether this step is to be observed."""
        return step % self.interval == 0

    def spent(self, training_seconds: float) -> None:
        """Take note of an observed step that has ended, and lengthen the interval when it was too dear."""
        self.observed_steps += 1
        allowed = self._budget * training_seconds + _ALLOWANCE_SECONDS
        if not self._fixed and self.watching_seconds > allowed and self.interval < _LONGEST_INTERVAL:
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
