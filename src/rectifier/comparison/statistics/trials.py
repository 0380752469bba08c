"""Trials in, verdicts out: what may be said about each arm of a paired comparison.

Two endpoints are never mixed. *Failures* (collapsed, diverged, crashed, constant output) are counted and
tested with McNemar's exact test. The *metric* is the mean paired difference over all pairs in which both
trials gave a value, tested by exact sign flips. Holm's correction runs over all arms × both endpoints; the
placebo is outside of it.

With several analyses, each tests at its share of the error rate (`interim`), so a p-value counts divided by that share,
and the least of those so far is a p-value at whatever analysis one stops. Holm's correction takes these: what it has
rejected at one analysis it would reject at every later one, so an arm may stop (Maurer & Bretz 2013, Statistics in
Biopharmaceutical Research 5, 311–320).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rectifier.comparison.statistics.exact import holm, smallest_pairs
from rectifier.comparison.statistics.interim import ENDPOINTS, shares, smallest_analysis
from rectifier.comparison.statistics.pairs import Pairs, by_arm_and_seed, failure_effect, metric_effect, paired
from rectifier.comparison.statistics.verdict import baseline_row, judge
from rectifier.comparison.statistics.wording import Wording
from rectifier.records import ArmVerdict, Comparison, Effect, Trial

_Effects = tuple[Effect | None, Effect | None]
"""Of one arm: on failures, on the metric."""


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
    interim: Sequence[int] | None = None,
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
    - *no difference*: only with a `margin` and at the last analysis, when the metric's interval lies inside ±margin and
      the failures differ by one pair at most. A metric difference that is real but inside the margin also ends here.
    - *undecided*: everything else; always so when no corrected exact test could reject with so few pairs.

    The placebo gets the last two only: it differs from the baseline in nothing, so no test may speak for it.

    With `interim` an arm is judged when all trainings of an analysis have ended, and at the first analysis that gives
    it a verdict for good: what it has beyond is left out. Between analyses every other arm is undecided.

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
        seconds: What the whole comparison took.
        settings: What was run, by name, for the report.
        seeds_hint: What to do when different seeds give identical results; None for the advice to a script.
        interim: Numbers of seeds, rising, at which verdicts may be given; seeds then count from 0. None for one
            analysis at whatever has ended.

    Raises:
        ValueError: Two trials share an arm and a seed, or the baseline has no trial.

    Example:
        >>> trials = [Trial(arm="baseline", seed=s, metric=0.5) for s in range(12)]
        >>> trials += [Trial(arm="elu:1.0", seed=s, metric=0.6 + s / 100) for s in range(12)]
        >>> comparison = compare_trials(
        ...     trials, baseline="baseline", placebo=None, arms=["elu:1.0"], metric="accuracy",
        ...     higher_is_better=True, title="example",
        ... )
        >>> comparison.arms[1].verdict, comparison.smallest_n
        ('helped', 7)
    """
    finished = by_arm_and_seed(trials)
    reference = finished.get(baseline, {})
    if not reference:
        raise ValueError(f"no trial of the baseline {baseline!r} among the arms {sorted(finished)}")
    names = [name for name in dict.fromkeys(arms) if name not in (baseline, placebo)]
    tests = ENDPOINTS * max(len(names), 1)
    wording = Wording(
        baseline=baseline,
        metric=metric,
        higher_is_better=higher_is_better,
        margin=margin,
        alpha=alpha,
        level=alpha,
        final_level=alpha * (1.0 if interim is None else shares(interim)[-1]),
        tests=tests,
        interim=tuple(interim or ()),
        smallest_n=smallest_pairs(tests, alpha),
    )
    course = _follow(finished, reference, names, placebo, wording)
    below = course.below
    if wording.interim[1:]:
        first = smallest_analysis(wording.interim[-1], tests, alpha=alpha)
        wording = replace(wording, smallest_n=max(wording.interim[0], first))
    ordered = [course.rows[name] for name in (*names, *([] if placebo is None else [placebo]))]
    copies = [name for name, pairs in course.pairs.items() if pairs.seeds_do_nothing()]
    judged = tuple(trial for trial in trials if trial.seed < below.get(trial.arm, math.inf))
    return Comparison(
        title=title,
        metric=metric,
        higher_is_better=higher_is_better,
        baseline=baseline,
        placebo=placebo,
        seeds=tuple(sorted({trial.seed for trial in judged})),
        arms=(course.rows[baseline], *ordered),
        trials=judged,
        smallest_n=wording.smallest_n,
        alpha=alpha,
        headline=wording.headline(ordered, placebo),
        margin=margin,
        notes=(*notes, *([wording.seeds_note(copies, seeds_hint)] if copies else [])),
        seconds=seconds,
        settings=settings or {},
        interim=wording.interim,
    )


