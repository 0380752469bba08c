"""Findings about units that stay on one side of their activation: saturated ones, and always-on, linear ones."""

import numpy as np

from rectifier.catalogue import parse
from rectifier.diagnosis import advice
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.history import BoolArray, SiteHistory
from rectifier.diagnosis.progress import Progress
from rectifier.diagnosis.words import percent
from rectifier.records import Finding, IntArray

_LINEAR_ABOVE = frozenset({"relu", "leaky_relu", "prelu", "rrelu", "leaky_grad"})


def judge_sides(history: SiteHistory, progress: Progress) -> list[Finding]:
    """What is to be said of one site's saturated and always-on units.

    Args:
        history: The site.
        progress: Of the model's training.
    """
    return [*_saturated(history, progress), *_always_on(history)]


def _saturated(history: SiteHistory, progress: Progress) -> list[Finding]:
    """Units with |f′(z)| below 1 % of its maximum on ≥ 99 % of the samples; a layer of which more than half are."""
    if history.saturated is None:
        return []
    found, visits = history.saturated
    share = float(found.mean())
    if share <= limit.SATURATED_SHARE:
        return []
    stalled = progress.state == "none"
    then = f" Training does not progress: {progress.words}." if stalled else ""
    kind, text, numbers = _why_saturated(history, found)
    return [
        Finding(
            name="saturated",
            severity="warning" if stalled else "info",
            site=history.site.label,
            title=f"{history.site.label}: {int(found.sum())} of {len(found):,} units saturated",
            detail=f"Their slope was below 1 % of its maximum on at least 99 % of the last {visits:,} samples counted."
            f"{then}",
            cause=text,
            advice=advice.SATURATED if stalled else "Nothing to do: the training does not suffer from it.",
            units=tuple(int(unit) for unit in np.flatnonzero(found)),
            evidence={
                "units": len(found),
                "saturated": int(found.sum()),
                "saturated_fraction": share,
                "visits": visits,
                "cause": kind,
                **numbers,
            },
        )
    ]


def _why_saturated(history: SiteHistory, units: BoolArray) -> tuple[str, str, dict[str, float | int | str | None]]:
    """Inputs on a large scale, weights that began so large, or an update that made them so."""
    scale = history.snapshots[-1].input_rms
    if scale is not None and scale > limit.LARGE_INPUT:
        return "input", f"input scale: the root mean square of the inputs is {scale:.3g}", {"input_rms": scale}
    first = history.finite_windows[0]
    assert first.saturated is not None
    began = first.saturated[units] >= limit.SATURATED_SAMPLES * first.visits
    if first.visits and float(began.mean()) > limit.SATURATED_SHARE:
        share = f"{int(began.sum())} of them were so in the first window already"
        return "initialisation", f"initialisation: {share}, so their weights began large", {"from_the_start": 1}
    updates = history.update()
    known = np.isfinite(updates)
    if known.any() and updates[known].max() > limit.LARGE_UPDATE:
        at, size = int(history.steps()[known][updates[known].argmax()]), float(updates[known].max())
        text = f"the weights moved too far: at step {at:,} an update moved them by {percent(size)} of their norm"
        return "update", text, {"update": size, "update_step": at}
    return "unknown", "cause unknown: large weights, or inputs on a large scale, do this", {}


def always_on(history: SiteHistory) -> IntArray | None:
    """(U,) visits, at the end, on which each unit's output stayed above f(0) everywhere.

    None where the units are unknown or nothing finite was counted.
    """
    if history.site.units is None or not history.finite_windows:
        return None
    zero = parse(history.site.activation).activation.value_at_zero
    visits = np.zeros(history.site.units, np.int64)
    going_on = np.ones(history.site.units, np.bool_)
    for window in reversed(history.finite_windows):
        going_on &= window.lowest > zero
        if not going_on.any():
            break
        visits += np.where(going_on, window.visits, 0)
    return visits


def _always_on(history: SiteHistory) -> list[Finding]:
    row = parse(history.site.activation).activation
    name, zero = row.name, row.value_at_zero
    visits = always_on(history)
    if visits is None or name not in _LINEAR_ABOVE:
        return []
    on = visits >= limit.DEAD_SAMPLES
    number, units = int(on.sum()), len(on)
    if not number or number / units < limit.LARGE_SHARE:
        return []
    whole = " The layer is linear." if number == units else ""
    return [
        Finding(
            name="always-on",
            severity="info",
            site=history.site.label,
            title=f"{history.site.label}: {number} of {units:,} {'unit is' if units == 1 else 'units are'} always on",
            detail=f"Their output stayed above {zero:g} at every position of the last "
            f"{int(visits[on].min()):,} samples counted (visits, not distinct samples): {name} is linear there."
            f"{whole}",
            cause="not asked: these units have a gradient",
            advice="Nothing to do: such units still learn, and bend nothing.",
            units=tuple(int(unit) for unit in np.flatnonzero(on)),
            evidence={"units": units, "always_on": number, "always_on_fraction": number / units},
        )
    ]
