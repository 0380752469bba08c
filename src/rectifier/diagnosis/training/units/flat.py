"""Findings about units that stay on one side of their activation: saturated ones, and always-on, linear ones."""

from collections.abc import Sequence

import numpy as np

from rectifier.catalogue import parse
from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.units.bias import bias_beyond_range
from rectifier.records import (
    AlwaysOnUnits,
    BoolArray,
    Cause,
    CauseKind,
    Finding,
    IntArray,
    LargeBias,
    LargeUpdate,
    Rule,
    SaturatedFromTheStart,
    SaturatedUnits,
)

_LINEAR_ABOVE = frozenset({"relu", "leaky_relu", "prelu", "rrelu", "surrogate_gradient"})


def judge_sides(history: SiteHistory, below: Sequence[SiteHistory], progress: Progress) -> list[Finding]:
    """What is to be said of one site's saturated and always-on units.

    Args:
        history: The site.
        below: Sites of the same model that feed it.
        progress: Of the model's training.
    """
    return [*_saturated(history, below, progress), *_always_on(history)]


def _saturated(history: SiteHistory, below: Sequence[SiteHistory], progress: Progress) -> list[Finding]:
    """A layer of which most units, or most (sample, unit) pairs, have |f′(z)| below 1% of its maximum."""
    pairs, found, visits = history.saturated_pairs, np.zeros(0, np.bool_), 0
    if history.saturated is not None:
        found, visits = history.saturated
    share = float(found.mean()) if len(found) else 0.0
    mostly = pairs is not None and pairs[0] > limit.SATURATED_PAIR_SHARE
    if share <= limit.SATURATED_SHARE and not mostly:
        return []
    stalled = progress.state == "none"
    # Where a loss falls, an output is sure of itself rightly, if training made it so.
    learned = history.at_output and history.saturated_since != 0
    alarm = stalled or (mostly and not learned and not _is_open_gate(history, found))
    cause = _why_saturated(history, found, below)
    return [
        Finding(
            rule=Rule.SATURATED,
            severity="warning" if alarm else "info",
            site=history.ref,
            cause=cause,
            consequence=progress.consequence,
            loss=progress.loss,
            remedies=remedies.for_saturation(cause) if alarm else (),
            units=tuple(int(unit) for unit in np.flatnonzero(found)),
            evidence=SaturatedUnits(
                units=history.site.units or 0,
                saturated=int(found.sum()),
                saturated_fraction=share,
                visits=visits,
                pairs=None if pairs is None else pairs[1],
                pair_fraction=None if pairs is None else pairs[0],
            ),
        )
    ]


def _why_saturated(history: SiteHistory, units: BoolArray, below: Sequence[SiteHistory]) -> Cause:
    """Inputs far from 0 or on a large scale, weights that began so large, or an update that made them so."""
    of_inputs = None if below else model_causes.of_inputs(history.snapshots[-1])
    if of_inputs is not None and of_inputs.kind is CauseKind.INPUT_SCALE:
        return of_inputs
    first, since = history.finite_windows[0], history.saturated_since
    assert first.saturated is not None
    began = first.saturated[units] >= limit.SATURATED_SAMPLES * first.visits if len(units) else units
    if since == 0 or (first.visits and len(began) and float(began.mean()) > limit.SATURATED_SHARE):
        if int(history.steps()[0]) > 0:
            # Who came later cannot tell.
            return Cause()
        flat = units if len(units) and units.any() else np.ones(history.site.units or 0, np.bool_)
        bias = None if history.at_output else bias_beyond_range(history, flat, below=False)
        # An output that begins far from 1/2 may say how rare its classes are (Lin et al. 2017, section 4.1).
        if bias is not None:
            facts = LargeBias(bias=bias[0], rest=bias[1], units=int(flat.sum()))
            return Cause(kind=CauseKind.INITIAL_BIAS, facts=facts)
        return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=SaturatedFromTheStart(saturated_at_first=int(began.sum())))
    steps, updates = history.steps(), history.update()
    onset = int(steps[-1]) if since is None else int(history.finite_windows[since].steps[-1])
    known = np.isfinite(updates) & (steps <= onset)
    if known.any() and updates[known].max() > limit.LARGE_UPDATE:
        at, size = int(steps[known][updates[known].argmax()]), float(updates[known].max())
        return Cause(kind=CauseKind.LEARNING_RATE, facts=LargeUpdate(update=size, update_step=at))
    return Cause()


def bends_at_zero(history: SiteHistory) -> bool:
    """Whether the activation is linear on each side of 0: ReLU and its leaky kin, not GELU or tanh."""
    return parse(history.site.activation).activation.name in _LINEAR_ABOVE


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


def _is_open_gate(history: SiteHistory, units: BoolArray) -> bool:
    """Whether a sigmoid is near 1 wherever it is flat: a gate that lets everything through."""
    gate = parse(history.site.activation).activation.name in ("sigmoid", "hardsigmoid")
    means = history.finite_windows[-1].mean
    return gate and not history.at_output and bool((means[units] if units.any() else means).min() > limit.OPEN_GATE)


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
