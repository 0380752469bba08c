"""One row per site: the table that findings are drawn from."""

import numpy as np

from rectifier.diagnosis.history import SiteHistory
from rectifier.records import LayerSummary


def summarise(history: SiteHistory) -> LayerSummary:
    """A site's state at the end of what was observed."""
    states, site = history.states, history.site
    fired, visits = history.recent
    delta = history.windows[-1].delta
    delta = delta[np.isfinite(delta)]
    return LayerSummary(
        site=site.label,
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
    )
