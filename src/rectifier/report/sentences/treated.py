"""What was changed while a training ran, and what was seen of its effect."""

from collections.abc import Mapping

import numpy as np

from rectifier._formatting import counted, listed
from rectifier.records import (
    Process,
    RecycledUnits,
    RescaledLayers,
    SiteRef,
    SwappedActivation,
    Treated,
    Treatment,
    told_apart,
)

_STEPS = 100
"""Over how many steps before and after a treatment the loss is averaged, where there are as many."""

_MOST_PLACES = 6
"""Of a treatment that are named."""


def treatment_text(treated: Treated, sites: Mapping[str, SiteRef] | None = None) -> str:
    """What was changed, for the middle of a sentence.

    Args:
        treated: It.
        sites: By their keys, for their names.
    """
    undone = treated.name is Treatment.UNDO
    if treated.swapped is not None:
        return f"{treated.swapped.old} is back" if undone else _swapped(treated.swapped)
    if treated.rescaled is not None:
        return f"the initial weights of {treated.rescaled.model} are back" if undone else _rescaled(treated.rescaled)
    if treated.recycled is not None:
        return f"{'taken back: ' if undone else ''}{_recycled(treated.recycled, sites or {})}"
    return treated.text


def _swapped(swapped: SwappedActivation) -> str:
    return f"{swapped.old} became {swapped.new} ({listed(swapped.places, _MOST_PLACES)})"


def _rescaled(rescaled: RescaledLayers) -> str:
    left = f", {rescaled.left_alone} left alone" if rescaled.left_alone else ""
    zeroed = (
        "; the first step's gradients, which were of the old weights, were set to 0"
        if rescaled.gradients_zeroed
        else ""
    )
    return (
        f"{counted(rescaled.layers, 'layer')} of {rescaled.model} rescaled ({rescaled.mode}), "
        f"by factors from {rescaled.smallest_factor:.3g} to {rescaled.largest_factor:.3g}{left}{zeroed}"
    )


def _recycled(recycled: RecycledUnits, named: Mapping[str, SiteRef]) -> str:
    count, sites = sum(recycled.by_site.values()), list(recycled.by_site.items())
    places = ", ".join(f"{units} of {named.get(site, site)}" for site, units in sites[:_MOST_PLACES])
    more = f" and of {len(sites) - _MOST_PLACES} more" if len(sites) > _MOST_PLACES else ""
    return f"{counted(count, 'dead unit')} recycled: {places}{more}"


def treated_lines(process: Process) -> list[str]:
    """One paragraph for each treatment: when, what, which revived units fire since, and the loss on both sides.

    Two treatments that are close to one another leave few steps between them; none is counted on both sides.
    """
    # What was treated is named as in its own model; where another one has such a name, which is meant cannot be told.
    sites = {site.key: site for site in told_apart(process.sites) if not site.with_model}
    return [
        f"{_when(one)}: {treatment_text(one, sites)}.{_firing(process, one, sites)}{_loss(process, number)}"
        for number, one in enumerate(process.treated)
    ]


def _when(treated: Treated) -> str:
    return f"After step {treated.step:,}" if treated.step >= 0 else "Before the first step"


def _firing(process: Process, treated: Treated, sites: Mapping[str, SiteRef]) -> str:
    if not treated.units:
        return ""
    windows = ((process.sites[w.site].ref.key, w) for snap in process.snapshots for w in snap.windows)
    last = {key: window for key, window in windows if key in sites}
    fired = sum(
        int((last[site].last_fired[list(units)] > treated.step).sum())
        for site, units in treated.units.items()
        if site in last and len(last[site].last_fired) > max(units)
    )
    total = sum(len(units) for units in treated.units.values())
    return f" Of the {counted(total, 'recycled unit')}, {fired:,} fired since."


def _loss(process: Process, number: int) -> str:
    series = process.series("loss").regular
    step = process.treated[number].step
    earlier = process.treated[number - 1].step if number else -1
    later = process.treated[number + 1].step if number + 1 < len(process.treated) else np.inf
    before = series.values[(series.steps > max(earlier, step - _STEPS)) & (series.steps <= step)]
    after = series.values[(series.steps > step) & (series.steps <= min(later, step + _STEPS))]
    if not (len(before) and len(after)):
        return ""
    return (
        f" The mean loss was {before.mean():.4g} over the {counted(len(before), 'step')} before and {after.mean():.4g} "
        f"over the {counted(len(after), 'step')} after; what it would have been without is not known."
    )
