"""Findings about units that work and are not taught: starved ones, whose output nobody's loss asks for; frozen ones.

An exactly zero gradient only nominates a unit: losses cancel, heads begin at zero, margins are satisfied. So it must
last, while the unit fires, the loss is not 0, and no silent layer above explains it.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import advice
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.history import SiteHistory
from rectifier.diagnosis.progress import Progress
from rectifier.records import AxisSource, Finding, IntArray, Series, Severity


def judge_starvation(histories: Sequence[SiteHistory], progress: Progress, loss: Series) -> list[Finding]:
    """Sites, and units of sites, that get no gradient although they have a slope.

    Args:
        histories: Of one model, in the order of their first call.
        progress: Of its training.
        loss: Of the process.
    """
    whole, findings = [], []
    for position, history in enumerate(histories):
        if any(above.blocked_since is not None for above in histories[position:]):
            # A silent layer lets nothing through; its own finding says so.
            continue
        if any(above.saturated is not None and above.saturated[0].all() for above in histories[position:]):
            # Nor does one that is saturated as a whole.
            continue
        steps = _steps_without(history)
        # No gradient passes through a repetition; a bias of the layer has the real one.
        if not history.site.repeated and _long_enough(steps) and _loss_lives(loss, steps):
            whole.append((history, steps))
        elif (found := _some_units(history, loss)) is not None:
            findings.append(found)
    return [*_whole(whole, histories, progress), *findings]


def _counted(history: SiteHistory) -> IntArray:
    """Steps at which a gradient was looked at. Where none ever came, those at which the update was measured."""
    steps, delta = history.steps(), history.delta()
    return steps[~np.isnan(delta if (~np.isnan(delta)).any() else history.update())]


def _steps_without(history: SiteHistory) -> IntArray:
    """The counted steps, at the end, at which ‖∂L/∂z‖ was exactly 0, or no gradient came at all."""
    steps, counted = history.steps(), _counted(history)
    reached = steps[~np.isnan(history.delta()) & (history.delta() != 0)]
    trailing: IntArray = counted[counted > reached.max(initial=-1)]
    return trailing


def _long_enough(steps: IntArray) -> bool:
    return len(steps) >= limit.STARVED_OBSERVATIONS and int(steps[-1] - steps[0]) + 1 >= limit.STARVED_STEPS


def _loss_lives(loss: Series, steps: IntArray) -> bool:
    """Whether there was anything to learn: a loss of exactly 0 teaches nothing, and rightly."""
    values = loss.values[(loss.steps >= steps[0]) & (loss.steps <= steps[-1])]
    return len(values) > 0 and bool(np.median(np.abs(values)) > 0)


def _whole(
    starved: Sequence[tuple[SiteHistory, IntArray]], histories: Sequence[SiteHistory], progress: Progress
) -> list[Finding]:
    if not starved:
        return []
    everything = len(starved) == len(histories)
    zero = all((~np.isnan(history.delta())).any() for history, _ in starved)
    # Exact zeros at every activation teach nothing, whatever the last bias makes of the loss. Where no gradient came at
    # all, a network may be frozen below the part that learns.
    severity: Severity = "warning" if everything and (zero or progress.state == "none") else "info"
    findings = []
    for history, steps in starved:
        came = bool((~np.isnan(history.delta())).any())
        label = history.site.label
        if everything:
            cause = "no activation of this network gets one: the loss does not depend on it, or gives an exact 0"
        elif came:
            cause = "what follows this layer is scaled to zero or masked; others of the network do get one"
        else:
            cause = "what follows this layer is detached, or is not part of the loss; others of the network do get one"
        then = f" Training does not progress: {progress.words}." if everything and progress.state == "none" else ""
        findings.append(
            Finding(
                name="starved",
                severity=severity,
                site=label,
                title=f"{label} gets no gradient although its units fire",
                detail=f"{'∂L/∂z was exactly 0' if came else 'No gradient came'} at each of the {len(steps):,} counted "
                f"steps from {int(steps[0]):,} to {int(steps[-1]):,}, while the loss was not 0.{then}",
                cause=cause,
                advice=advice.STARVED if severity == "warning" else advice.STARVED_BY_DESIGN,
                evidence={
                    "cause": "downstream",
                    "steps": len(steps),
                    "first_step": int(steps[0]),
                    "last_step": int(steps[-1]),
                },
            )
        )
        if everything:
            break
    return findings


def _some_units(history: SiteHistory, loss: Series) -> Finding | None:
    """Units whose bias got no gradient for long, in a layer of which others did."""
    states, end = history.states, history.windows[-1]
    if states is None or end.last_gradient is None or len(end.last_gradient) != len(states.stuck):
        return None
    steps = _counted(history)
    ends = np.unique(end.last_gradient)
    # In a healthy layer nothing is left to look at.
    lacking = [steps[steps > last] for last in ends[ends <= steps.max(initial=-1) - limit.STARVED_STEPS]]
    long_ago = [
        int(steps[0]) - 1 for steps in lacking if len(steps) and _long_enough(steps) and _loss_lives(loss, steps)
    ]
    if not long_ago:
        return None
    fires = history.recent[0] > 0
    starved = fires & ~states.stuck & (end.last_gradient <= max(long_ago))
    number, units = int(starved.sum()), len(starved)
    if not number:
        return None
    since = steps[steps > int(end.last_gradient[starved].max())]
    return Finding(
        name="starved",
        severity="info",
        site=history.site.label,
        title=f"{history.site.label}: {number} of {units:,} units fire and get no gradient",
        detail=f"The gradient of their biases was exactly 0 at each of the {len(since):,} counted steps from "
        f"{int(since[0]):,} to {int(since[-1]):,}, while others of the layer got one.",
        cause="masked, pruned or unused by what follows; a loss that does not ask for them does the same",
        advice=advice.STARVED_BY_DESIGN,
        units=tuple(int(unit) for unit in np.flatnonzero(starved)),
        evidence={
            "cause": "downstream",
            "units": units,
            "starved": number,
            "starved_fraction": number / units,
            "steps": len(since),
        },
    )


def judge_frozen(histories: Sequence[SiteHistory]) -> list[Finding]:
    """Which layers are not trained: a label, never an accusation."""
    still = [history for history in histories if _is_still(history)]
    unasked = [h for h in histories if h.site.unit_axis.source is AxisSource.NO_HISTORY]
    if not still and not unasked:
        return []
    labels = [history.site.label for history in (*unasked, *still)]
    shown = ", ".join(labels[: limit.SHOWN_LABELS]) + (" …" if len(labels) > limit.SHOWN_LABELS else "")
    parts = []
    if unasked:
        parts.append(
            f"No gradient is asked for below {', '.join(h.site.label for h in unasked[: limit.SHOWN_LABELS])}."
        )
    if still:
        names = ", ".join(h.site.label for h in still[: limit.SHOWN_LABELS])
        parts.append(f"The weights that feed {names} did not move at any counted step, although a gradient came.")
    return [
        Finding(
            name="frozen",
            severity="info",
            title=f"{len(labels)} {'layer is' if len(labels) == 1 else 'layers are'} frozen: {shown}",
            detail=" ".join(parts),
            cause="not asked: requires_grad=False, a learning rate of 0, or weights that no optimizer holds",
            advice="Nothing to do where that is meant.",
            evidence={"sites": len(labels), "without_history": len(unasked), "without_update": len(still)},
        )
    ]


def _is_still(history: SiteHistory) -> bool:
    updates, delta = history.update(), history.delta()
    known = np.isfinite(updates)
    taught = known & np.isfinite(delta) & (delta > 0)
    return int(taught.sum()) >= limit.LEAST_OBSERVATIONS and bool((updates[known] == 0).all())
