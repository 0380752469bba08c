"""The row of one arm: its numbers and its verdict."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from rectifier.comparison.statistics.exact import clopper_pearson
from rectifier.comparison.statistics.pairs import Pairs, metric_effect
from rectifier.comparison.statistics.power import detectable, seeds_needed
from rectifier.comparison.statistics.wording import Wording
from rectifier.records import ArmVerdict, Effect, Trial
from rectifier.records.comparison import Verdict


def _median(trials: Sequence[Trial]) -> float | None:
    values = [trial.metric for trial in trials if trial.metric is not None]
    return statistics.median(values) if values else None


def _mean_dead(trials: Sequence[Trial]) -> float | None:
    values = [trial.dead_fraction for trial in trials if trial.dead_fraction is not None]
    return math.fsum(values) / len(values) if values else None


def baseline_row(name: str, trials: Sequence[Trial], wording: Wording) -> ArmVerdict:
    """The row of the arm that the others are compared with."""
    failures = sum(trial.failed is not None for trial in trials)
    low, high = clopper_pearson(failures, len(trials), 1 - wording.level)
    row = ArmVerdict(
        arm=name,
        n=len(trials),
        failures=failures,
        failure_low=low,
        failure_high=high,
        median=_median(trials),
        failure=None,
        metric=None,
        survivors=None,
        verdict="identical",
        sentence="",
        dead_fraction=_mean_dead(trials),
    )
    return replace(row, sentence=wording.baseline_sentence(row))


def judge(
    name: str, pairs: Pairs, failure: Effect | None, metric: Effect | None, *, is_placebo: bool, wording: Wording
) -> ArmVerdict:
    """The row of another arm; see `compare_trials` for the verdicts.

    Args:
        name: The arm.
        pairs: Its trials beside the baseline's.
        failure: What was found on failures, corrected.
        metric: Likewise on the metric.
        is_placebo: Whether it is the arm that differs from the baseline in nothing.
        wording: What the whole comparison asks.
    """
    failures = sum(trial.failed is not None for trial in pairs.arm)
    low, high = clopper_pearson(failures, pairs.n, 1 - wording.level) if pairs.n else (0.0, 1.0)
    on_failures = 0 if is_placebo else -_direction(failure, wording.alpha)
    on_metric = 0 if is_placebo else _direction(metric, wording.alpha) * (1 if wording.higher_is_better else -1)
    arm_lost, baseline_lost = pairs.only_missing()
    differences = pairs.differences()
    # What the t-test can see of fewer pairs that differ, exact sign flips cannot.
    if sum(difference != 0 for difference in differences) < wording.smallest_n:
        differences = []
    needed = seeds_needed(differences, wording.final_level / wording.tests)
    within = _within(metric, wording.margin)
    withheld = (on_metric > 0 and arm_lost > baseline_lost) or (on_metric < 0 and baseline_lost > arm_lost)
    # Inside the margin a metric difference does not matter, so only the failures may speak.
    speaks = 0 if withheld or within else on_metric
    verdict: Verdict = "undecided"
    if not wording.reached:
        verdict = "undecided"
    elif pairs.identical():
        verdict = "identical"
    elif pairs.n and not pairs.seeds_do_nothing():
        # Failures that differ by one pair at most say little of few pairs, and no analysis takes a verdict back.
        equal = wording.last and within and _balanced(failure)
        verdict = "no difference" if equal else _verdict(on_failures + speaks)
    row = ArmVerdict(
        arm=name,
        n=pairs.n,
        failures=failures,
        failure_low=low,
        failure_high=high,
        median=_median(pairs.arm),
        failure=failure,
        metric=metric,
        survivors=metric_effect(pairs, wording.level, survivors=True),
        verdict=verdict,
        sentence="",
        dead_fraction=_mean_dead(pairs.arm),
        detectable=detectable(differences, wording.level / wording.tests),
        # Counted in seeds: a pair without a value is a seed, too.
        seeds_needed=None
        if needed is None
        else math.ceil(max(needed, wording.smallest_n) * pairs.n / len(differences)),
        stopped_at=None if verdict == "undecided" or wording.last else wording.analysis,
    )
    sentence = wording.sentence(
        row,
        pairs.baseline,
        deciding=(failure if on_failures else None, metric if speaks else None),
        is_placebo=is_placebo,
        opposed=on_failures * on_metric < 0,
        withheld=withheld,
        copies=pairs.seeds_do_nothing(),
    )
    return replace(row, sentence=sentence)


def _direction(effect: Effect | None, alpha: float) -> int:
    """The sign of a difference that survives the correction, 0 for one that does not."""
    if effect is None or effect.p_adjusted > alpha:
        return 0
    return (effect.difference > 0) - (effect.difference < 0)


def _within(metric: Effect | None, margin: float | None) -> bool:
    if margin is None or metric is None or metric.low is None or metric.high is None:
        return False
    return -margin < metric.low and metric.high < margin


def _balanced(failure: Effect | None) -> bool:
    return failure is not None and abs(round(failure.difference * failure.n)) <= 1


def _verdict(total: int) -> Verdict:
    """Of what the endpoints say together: those that point in opposite directions add up to nothing."""
    return "helped" if total > 0 else "hurt" if total < 0 else "undecided"
