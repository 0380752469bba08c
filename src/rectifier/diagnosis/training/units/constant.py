"""The finding about a network that a silent layer has turned into a constant.

One layer without a single firing unit cuts the network in two, unless a path leads around it: no gradient passes to
what lies below, and what lies above is given the same numbers for every sample. Lu, Shin, Su & Karniadakis 2019.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history import chains
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.units.causes import find_cause
from rectifier.diagnosis.training.units.flat import always_on, bends_at_zero
from rectifier.diagnosis.training.units.moments import whole_silence
from rectifier.records import Cause, CauseKind, Finding, LinearLayer, Rule, Severity, SilentLayer


def judge_constancy(histories: Sequence[SiteHistory], progress: Progress) -> list[Finding]:
    """Whether a silent layer cuts the only path through the network.

    A silent layer alone is no proof: a skip connection may lead around it. The proof is an exact 0 as ∂L/∂z at every
    activation below, or activations above of which no unit tells one sample from another; a layer that shows the
    contrary is proof of another path.

    Args:
        histories: Of one model, in the order of their first call.
        progress: Of its training.
    """
    blocked = [
        (since, position) for position, history in enumerate(histories) if (since := history.blocked_since) is not None
    ]
    if not blocked:
        return []
    # The layer that fell silent first; of those that did together, the one nearest to the input.
    since, position = min(blocked)
    silent = histories[position]
    under, over = chains.below(silent, histories), chains.above(silent, histories)
    below = [gradient for history in under if (gradient := _gradient_after(history, since)) is not None]
    above = [share for history in over if (share := history.varying_fraction(since)) is not None]
    if any(gradient > 0 for gradient in below) or any(share > limit.VARYING_FRACTION for share in above):
        return []
    if not below and not above:
        return []
    states = histories[position].states
    assert states is not None
    if progress.state != "none" and not states.dead.all() and int(states.n.min()) < limit.LEAST_VISITS:
        # One batch of a network that has just begun says little of the others.
        return []
    return [_finding(silent, under, since, len(below), above, progress)]


def _gradient_after(history: SiteHistory, since: int) -> float | None:
    """The largest ‖∂L/∂z‖ on the observed steps after a step; None when no gradient came at all."""
    deltas = history.delta()[history.steps() > since]
    deltas = deltas[~np.isnan(deltas)]
    return float(deltas.max()) if len(deltas) else None


def _finding(
    history: SiteHistory,
    under: Sequence[SiteHistory],
    since: int,
    below: int,
    above: Sequence[float],
    progress: Progress,
) -> Finding:
    states = history.states
    assert states is not None
    sure = bool(states.dead.all())
    # Why the layer itself fell silent: no layer below it is.
    cause = find_cause(history, states.stuck, under)
    return Finding(
        rule=Rule.CONSTANT_NETWORK,
        # A loss that stands still says of the samples not yet seen that the layer is silent on those, too.
        severity="serious" if sure or progress.state == "none" else "warning",
        cause=cause,
        consequence=progress.consequence,
        loss=progress.loss,
        remedies=remedies.for_dead_units(cause),
        fixes=remedies.comparison_of(history.site.activation),
        evidence=SilentLayer(
            silent_site=history.ref,
            activation=history.site.activation,
            silent_units=len(states.stuck),
            silence=whole_silence(history, since),
            sure=sure,
            sites_below_without_gradient=below,
            sites_above_constant=len(above),
            largest_varying_fraction=max(above, default=None),
        ),
    )


def judge_constant_layer(
    history: SiteHistory, below: Sequence[SiteHistory], progress: Progress, *, harmless: bool
) -> list[Finding]:
    """Whether each unit is off on all samples, or on on all, so that the layer bends nothing.

    Not of a layer that is silent as a whole, which has a finding of its own, of one that only follows such a layer, or
    of activations that have no such state.

    Args:
        history: The site.
        below: Sites of the same model that feed it.
        progress: Of its training.
        harmless: Whether another finding says already why, or the model learned well without it.
    """
    states, visits = history.states, always_on(history)
    if states is None or visits is None or not bends_at_zero(history):
        return []
    end = history.finite_windows[-1]
    distinct = history.snapshots[len(history.finite_windows) - 1].distinct_samples
    off = states.dead | (states.stuck & (end.silent_visits >= limit.DEAD_SAMPLES))
    on = visits >= limit.DEAD_SAMPLES
    units, number = len(off), int((off | on).sum())
    if off.all() or number < limit.LINEAR_SHARE * units or (units < limit.LEAST_UNITS and number < units):
        return []
    if (distinct is not None and distinct < 2) or any(one.blocked_since is not None for one in below):
        # A single sample is on one side everywhere.
        return []
    cause = find_cause(history, off, below) if 2 * int(off.sum()) >= units else Cause()
    # An output whose targets are all positive, and a few units that have no kink between them, are nothing unusual.
    few = units < limit.LEAST_UNITS and (not off.any() or progress.state == "some")
    meant = few or (not off.any() and history.at_output)
    severity: Severity = "info" if meant or harmless else "warning"
    samples = np.where(off, end.silent_visits, visits)[off | on]
    return [
        Finding(
            rule=Rule.CONSTANT_LAYER,
            severity=severity,
            site=history.ref,
            cause=cause,
            consequence=progress.consequence,
            loss=progress.loss,
            remedies=remedies.for_dead_units(cause)
            if cause.kind is not CauseKind.UNKNOWN and severity != "info"
            else (),
            evidence=LinearLayer(
                activation=history.site.activation,
                units=units,
                off=int(off.sum()),
                on=int(on.sum()),
                visits=int(samples.min()),
            ),
        )
    ]
