"""Findings about units that stay on one side of their activation: saturated ones, and always-on, linear ones."""

import numpy as np

from rectifier.catalogue import parse
from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history import BoolArray, SiteHistory
from rectifier.diagnosis.training.progress import Progress
from rectifier.records import (
    AlwaysOnUnits,
    Cause,
    CauseKind,
    Finding,
    InputScale,
    IntArray,
    LargeUpdate,
    Rule,
    SaturatedFromTheStart,
    SaturatedUnits,
)

_LINEAR_ABOVE = frozenset({"relu", "leaky_relu", "prelu", "rrelu", "surrogate_gradient"})


def judge_sides(history: SiteHistory, progress: Progress) -> list[Finding]:
    """What is to be said of one site's saturated and always-on units.

    Args:
        history: The site.
        progress: Of the model's training.
    """
    return [*_saturated(history, progress), *_always_on(history)]


def _saturated(history: SiteHistory, progress: Progress) -> list[Finding]:
    """Units with |f′(z)| below 1% of its maximum on ≥ 99% of the samples; a layer of which more than half are."""
    if history.saturated is None:
        return []
    found, visits = history.saturated
    share = float(found.mean())
    if share <= limit.SATURATED_SHARE:
        return []
    stalled = progress.state == "none"
    return [
        Finding(
            rule=Rule.SATURATED,
            severity="warning" if stalled else "info",
            site=history.ref,
            cause=_why_saturated(history, found),
            consequence=progress.consequence,
            loss=progress.loss,
            remedies=remedies.SATURATED if stalled else (),
            units=tuple(int(unit) for unit in np.flatnonzero(found)),
            evidence=SaturatedUnits(
                units=len(found), saturated=int(found.sum()), saturated_fraction=share, visits=visits
            ),
        )
    ]


def _why_saturated(history: SiteHistory, units: BoolArray) -> Cause:
    """Inputs on a large scale, weights that began so large, or an update that made them so."""
    scale = history.snapshots[-1].input_rms
    if scale is not None and scale > limit.LARGE_INPUT:
        return Cause(kind=CauseKind.INPUT_SCALE, facts=InputScale(input_rms=scale))
    first = history.finite_windows[0]
    assert first.saturated is not None
    began = first.saturated[units] >= limit.SATURATED_SAMPLES * first.visits
    if first.visits and float(began.mean()) > limit.SATURATED_SHARE:
        return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=SaturatedFromTheStart(saturated_at_first=int(began.sum())))
    updates = history.update()
    known = np.isfinite(updates)
    if known.any() and updates[known].max() > limit.LARGE_UPDATE:
        at, size = int(history.steps()[known][updates[known].argmax()]), float(updates[known].max())
        return Cause(kind=CauseKind.LEARNING_RATE, facts=LargeUpdate(update=size, update_step=at))
    return Cause()


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
    visits = always_on(history)
    if visits is None or row.name not in _LINEAR_ABOVE:
        return []
    on = visits >= limit.DEAD_SAMPLES
    number, units = int(on.sum()), len(on)
    if not number or number / units < limit.LARGE_SHARE:
        return []
    return [
        Finding(
            rule=Rule.ALWAYS_ON,
            severity="info",
            site=history.ref,
            units=tuple(int(unit) for unit in np.flatnonzero(on)),
            evidence=AlwaysOnUnits(
                activation=row.name,
                value_at_zero=row.value_at_zero,
                units=units,
                always_on=number,
                always_on_fraction=number / units,
                least_visits=int(visits[on].min()),
            ),
        )
    ]
