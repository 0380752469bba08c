"""An arm beside the baseline, seed by seed, and how the two differ: on failures, and on the metric."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rectifier.comparison.statistics.exact import mcnemar, paired_rate_interval, sign_flip
from rectifier.records import Effect, Failure, FailureKind, Trial


@dataclass(frozen=True, slots=True)
class Pairs:
    """One arm beside the baseline, seed by seed; only seeds that both have finished."""

    arm: tuple[Trial, ...]
    baseline: tuple[Trial, ...]

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.arm)

    def only_failed(self) -> tuple[int, int]:
        """Pairs in which only the arm failed, and in which only the baseline did."""
        return self._only(lambda trial: trial.failed is not None)

    def only_missing(self) -> tuple[int, int]:
        """Pairs in which only the arm gave no value, and in which only the baseline did not."""
        return self._only(lambda trial: trial.metric is None)

    def _only(self, holds: Callable[[Trial], bool]) -> tuple[int, int]:
        both = [(holds(arm), holds(baseline)) for arm, baseline in zip(self.arm, self.baseline, strict=True)]
        return both.count((True, False)), both.count((False, True))

    def differences(self, *, survivors: bool = False) -> list[float]:
        """Arm minus baseline where both gave a value; with `survivors` only where neither failed."""
        return [
            a.metric - b.metric
            for a, b in zip(self.arm, self.baseline, strict=True)
            if a.metric is not None
            and b.metric is not None
            and not (survivors and (a.failed is not None or b.failed is not None))
        ]

    def identical(self) -> bool:
        """Whether every pair is equal to the bit, so that the treatment did nothing at all."""
        return self.n > 0 and all(_outcome(a) == _outcome(b) for a, b in zip(self.arm, self.baseline, strict=True))

    def seeds_do_nothing(self) -> bool:
        """Whether all pairs are copies of one pair: then there is one observation, however many seeds."""
        outcomes = {(a.fingerprint, b.fingerprint) for a, b in zip(self.arm, self.baseline, strict=True)}
        return self.n > 1 and len(outcomes) == 1 and None not in next(iter(outcomes))


def by_arm_and_seed(trials: Sequence[Trial]) -> dict[str, dict[int, Trial]]:
    """Trials by arm and seed; a metric that is not finite counts as missing and its trial as failed.

    Raises:
        ValueError: Two trials share an arm and a seed.
    """
    found: dict[str, dict[int, Trial]] = {}
    for trial in sorted(trials, key=lambda t: t.seed):
        arm = found.setdefault(trial.arm, {})
        if trial.seed in arm:
            raise ValueError(f"two trials of arm {trial.arm!r} with seed {trial.seed}")
        arm[trial.seed] = _without_infinities(trial)
    return found


def paired(arm: dict[int, Trial], baseline: dict[int, Trial], below: float = math.inf) -> Pairs:
    """The pairs of those seeds below a number that both have finished."""
    seeds = [seed for seed in arm if seed in baseline and seed < below]
    return Pairs(tuple(arm[seed] for seed in seeds), tuple(baseline[seed] for seed in seeds))


def failure_effect(pairs: Pairs, level: float) -> Effect | None:
    """The difference of failure rates, None without a pair.

    Args:
        pairs: Of an arm and the baseline.
        level: 1 minus the confidence of the interval.
    """
    if not pairs.n:
        return None
    arm_only, baseline_only = pairs.only_failed()
    low, high = paired_rate_interval(arm_only, baseline_only, pairs.n, 1 - level)
    p = mcnemar(arm_only, baseline_only)
    return Effect(difference=(arm_only - baseline_only) / pairs.n, low=low, high=high, p=p, p_adjusted=p, n=pairs.n)


def metric_effect(pairs: Pairs, level: float, *, survivors: bool = False) -> Effect | None:
    """The mean paired difference of the metric, None without a pair in which both gave a value.

    Args:
        pairs: Of an arm and the baseline.
        level: 1 minus the confidence of the interval.
        survivors: Only of seeds on which neither failed.
    """
    differences = pairs.differences(survivors=survivors)
    if not differences:
        return None
    test = sign_flip(differences, 1 - level)
    # fsum: the mean must not depend on the order of the seeds.
    mean = math.fsum(differences) / len(differences)
    return Effect(difference=mean, low=test.low, high=test.high, p=test.p, p_adjusted=test.p, n=len(differences))


def _outcome(trial: Trial) -> tuple[str | None, float | None, Failure | None]:
    return trial.fingerprint, trial.metric, trial.failed


def _without_infinities(trial: Trial) -> Trial:
    if trial.metric is None or math.isfinite(trial.metric):
        return trial
    return replace(trial, metric=None, failed=trial.failed or Failure(FailureKind.NOT_FINITE, "the metric"))
