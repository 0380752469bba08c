"""Trials in, verdicts out: what may be said about each arm of a paired comparison.

Two endpoints are never mixed. *Failures* (collapsed, diverged, crashed, constant output) are counted and
tested with McNemar's exact test. The *metric* is the mean paired difference over all pairs in which both
trials gave a value, tested by exact sign flips. Holm's correction runs over all arms × both endpoints; the
placebo is outside of it.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rectifier.records import ArmVerdict, Comparison, Effect, Trial
from rectifier.records.comparison import Verdict
from rectifier.study.exact import (
    clopper_pearson,
    holm,
    mcnemar,
    paired_rate_interval,
    sign_flip,
    smallest_pairs,
)
from rectifier.study.power import detectable, seeds_needed
from rectifier.study.wording import Wording

ENDPOINTS = 2


@dataclass(frozen=True, slots=True)
class _Pairs:
    """One arm beside the baseline, seed by seed; only seeds that both have finished."""

    arm: tuple[Trial, ...]
    baseline: tuple[Trial, ...]

    @property
    def n(self) -> int:
        return len(self.arm)

    def only_failed(self) -> tuple[int, int]:
        """Pairs in which only the arm failed, and in which only the baseline did."""
        both = list(zip(self.arm, self.baseline, strict=True))
        return (
            sum(a.failed is not None and b.failed is None for a, b in both),
            sum(a.failed is None and b.failed is not None for a, b in both),
        )

    def only_missing(self) -> tuple[int, int]:
        """Pairs in which only the arm gave no value, and in which only the baseline did not."""
        both = list(zip(self.arm, self.baseline, strict=True))
        return (
            sum(a.metric is None and b.metric is not None for a, b in both),
            sum(a.metric is not None and b.metric is None for a, b in both),
        )

    def differences(self, *, survivors: bool = False) -> list[float]:
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


def _outcome(trial: Trial) -> tuple[str | None, float | None, str | None]:
    return trial.fingerprint, trial.metric, trial.failed


def compare_trials(
    trials: Sequence[Trial],
    *,
    baseline: str,
    placebo: str | None,
    arms: Sequence[str],
    metric: str,
    higher_is_better: bool,
    title: str,
    margin: float | None = None,
    alpha: float = 0.05,
    notes: Sequence[str] = (),
    seconds: float = 0.0,
    settings: dict[str, str] | None = None,
    seeds_hint: str | None = None,
) -> Comparison:
    """Weigh every arm against the baseline, seed by seed.

    The verdict of an arm is, in this order:

    - *identical*: every pair is equal to the bit.
    - *undecided* when all seeds gave the same numbers (one observation, however many copies).
    - *helped* or *hurt*: an endpoint differs after the correction. When the two endpoints point in opposite
      directions the arm is *undecided*, and the sentence says which way each points: only the reader can
      weigh a run that fails against a better metric. The metric may speak for an arm only if that arm lost no
      more values to failed runs than the baseline did (and against it only the other way round), because a
      mean over the runs that ended says nothing about those that did not.
    - *no difference*: only with a `margin`, when the metric's interval lies inside ±margin and the failures
      differ by one pair at most. A metric difference that is real but inside the margin also ends here.
    - *undecided*: everything else; always so when no corrected exact test could reject with so few pairs.

    The placebo gets the last two only: it differs from the baseline in nothing, so no test may speak for it.

    Args:
        trials: In any order; a metric that is not finite counts as missing and its trial as failed.
        baseline: The arm that the others are compared with; it gets the first row.
        placebo: The arm that differs from it in its random draws only, or None; it gets the last row.
        arms: The arms to judge, in the order of the report; the baseline and the placebo may be among them.
        metric: Its name, for the sentences.
        higher_is_better: Its direction.
        title: Of the report.
        margin: Smallest metric difference that matters, in the metric's own unit.
        alpha: Chance of any false "helped" or "hurt" in the whole comparison.
        notes: What the reader must know; a warning about seeds that change nothing is added here.
        seconds: What the whole study took.
        settings: What was run, by name, for the report.
        seeds_hint: What to do when different seeds give identical results; None for the advice to a script.

    Raises:
        ValueError: Two trials share an arm and a seed, or the baseline has no trial.

    Example:
        >>> trials = [Trial(arm="as is", seed=s, metric=0.5) for s in range(12)]
        >>> trials += [Trial(arm="elu:1.0", seed=s, metric=0.6 + s / 100) for s in range(12)]
        >>> study = compare_trials(
        ...     trials, baseline="as is", placebo=None, arms=["elu:1.0"], metric="accuracy",
        ...     higher_is_better=True, title="example",
        ... )
        >>> study.arms[1].verdict, study.smallest_n
        ('helped', 7)
    """
    finished = _by_arm_and_seed(trials)
    reference = finished.get(baseline, {})
    if not reference:
        raise ValueError(f"no trial of the baseline {baseline!r} among the arms {sorted(finished)}")
    names = [name for name in dict.fromkeys(arms) if name not in (baseline, placebo)]
    pairs = {name: _pairs(finished.get(name, {}), reference) for name in names}
    if placebo is not None:
        pairs[placebo] = _pairs(finished.get(placebo, {}), reference)

    effects = {name: (_failure_effect(found, alpha), _metric_effect(found, alpha)) for name, found in pairs.items()}
    family = [effect for name in names for effect in effects[name]]
    # An endpoint that could not be measured stays in the family: its size is fixed before the data is seen.
    adjusted = iter(holm([effect.p if effect is not None else 1.0 for effect in family]))
    for name in names:
        effects[name] = tuple(  # type: ignore[assignment]
            replace(effect, p_adjusted=value) if effect is not None else None
            for effect, value in zip(effects[name], [next(adjusted), next(adjusted)], strict=True)
        )

    smallest_n = smallest_pairs(ENDPOINTS * max(len(names), 1), alpha)
    wording = Wording(
        baseline=baseline,
        metric=metric,
        higher_is_better=higher_is_better,
        margin=margin,
        alpha=alpha,
        smallest_n=smallest_n,
        tests=ENDPOINTS * max(len(names), 1),
    )
    verdicts = [_baseline_row(baseline, tuple(reference.values()), alpha, wording)]
    for name, found in pairs.items():
        verdicts.append(
            _judge(
                name,
                found,
                *effects[name],
                is_placebo=name == placebo,
                higher_is_better=higher_is_better,
                margin=margin,
                alpha=alpha,
                wording=wording,
            )
        )
    copies = [name for name, found in pairs.items() if found.seeds_do_nothing()]
    return Comparison(
        title=title,
        metric=metric,
        higher_is_better=higher_is_better,
        baseline=baseline,
        placebo=placebo,
        seeds=tuple(sorted({trial.seed for trial in trials})),
        arms=tuple(verdicts),
        trials=tuple(trials),
        smallest_n=smallest_n,
        alpha=alpha,
        headline=wording.headline(verdicts[1:], placebo),
        margin=margin,
        notes=(*notes, *([wording.seeds_note(copies, seeds_hint)] if copies else [])),
        seconds=seconds,
        settings=settings or {},
    )


def _by_arm_and_seed(trials: Sequence[Trial]) -> dict[str, dict[int, Trial]]:
    found: dict[str, dict[int, Trial]] = {}
    for trial in sorted(trials, key=lambda t: t.seed):
        arm = found.setdefault(trial.arm, {})
        if trial.seed in arm:
            raise ValueError(f"two trials of arm {trial.arm!r} with seed {trial.seed}")
        arm[trial.seed] = _without_infinities(trial)
    return found


def _without_infinities(trial: Trial) -> Trial:
    if trial.metric is None or math.isfinite(trial.metric):
        return trial
    return replace(trial, metric=None, failed=trial.failed or f"the metric is {trial.metric}")


def _pairs(arm: dict[int, Trial], baseline: dict[int, Trial]) -> _Pairs:
    seeds = [seed for seed in arm if seed in baseline]
    return _Pairs(tuple(arm[seed] for seed in seeds), tuple(baseline[seed] for seed in seeds))


def _failure_effect(pairs: _Pairs, alpha: float) -> Effect | None:
    if not pairs.n:
        return None
    arm_only, baseline_only = pairs.only_failed()
    low, high = paired_rate_interval(arm_only, baseline_only, pairs.n, 1 - alpha)
    p = mcnemar(arm_only, baseline_only)
    return Effect(difference=(arm_only - baseline_only) / pairs.n, low=low, high=high, p=p, p_adjusted=p, n=pairs.n)


def _metric_effect(pairs: _Pairs, alpha: float, *, survivors: bool = False) -> Effect | None:
    differences = pairs.differences(survivors=survivors)
    if not differences:
        return None
    test = sign_flip(differences, 1 - alpha)
    # fsum: the mean must not depend on the order of the seeds.
    mean = math.fsum(differences) / len(differences)
    return Effect(difference=mean, low=test.low, high=test.high, p=test.p, p_adjusted=test.p, n=len(differences))


def _median(trials: Sequence[Trial]) -> float | None:
    values = [trial.metric for trial in trials if trial.metric is not None]
    return statistics.median(values) if values else None


def _mean_dead(trials: Sequence[Trial]) -> float | None:
    values = [trial.dead_fraction for trial in trials if trial.dead_fraction is not None]
    return math.fsum(values) / len(values) if values else None


def _baseline_row(name: str, trials: Sequence[Trial], alpha: float, wording: Wording) -> ArmVerdict:
    failures = sum(trial.failed is not None for trial in trials)
    low, high = clopper_pearson(failures, len(trials), 1 - alpha)
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


def _judge(
    name: str,
    pairs: _Pairs,
    failure: Effect | None,
    metric: Effect | None,
    *,
    is_placebo: bool,
    higher_is_better: bool,
    margin: float | None,
    alpha: float,
    wording: Wording,
) -> ArmVerdict:
    failures = sum(trial.failed is not None for trial in pairs.arm)
    low, high = clopper_pearson(failures, pairs.n, 1 - alpha) if pairs.n else (0.0, 1.0)
    on_failures = 0 if is_placebo else -_direction(failure, alpha)
    on_metric = 0 if is_placebo else _direction(metric, alpha) * (1 if higher_is_better else -1)
    arm_lost, baseline_lost = pairs.only_missing()
    differences, level = pairs.differences(), alpha / wording.tests
    # What the t-test can see of fewer pairs that differ, exact sign flips cannot.
    if sum(difference != 0 for difference in differences) < wording.smallest_n:
        differences = []
    needed = seeds_needed(differences, level)
    silenced = (on_metric > 0 and arm_lost > baseline_lost) or (on_metric < 0 and baseline_lost > arm_lost)
    verdict: Verdict = "undecided"
    if pairs.identical():
        verdict = "identical"
    elif pairs.n and not pairs.seeds_do_nothing():
        verdict = _verdict(on_failures, 0 if silenced else on_metric, failure, metric, margin)
    row = ArmVerdict(
        arm=name,
        n=pairs.n,
        failures=failures,
        failure_low=low,
        failure_high=high,
        median=_median(pairs.arm),
        failure=failure,
        metric=metric,
        survivors=_metric_effect(pairs, alpha, survivors=True),
        verdict=verdict,
        sentence="",
        dead_fraction=_mean_dead(pairs.arm),
        detectable=detectable(differences, level),
        # Counted in seeds: a pair without a value is a seed, too.
        seeds_needed=None
        if needed is None
        else math.ceil(max(needed, wording.smallest_n) * pairs.n / len(differences)),
    )
    sentence = wording.sentence(
        row,
        pairs.baseline,
        is_placebo=is_placebo,
        opposed=on_failures * on_metric < 0,
        silenced=silenced,
        copies=pairs.seeds_do_nothing(),
    )
    return replace(row, sentence=sentence)


def _direction(effect: Effect | None, alpha: float) -> int:
    """The sign of a difference that survives the correction, 0 for one that does not."""
    if effect is None or effect.p_adjusted > alpha:
        return 0
    return (effect.difference > 0) - (effect.difference < 0)


def _verdict(
    on_failures: int, on_metric: int, failure: Effect | None, metric: Effect | None, margin: float | None
) -> Verdict:
    within = (
        margin is not None
        and metric is not None
        and metric.low is not None
        and metric.high is not None
        and -margin < metric.low
        and metric.high < margin
    )
    balanced = failure is not None and abs(round(failure.difference * failure.n)) <= 1
    if within and balanced:
        return "no difference"
    # Inside the margin a metric difference does not matter, so only the failures may speak.
    total = on_failures + (0 if within else on_metric)
    if on_failures * on_metric < 0 and not within:
        return "undecided"
    return "helped" if total > 0 else "hurt" if total < 0 else "undecided"
