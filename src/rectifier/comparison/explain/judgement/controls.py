"""What the unchanged script does with other seeds, so that a cure can be told from luck."""

import math
from dataclasses import dataclass, field

from rectifier.comparison.explain.judgement.experiment import unchanged_trial
from rectifier.comparison.explain.judgement.failure import Failing
from rectifier.comparison.explain.trials.trial import Shown
from rectifier.diagnosis import thresholds as limit
from rectifier.records import Control


@dataclass(slots=True)
class Controls:
    """The controls of one explanation, as far as they were run.

    Attributes:
        unchanged: By seed, ended as early as the trials with a change.
        placebo_failed: Whether the failure came with the placebo; None where it was not tried.
        deterministic: Whether the unchanged script gave the same losses twice; None where it was not tried.
        reach: Whether another seed changes anything; None where it was not tried.
    """

    unchanged: dict[int | None, Shown] = field(default_factory=dict)
    placebo_failed: bool | None = None
    deterministic: bool | None = None
    reach: bool | None = None

    def failing_seeds(self, failing: Failing) -> tuple[int | None, ...]:
        """Seeds on which the unchanged script fails."""
        return tuple(seed for seed, shown in self.unchanged.items() if failing.seen_in(shown))

    def tell(self, failing: Failing) -> bool:
        """Whether enough seeds fail to rule out that a change spares them all by luck."""
        failed = len(self.failing_seeds(failing))
        return enough_fail(failed, len(self.unchanged) - failed)

    def may_tell(self, failing: Failing) -> bool:
        """Whether the seeds that are left are likely to make it enough."""
        failed = len(self.failing_seeds(failing))
        return enough_may_fail(failed, len(self.unchanged) - failed)

    def record(self, failing: Failing | None, base: Shown | None) -> Control:
        """What is kept of them.

        Args:
            failing: The failure; None where there is none.
            base: The first run; None where it did not end.
        """
        return Control(
            seeds=tuple(self.unchanged),
            failing=() if failing is None else self.failing_seeds(failing),
            placebo_failed=self.placebo_failed,
            deterministic=self.deterministic,
            seeds_reach=self.reach,
            reads_input=base is not None and base.reads_input,
            trials=()
            if failing is None
            else tuple(unchanged_trial(seed, shown, failing) for seed, shown in self.unchanged.items()),
        )


def enough_fail(failed: int, survived: int) -> bool:
    """Whether enough seeds fail to rule out that a change spares them all by luck.

    Example:
        >>> enough_fail(3, 1), enough_fail(3, 2)
        (True, False)
    """
    # The share that survives, by Laplace's rule of succession: few seeds tell it.
    share = (survived + 1) / (failed + survived + 2)
    return failed >= limit.EXPLAIN_FAILING_SEEDS and share**failed <= limit.EXPLAIN_LUCK


def enough_may_fail(failed: int, survived: int) -> bool:
    """Whether the seeds that are left are likely to make it enough, at the share of others that has failed so far.

    Args:
        failed: Seeds that fail, the script's own among them: that one is no draw.
        survived: Seeds that do not.
    """
    share = failed / (failed + survived + 1)
    left = limit.EXPLAIN_MOST_SEEDS - failed - survived
    chance = sum(
        math.comb(left, more) * share**more * (1 - share) ** (left - more)
        for more in range(left + 1)
        if enough_fail(failed + more, survived + left - more)
    )
    return chance > limit.EXPLAIN_LUCK
