"""What was changed while a training ran, and what was seen of its effect."""

import numpy as np

from rectifier._formatting import counted
from rectifier.records import Process, Treated, told_apart

_STEPS = 100
"""Over how many steps before and after a treatment the loss is averaged, where there are as many."""


def treated_lines(process: Process) -> list[str]:
    """One paragraph for each treatment: when, what, which revived units fire since, and the loss on both sides.

    Two treatments that are close to one another leave few steps between them; none is counted on both sides.
    """
    return [
        f"{_when(one)}: {one.text}.{_firing(process, one)}{_loss(process, number)}" for number, one in _each(process)
    ]


def _each(process: Process) -> list[tuple[int, Treated]]:
    return list(enumerate(process.treated))


def _when(treated: Treated) -> str:
    return f"After step {treated.step:,}" if treated.step >= 0 else "Before the first step"


def _firing(process: Process, treated: Treated) -> str:
    if not treated.units:
        return ""
    # What was treated is named as in its own model; where another one has such a name, which is meant cannot be told.
    unique = {index: site.label for index, site in enumerate(told_apart(process.sites)) if not site.with_model}
    last = {
        unique[window.site]: window for snap in process.snapshots for window in snap.windows if window.site in unique
    }
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
