"""One row per site: the table that findings are drawn from."""

import numpy as np

from rectifier.catalogue import parse
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.units.flat import always_on
from rectifier.records import LayerSummary


def summarise(history: SiteHistory) -> LayerSummary:
    """A site's state at the end of what was observed."""
    states, site = history.states, history.site
    fired, visits = history.recent
    delta = history.windows[-1].delta
    delta = delta[np.isfinite(delta)]
    on = always_on(history)
    return LayerSummary(
        site=history.ref,
        activation=site.activation,
        source=site.source,
        units=site.units,
        dead=int(states.dead.sum()) if states is not None else None,
        suspected=int(states.suspected.sum()) if states is not None else None,
        rare=int(states.rare.sum()) if states is not None else None,
        stuck=int(states.stuck.sum()) if states is not None else None,
        firing_fraction=float((fired / visits).mean()) if visits and len(fired) else None,
        delta=float(np.median(delta)) if len(delta) else None,
        dead_history=history.silent_shares,
        always_on=None if on is None else int((on >= limit.DEAD_SAMPLES).sum()),
        dormant=_dormant(history),
    )


def _dormant(history: SiteHistory) -> tuple[tuple[float, int], ...]:
    """Sokar et al. 2023, on post-activations that are never negative."""
    if history.states is None or parse(history.site.activation).activation.signed:
        return ()
    mean_abs = history.finite_windows[-1].mean_abs
    layer = float(mean_abs.mean()) if len(mean_abs) else 0.0
    return tuple((tau, int((mean_abs <= tau * layer).sum())) for tau in limit.DORMANT_TAUS)
