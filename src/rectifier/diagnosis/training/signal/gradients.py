"""Findings about gradients: vanishing, exploding, shrinking; judged by δ = ∂L/∂z, never by weight gradients.

Weight-gradient norms are flat over depth in a network without biases even while the signal vanishes.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.chains import chains
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.signal.start import poor_per_layer, poor_way, way_at_start
from rectifier.records import (
    BoolArray,
    Cause,
    CauseKind,
    Finding,
    FloatArray,
    GradientWay,
    InfiniteGradient,
    Rule,
    Severity,
    Signal,
    WayAtStart,
    rank,
)


@dataclass(frozen=True)
class _Way:
    """The gradient's way down from the last site of a chain to its first.

    Attributes:
        sites: Those that a gradient reached: each feeds the next.
        ratio: ‖δ‖ of the first over the last at each step on which both are known and the last is not 0.
        recent: The later half of it: a state that training has left behind is history.
    """

    sites: tuple[SiteHistory, ...]
    ratio: FloatArray

    @property
    def recent(self) -> FloatArray:
        return _recent(self.ratio)

    @property
    def median(self) -> float:
        return float(np.median(self.recent))

    @property
    def early(self) -> float:
        return float(np.median(self.ratio[: limit.LEAST_OBSERVATIONS]))

    @property
    def factor(self) -> float:
        """Per layer: the (L − 1)-th root for the L layers of the chain."""
        return float(self.median ** (1.0 / (len(self.sites) - 1)))

    def place(self) -> tuple[SiteHistory, SiteHistory, float] | None:
        """The neighbours between which most of it is lost, or comes about, and by which factor; None without such."""
        if len(self.sites) < 3 or not 0 < self.median < np.inf:
            return None
        steps = [
            (lower, upper, float(np.median(_recent(ratio))))
            for lower, upper in itertools.pairwise(self.sites)
            if len(ratio := _ratio(lower, upper))
        ]
        steps = [step for step in steps if 0 < step[2] < np.inf]
        sign = np.sign(np.log(self.median))
        if not steps or not sign:
            return None
        lower, upper, factor = max(steps, key=lambda step: sign * np.log(step[2]))
        if sign * np.log(factor) < limit.MOST_OF_THE_WAY * sign * np.log(self.median):
            return None
        return lower, upper, factor

    def evidence(self, first_layer_update: float | None = None) -> GradientWay:
        """As findings have it."""
        place = self.place()
        return GradientWay(
            delta_first_over_last=self.median,
            delta_first_over_last_at_start=self.early,
            factor_per_layer=self.factor,
            observed_steps=len(self.ratio),
            sites=len(self.sites),
            first=self.sites[0].ref,
            last=self.sites[-1].ref,
            first_layer_update=first_layer_update,
            activation=self.sites[0].site.activation,
            place_below=None if place is None else place[0].ref,
            place_above=None if place is None else place[1].ref,
            factor_there=None if place is None else place[2],
        )


def judge_gradients(histories: Sequence[SiteHistory], progress: Progress) -> list[Finding]:
    """What is to be said of the gradient's way along the chains of one model.

    Of several chains the one with the worst finding is told, and of those the one that changes the gradient most. The
    rule on one step's gradient against those before it, clipping included, is `judge_spikes`.

    Args:
        histories: Of one model, in the order of their first call.
        progress: Of its training.
    """
    found = _infinite(histories)
    told = []
    for chain in chains([history for history in histories if np.isfinite(history.delta()).any()]):
        way = _way(chain, histories)
        if way is not None and (finding := _judge_way(way, progress)) is not None:
            told.append((rank(finding.severity), abs(np.log(max(way.median, np.finfo(float).tiny))), finding))
    if told:
        found.append(max(told, key=lambda one: one[:2])[2])
    return found


def _way(chain: tuple[SiteHistory, ...], histories: Sequence[SiteHistory]) -> _Way | None:
    ratio = _ratio(chain[0], chain[-1])
    if any(history.blocked_since is not None for history in histories):
        # A silent layer lets nothing through: an exact 0 is its doing, and the finding about its units says so.
        if len(ratio) and ratio[-1] == 0:
            return None
        ratio = ratio[ratio > 0]
    return _Way(chain, ratio) if len(ratio) >= limit.LEAST_OBSERVATIONS else None


def _judge_way(way: _Way, progress: Progress) -> Finding | None:
    if way.median < limit.VANISHED_RATIO and _often(way.ratio < limit.VANISHED_RATIO):
        update = _frozen_update(way.sites[0])
        # The small gradient matters where the first layer or the loss does not move.
        if update is not None or progress.state == "none":
            return _vanishing(way, update, way_at_start(way.sites), progress)
    if way.median > limit.EXPLODED_RATIO and _often(way.ratio > limit.EXPLODED_RATIO):
        return _exploding(way, progress)
    if way.factor < limit.SHRINKING_FACTOR and len(way.sites) > 2:
        return _shrinking(way, progress)
    return None


def _recent(ratio: FloatArray) -> FloatArray:
    return ratio[-max(limit.LEAST_OBSERVATIONS, len(ratio) // 2) :]


def _often(mask: BoolArray) -> bool:
    return int(mask.sum()) >= limit.LEAST_OBSERVATIONS


def _ratio(first: SiteHistory, last: SiteHistory) -> FloatArray:
    _, one, other = np.intersect1d(first.steps(), last.steps(), return_indices=True)
    numerator, denominator = first.delta()[one], last.delta()[other]
    usable = np.isfinite(numerator) & np.isfinite(denominator) & (denominator > 0)
    with np.errstate(over="ignore"):
        ratio: FloatArray = numerator[usable] / denominator[usable]
    return ratio


def _frozen_update(first: SiteHistory) -> float | None:
    """‖Δw‖/‖w‖ of the first layer a step (median), where it is so small that the layer does not learn."""
    updates = first.update()
    updates = updates[np.isfinite(updates)]
    update = float(np.median(updates)) if len(updates) else None
    return update if update is not None and update < limit.FROZEN_UPDATE else None


def _began(*, from_the_start: bool) -> Cause:
    return Cause(kind=CauseKind.INITIAL_WEIGHTS if from_the_start else CauseKind.UNKNOWN)


def _vanishing(way: _Way, update: float | None, began: tuple[float, float] | None, progress: Progress) -> Finding:
    # In orders of magnitude: most of what is lost now was lost at the first steps.
    cause = _began(from_the_start=way.early < max(limit.VANISHED_RATIO, way.median**limit.MOST_OF_THE_WAY))
    poor = None if began is None else poor_way(*began) or poor_per_layer(*began, len(way.sites))
    if cause.kind is CauseKind.UNKNOWN and began is not None and poor is Signal.VANISHES:
        cause = Cause(
            kind=CauseKind.INITIAL_WEIGHTS, facts=WayAtStart(sensitivity=began[0], gradient_at_start=began[1])
        )
    return Finding(
        rule=Rule.VANISHING_GRADIENT,
        severity="serious",
        site=way.sites[0].ref,
        cause=cause,
        consequence=progress.consequence,
        loss=progress.loss,
        remedies=remedies.where_known(cause, remedies.VANISHING),
        evidence=way.evidence(update),
    )


def _exploding(way: _Way, progress: Progress) -> Finding:
    """A ratio alone is no harm: behind a gate that stays open the last activation gets almost no gradient."""
    by_progress: dict[str, Severity] = {"none": "serious", "some": "info", "unknown": "warning"}
    cause = _began(from_the_start=way.early > limit.EXPLODED_RATIO)
    return Finding(
        rule=Rule.EXPLODING_GRADIENT,
        severity="info" if 0 < progress.steps < limit.STALLED_STEPS else by_progress[progress.state],
        site=way.sites[0].ref,
        cause=cause,
        consequence=progress.consequence,
        loss=progress.loss,
        remedies=remedies.where_known(cause, remedies.EXPLODING),
        evidence=way.evidence(),
    )


def _shrinking(way: _Way, progress: Progress) -> Finding:
    return Finding(
        rule=Rule.SHRINKING_GRADIENT,
        severity="info",
        site=way.sites[0].ref,
        consequence=progress.consequence,
        loss=progress.loss,
        evidence=way.evidence(),
    )


def _infinite(histories: Sequence[SiteHistory]) -> list[Finding]:
    """Gradients that overflowed while every output was finite."""
    steps = [history.steps()[np.isinf(history.delta())] for history in histories]
    if not any(len(at) for at in steps):
        return []
    all_steps = np.unique(np.concatenate(steps))
    first = int(all_steps[0])
    # Backward runs from the end: the last site that has it at that step had it first.
    origin = [history for history, at in zip(histories, steps, strict=True) if first in at][-1]
    observed = np.unique(np.concatenate([history.steps() for history in histories]))
    longest = _longest_run(np.isin(observed, all_steps))
    return [
        Finding(
            rule=Rule.EXPLODING_GRADIENT,
            severity="info" if longest <= limit.SCALER_SKIPS else "serious",
            site=origin.ref,
            cause=_began(from_the_start=_exploded_before(first, histories)),
            since=first,
            evidence=InfiniteGradient(
                step=first, steps=len(all_steps), observed_steps=len(observed), longest_run=longest
            ),
        )
    ]


def _exploded_before(step: int, histories: Sequence[SiteHistory]) -> bool:
    """Whether the gradient grew beyond measure on its way down at the very first step, up to this one."""
    for chain in chains([history for history in histories if np.isfinite(history.delta()).any()]):
        both = [(history.steps()[0], history.delta()[0]) for history in (chain[0], chain[-1])]
        if any(at > 0 or np.isnan(delta) for at, delta in both) or step > chain[0].steps()[:2][-1]:
            continue
        if both[0][1] > limit.EXPLODED_RATIO * both[1][1] > 0:
            return True
    return False


def _longest_run(mask: BoolArray) -> int:
    longest = run = 0
    for hit in mask:
        run = run + 1 if hit else 0
        longest = max(longest, run)
    return longest
