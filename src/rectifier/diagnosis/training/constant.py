"""The finding about a network that a silent layer has turned into a constant.

One layer without a single firing unit cuts the network in two, unless a path leads around it: no gradient passes to
what lies below, and what lies above is given the same numbers for every sample. Lu, Shin, Su & Karniadakis 2019.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.moments import whole_silence
from rectifier.diagnosis.training.history import SiteHistory
from rectifier.diagnosis.training.progress import Progress
from rectifier.records import Cause, CauseKind, Finding, Rule, SilentLayer


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
    below = [gradient for history in histories[:position] if (gradient := _gradient_after(history, since)) is not None]
    above = [share for history in histories[position + 1 :] if (share := history.varying_fraction(since)) is not None]
    if any(gradient > 0 for gradient in below) or any(share > limit.VARYING_FRACTION for share in above):
        return []
    if not below and not above:
        return []
    states = histories[position].states
    assert states is not None
    if progress.state != "none" and not states.dead.all() and int(states.n.min()) < limit.LEAST_VISITS:
        # One batch of a network that has just begun says little of the others.
        return []
    return [_finding(histories[position], since, len(below), above, progress)]


def _gradient_after(history: SiteHistory, since: int) -> float | None:
    """The largest ‖∂L/∂z‖ on the observed steps after a step; None when no gradient came at all."""
    deltas = history.delta()[history.steps() > since]
    deltas = deltas[~np.isnan(deltas)]
    return float(deltas.max()) if len(deltas) else None


def _finding(history: SiteHistory, since: int, below: int, above: Sequence[float], progress: Progress) -> Finding:
    states = history.states
    assert states is not None
    sure = bool(states.dead.all())
    return Finding(
        rule=Rule.CONSTANT_NETWORK,
        # A loss that stands still says of the samples not yet seen that the layer is silent on those, too.
        severity="serious" if sure or progress.state == "none" else "warning",
        cause=Cause(kind=CauseKind.UPSTREAM),
        consequence=progress.consequence,
        loss=progress.loss,
        remedies=remedies.CONSTANT_NETWORK,
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
