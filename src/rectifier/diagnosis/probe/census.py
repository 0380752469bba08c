"""The state of every unit after one pass over known data."""

from collections.abc import Sequence

import numpy as np

from rectifier.catalogue import parse
from rectifier.diagnosis import thresholds as limit
from rectifier.records import LayerCensus, SiteCount, SiteRef, told_apart


def judge_census(counts: Sequence[SiteCount], distinct: int | None) -> tuple[LayerCensus, ...]:
    """One row per site.

    Args:
        counts: Over the whole pass.
        distinct: Distinct inputs of the pass, which bounds rest on: tokens of one sequence are correlated. None where
            they could not be told apart.
    """
    sites = told_apart([count.site for count in counts])
    return tuple(_judge(count, site, distinct) for count, site in zip(counts, sites, strict=True))


def _judge(count: SiteCount, ref: SiteRef, distinct: int | None) -> LayerCensus:
    site, row = count.site, parse(count.site.activation)
    bound = 1.0 - limit.CONFIDENCE_MISS ** (1.0 / distinct) if distinct else None
    if site.units is None:
        return LayerCensus(
            site=ref.key, name=ref.label, activation=site.activation, source=site.source, units=None,
            visits=count.visits, silent=None, silent_means="", rare=None, always_on=None, not_finite=None,
            firing_bound=bound, firing_fraction=None,
        )  # fmt: skip
    finite = np.isfinite(count.lowest) & np.isfinite(count.highest)
    silent = finite & (count.fired == 0)
    rare = finite & (count.fired > 0) & (count.fired < limit.RARE_FRACTION * count.visits)
    always_on = finite & (count.lowest > row.activation.value_at_zero)
    enough = bound is not None and bound <= limit.LARGEST_BOUND
    layer = float(count.mean_abs.mean()) if len(count.mean_abs) else 0.0
    dormant = tuple(
        (tau, int((count.mean_abs <= tau * layer).sum())) for tau in limit.DORMANT_TAUS if not row.activation.signed
    )
    return LayerCensus(
        site=ref.key,
        name=ref.label,
        activation=site.activation,
        source=site.source,
        units=site.units,
        visits=count.visits,
        silent=int(silent.sum()),
        silent_means=("dead" if enough else "suspected") if row.flat_when_silent else "stuck",
        rare=int(rare.sum()),
        always_on=int(always_on.sum()),
        not_finite=int((~finite).sum()),
        firing_bound=bound,
        firing_fraction=float((count.fired / count.visits).mean()) if count.visits and len(count.fired) else None,
        dormant=dormant,
        silent_units=tuple(int(unit) for unit in np.flatnonzero(silent)),
        rare_units=tuple(int(unit) for unit in np.flatnonzero(rare)),
        always_on_units=tuple(int(unit) for unit in np.flatnonzero(always_on)),
    )