@dataclass(slots=True)
class _Course:
    """What has been judged so far, by arm: its row, the pairs and effects that this rests on, and below which seed."""

    rows: dict[str, ArmVerdict] = field(default_factory=dict)
    pairs: dict[str, Pairs] = field(default_factory=dict)
    effects: dict[str, _Effects] = field(default_factory=dict)
    below: dict[str, float] = field(default_factory=dict)


def _follow(
    finished: Mapping[str, dict[int, Trial]],
    reference: dict[int, Trial],
    names: Sequence[str],
    placebo: str | None,
    wording: Wording,
) -> _Course:
    """Go from analysis to analysis, until every arm has a verdict or trainings are missing."""
    course, undecided = _Course(), list(names)
    interim: Sequence[float] = wording.interim or (math.inf,)
    for seeds, part in zip(interim, shares(interim) if wording.interim else (1.0,), strict=True):
        watched = [*undecided, *([] if placebo is None else [placebo])]
        found = {name: paired(finished.get(name, {}), reference, seeds) for name in watched}
        level = wording.alpha * part
        analysis = replace(
            wording,
            analysis=int(seeds) if wording.interim else None,
            reached=not wording.interim or all(pairs.n == seeds for pairs in found.values()),
            level=level,
            smallest_n=smallest_pairs(wording.tests, level),
        )
        course.pairs |= found
        for name, pairs in found.items():
            now, before = _effects(pairs, level), course.effects.get(name, (None, None))
            course.effects[name] = _over_analyses(now[0], before[0], part), _over_analyses(now[1], before[1], part)
        adjusted = course.effects | _corrected({name: course.effects[name] for name in names})
        for name, pairs in found.items():
            course.rows[name] = judge(name, pairs, *adjusted[name], is_placebo=name == placebo, wording=analysis)
        own = paired(reference, reference, seeds).arm
        course.rows[wording.baseline] = baseline_row(wording.baseline, own, analysis)
        course.below |= dict.fromkeys((wording.baseline, *watched), seeds)
        undecided = [name for name in undecided if course.rows[name].verdict == "undecided"]
        if not analysis.reached or (names and not undecided):
            break
    return course


def _effects(pairs: Pairs, level: float) -> _Effects:
    return failure_effect(pairs, level), metric_effect(pairs, level)


def _over_analyses(effect: Effect | None, earlier: Effect | None, part: float) -> Effect | None:
    """An effect with its p-value over all analyses so far; one that pointed the other way does not speak for it."""
    if effect is None:
        return None
    p = min(1.0, effect.p / part)
    if earlier is not None and earlier.difference * effect.difference > 0:
        p = min(p, earlier.p)
    return replace(effect, p=p, p_adjusted=p)


def _corrected(effects: Mapping[str, _Effects]) -> dict[str, _Effects]:
    # An endpoint that could not be measured stays in the family: its size is fixed before the data is seen.
    family = [1.0 if effect is None else effect.p for both in effects.values() for effect in both]
    adjusted = iter(holm(family))
    found = {}
    for name, both in effects.items():
        values = [(effect, next(adjusted)) for effect in both]
        failure, value = (None if effect is None else replace(effect, p_adjusted=p) for effect, p in values)
        found[name] = failure, value
    return found
