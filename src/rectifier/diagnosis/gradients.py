"""Findings about gradients: vanishing, exploding, shrinking; judged by δ = ∂L/∂z, never by weight gradients.

Weight-gradient norms are flat over depth in a network without biases even while the signal vanishes.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.history import SiteHistory
from rectifier.diagnosis.progress import Progress
from rectifier.records import Finding, FloatArray


def judge_gradients(histories: Sequence[SiteHistory], progress: Progress) -> list[Finding]:
    """What is to be said of the gradient's way from the last site of one model to its first.

    A layer that is silent as a whole lets nothing through; that is told by the finding about its units.
    """
    sites = [history for history in histories if np.isfinite(history.delta()).any()]
    if len(sites) < 2 or any(history.states is not None and history.states.stuck.all() for history in histories):
        return []
    ratio = _ratio(sites[0], sites[-1])
    if len(ratio) < limit.LEAST_OBSERVATIONS:
        return []
    # The state at the end is what counts: a vanishing that training has left behind is history.
    recent = ratio[-max(limit.LEAST_OBSERVATIONS, len(ratio) // 2) :]
    median = float(np.median(recent))
    factor = median ** (1.0 / (len(sites) - 1)) if median > 0 else 0.0
    vanished = int((recent < limit.VANISHED_RATIO).sum())
    exploded = int((recent > limit.EXPLODED_RATIO).sum())
    if median < limit.VANISHED_RATIO and vanished >= limit.LEAST_OBSERVATIONS:
        still = _learns_nothing(sites[0], progress)
        if still is not None:
            return [_vanishing(sites, median, factor, vanished, still)]
    if median > limit.EXPLODED_RATIO and exploded >= limit.LEAST_OBSERVATIONS:
        return [_exploding(sites, median, factor, exploded)]
    if factor < limit.SHRINKING_FACTOR and len(sites) > 2:
        return [_shrinking(sites, median, factor)]
    return []


def _ratio(first: SiteHistory, last: SiteHistory) -> FloatArray:
    """‖δ‖ of the first site over the last, at each step on which both are known and the last is not 0."""
    steps, one, other = np.intersect1d(first.steps(), last.steps(), return_indices=True)
    numerator, denominator = first.delta()[one], last.delta()[other]
    usable = np.isfinite(numerator) & np.isfinite(denominator) & (denominator > 0)
    ratio: FloatArray = numerator[usable] / denominator[usable]
    return ratio


def _learns_nothing(first: SiteHistory, progress: Progress) -> str | None:
    """Evidence, in words, that the small gradient matters: the first layer or the loss does not move."""
    updates = first.update()
    updates = updates[np.isfinite(updates)]
    update = float(np.median(updates)) if len(updates) else None
    if update is not None and update < limit.FROZEN_UPDATE:
        return f"the first layer's weights move by {update:.1g} of their norm a step"
    if progress.state == "none":
        return f"{progress.words}"
    return None


def _span(sites: Sequence[SiteHistory]) -> str:
    return f"from {sites[-1].site.label} down to {sites[0].site.label} ({len(sites)} activations)"


def _evidence(
    median: float, factor: float, count: int, sites: Sequence[SiteHistory]
) -> dict[str, float | int | str | None]:
    return {"delta_first_over_last": median, "factor_per_layer": factor, "observed_steps": count, "sites": len(sites)}


def _vanishing(sites: Sequence[SiteHistory], median: float, factor: float, count: int, still: str) -> Finding:
    return Finding(
        name="vanishing-gradient",
        severity="serious",
        title=f"the gradient vanishes: ×{median:.1e} {_span(sites)}",
        detail=f"‖δ‖ shrinks by {factor:.2f} per layer, on {count} observed steps; and {still}.",
        site=sites[0].site.label,
        cause=f"initialisation or depth: {factor:.2f} per layer over {len(sites)} layers "
        "(torch.nn.Linear's default initialisation gives 0.41 per ReLU layer)",
        advice="First initialise with the gain of the activation (torch.nn.init.kaiming_normal_), or add normalisation or "
        "skip connections. A slope of 0.01 does not change the factor at initialisation: (1 + α²)/2 against 1/2.",
        evidence=_evidence(median, factor, count, sites),
    )


def _exploding(sites: Sequence[SiteHistory], median: float, factor: float, count: int) -> Finding:
    return Finding(
        name="exploding-gradient",
        severity="serious",
        title=f"the gradient explodes: ×{median:.3g} {_span(sites)}",
        detail=f"‖δ‖ grows by {factor:.2f} per layer, on {count} observed steps.",
        site=sites[0].site.label,
        cause=f"initialisation or depth: {factor:.2f} per layer over {len(sites)} layers",
        advice="First initialise with the gain of the activation, clip the gradient norm, or lower the learning rate.",
        evidence=_evidence(median, factor, count, sites),
    )


def _shrinking(sites: Sequence[SiteHistory], median: float, factor: float) -> Finding:
    return Finding(
        name="shrinking-gradient",
        severity="info",
        title=f"the gradient shrinks by {factor:.2f} per layer {_span(sites)}",
        detail=f"‖δ‖ of the first over the last is {median:.2g}. The training moves all the same.",
        site=sites[0].site.label,
        cause="expected of default initialisation, where ReLU layers pass on 0.41",
        advice="Nothing to do.",
        evidence=_evidence(median, factor, 0, sites),
    )
