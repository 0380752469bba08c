"""Findings about gradients: vanishing, exploding, shrinking; judged by δ = ∂L/∂z, never by weight gradients.

Weight-gradient norms are flat over depth in a network without biases even while the signal vanishes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rectifier.diagnosis import advice
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.history import BoolArray, SiteHistory
from rectifier.diagnosis.progress import Progress
from rectifier.diagnosis.start import poor_way, way_at_start
from rectifier.records import Finding, FloatArray, Severity


@dataclass(frozen=True)
class _Way:
    """The gradient's way down from the last site to the first.

    Attributes:
        sites: Those that a gradient reached, in the order of their first call.
        ratio: ‖δ‖ of the first over the last at each step on which both are known and the last is not 0.
        recent: The later half of it: a state that training has left behind is history.
    """

    sites: tuple[SiteHistory, ...]
    ratio: FloatArray

    @property
    def recent(self) -> FloatArray:
        return self.ratio[-max(limit.LEAST_OBSERVATIONS, len(self.ratio) // 2) :]

    @property
    def median(self) -> float:
        return float(np.median(self.recent))

    @property
    def early(self) -> float:
        return float(np.median(self.ratio[: limit.LEAST_OBSERVATIONS]))

    @property
    def factor(self) -> float:
        """Per layer: the (L − 1)-th root. L counts the sites in their order, also where branches make some parallel."""
        return float(self.median ** (1.0 / (len(self.sites) - 1)))

    @property
    def words(self) -> str:
        return f"from {self.sites[-1].site.label} down to {self.sites[0].site.label}"

    @property
    def evidence(self) -> dict[str, float | int | str | None]:
        return {
            "delta_first_over_last": self.median,
            "delta_first_over_last_at_start": self.early,
            "factor_per_layer": self.factor,
            "observed_steps": len(self.ratio),
            "sites": len(self.sites),
        }


def judge_gradients(histories: Sequence[SiteHistory], progress: Progress) -> list[Finding]:
    """What is to be said of the gradient's way from the last site of one model to its first.

    The rule on one step's gradient against those before it, clipping included, is `judge_spikes`.

    Args:
        histories: Of one model, in the order of their first call.
        progress: Of its training.
    """
    found = _infinite(histories)
    sites = tuple(history for history in histories if np.isfinite(history.delta()).any())
    if len(sites) < 2:
        return found
    ratio = _ratio(sites[0], sites[-1])
    if any(history.blocked_since is not None for history in histories):
        # A silent layer lets nothing through: an exact 0 is its doing, and the finding about its units says so.
        if len(ratio) and ratio[-1] == 0:
            return found
        ratio = ratio[ratio > 0]
    if len(ratio) < limit.LEAST_OBSERVATIONS:
        return found
    way = _Way(sites, ratio)
    if way.median < limit.VANISHED_RATIO and _often(ratio < limit.VANISHED_RATIO):
        still = _learns_nothing(sites[0], progress)
        if still is not None:
            return [*found, _vanishing(way, still, way_at_start(histories))]
    if way.median > limit.EXPLODED_RATIO and _often(ratio > limit.EXPLODED_RATIO):
        return [*found, _exploding(way, progress)]
    if way.factor < limit.SHRINKING_FACTOR and len(sites) > 2:
        return [*found, _shrinking(way, progress)]
    return found


def _often(mask: BoolArray) -> bool:
    return int(mask.sum()) >= limit.LEAST_OBSERVATIONS


def _ratio(first: SiteHistory, last: SiteHistory) -> FloatArray:
    _, one, other = np.intersect1d(first.steps(), last.steps(), return_indices=True)
    numerator, denominator = first.delta()[one], last.delta()[other]
    usable = np.isfinite(numerator) & np.isfinite(denominator) & (denominator > 0)
    with np.errstate(over="ignore"):
        ratio: FloatArray = numerator[usable] / denominator[usable]
    return ratio


def _learns_nothing(first: SiteHistory, progress: Progress) -> str | None:
    """Evidence, in words, that the small gradient matters: the first layer or the loss does not move."""
    updates = first.update()
    updates = updates[np.isfinite(updates)]
    update = float(np.median(updates)) if len(updates) else None
    if update is not None and update < limit.FROZEN_UPDATE:
        return f"the first layer's weights move by {update:.1g} of their norm a step (median)"
    if progress.state == "none":
        return progress.words
    return None


def _per_layer(way: _Way) -> str:
    return f"{way.factor:.2g} times its size per layer ({len(way.sites)} activations, {len(way.ratio)} observed steps)"


def _cause(way: _Way, *, from_the_start: bool) -> tuple[str, str]:
    if from_the_start:
        return "initialisation", f"initialisation and depth: at the first observed steps it was {way.early:.2g} already"
    return "unknown", f"cause unknown: at the first observed steps it was {way.early:.2g}, so it came with training"


def _vanishing(way: _Way, still: str, began: tuple[float, float] | None) -> Finding:
    # In orders of magnitude: most of what is lost now was lost at the first steps.
    kind, cause = _cause(way, from_the_start=way.early < max(limit.VANISHED_RATIO, way.median**limit.MOST_OF_THE_WAY))
    if kind == "unknown" and began is not None and poor_way(*began) == "small":
        kind = "initialisation"
        cause = (
            f"initialisation and depth: at the first counted step {began[0]:.1e} times the differences between samples "
            f"came through, and {began[1]:.1e} of the gradient"
        )
    return Finding(
        name="vanishing-gradient",
        severity="serious",
        title=f"the gradient vanishes: {way.median:.1e} of it is left {way.words}",
        detail=f"‖∂L/∂z‖ per sample changes to {_per_layer(way)}; and {still}.",
        site=way.sites[0].site.label,
        cause=f"{cause} (torch.nn.Linear's default initialisation gives 0.41 per ReLU layer)",
        advice=advice.VANISHING,
        evidence={**way.evidence, "cause": kind},
    )


def _exploding(way: _Way, progress: Progress) -> Finding:
    """A ratio alone is no harm: behind a gate that stays open the last activation gets almost no gradient."""
    kind, cause = _cause(way, from_the_start=way.early > limit.EXPLODED_RATIO)
    severity: Severity = {"none": "serious", "some": "info", "unknown": "warning"}[progress.state]  # type: ignore[assignment]
    if 0 < progress.steps < limit.STALLED_STEPS:
        severity = "info"
    return Finding(
        name="exploding-gradient",
        severity=severity,
        title=f"the gradient explodes: it grows {way.median:,.3g} times {way.words}",
        detail=f"‖∂L/∂z‖ per sample changes to {_per_layer(way)}. {_so_far(progress)}",
        site=way.sites[0].site.label,
        cause=cause,
        advice=advice.EXPLODING,
        evidence={**way.evidence, "cause": kind},
    )


def _so_far(progress: Progress) -> str:
    return {
        "some": f"Training progresses all the same: {progress.words}.",
        "none": f"Training does not progress: {progress.words}.",
        "unknown": "Whether training progresses could not be told.",
    }[progress.state]


def _shrinking(way: _Way, progress: Progress) -> Finding:
    then = "By itself that is no cause for alarm." if progress.state == "none" else _so_far(progress)
    return Finding(
        name="shrinking-gradient",
        severity="info",
        title=f"the gradient shrinks to {way.factor:.2g} times its size per layer {way.words}",
        detail=f"‖∂L/∂z‖ per sample at the first activation is {way.median:.2g} times that at the last. {then}",
        site=way.sites[0].site.label,
        cause="not asked: torch.nn.Linear's default initialisation alone gives 0.41 per ReLU layer",
        advice="Nothing to do.",
        evidence=way.evidence,
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
            name="exploding-gradient",
            severity="info" if longest <= limit.SCALER_SKIPS else "serious",
            title=f"an infinite gradient at {origin.site.label} at step {first:,}",
            detail=f"{len(all_steps):,} of {len(observed):,} observed steps had one, at most {longest:,} in a row.",
            site=origin.site.label,
            cause="cause unknown: a loss scale that begins too high does this, and so does an explosion",
            advice=advice.INFINITE_GRADIENT,
            evidence={"step": first, "steps": len(all_steps), "longest_run": longest},
        )
    ]


def _longest_run(mask: BoolArray) -> int:
    longest = run = 0
    for hit in mask:
        run = run + 1 if hit else 0
        longest = max(longest, run)
    return longest
