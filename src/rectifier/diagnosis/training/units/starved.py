"""Findings about units that work and are not taught: starved ones, whose output nobody's loss asks for; frozen ones.

An exactly zero gradient only nominates a unit: losses cancel, heads begin at zero, margins are satisfied. So it must
last, while the unit fires, the loss is not 0, and no silent layer above explains it.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.parameters import ParameterState
from rectifier.diagnosis.training.history.places import compact
from rectifier.diagnosis.training.history.progress import Progress, loss_lives
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import (
    AxisSource,
    Cause,
    CauseKind,
    Consequence,
    Finding,
    FrozenLayers,
    IntArray,
    Rule,
    Series,
    Severity,
    StarvedLayer,
    StarvedUnits,
)


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
        if not history.site.repeated and _long_enough(steps) and loss_lives(loss, steps):
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
        findings.append(
            Finding(
                rule=Rule.STARVED,
                severity=severity,
                site=history.ref,
                cause=Cause(kind=CauseKind.DOWNSTREAM_CONSTANT if came else CauseKind.GRAPH_CUT),
                since=int(steps[0]),
                consequence=progress.consequence if everything else Consequence.NOT_ASKED,
                loss=progress.loss,
                remedies=remedies.STARVED if severity == "warning" else (),
                evidence=StarvedLayer(
                    steps=len(steps),
                    first_step=int(steps[0]),
                    last_step=int(steps[-1]),
                    exact_zero=came,
                    everything=everything,
                ),
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
        int(steps[0]) - 1 for steps in lacking if len(steps) and _long_enough(steps) and loss_lives(loss, steps)
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
        rule=Rule.STARVED,
        severity="info",
        site=history.ref,
        cause=Cause(kind=CauseKind.DOWNSTREAM_CONSTANT),
        since=int(since[0]),
        units=tuple(int(unit) for unit in np.flatnonzero(starved)),
        evidence=StarvedUnits(
            units=units,
            starved=number,
            starved_fraction=number / units,
            steps=len(since),
            first_step=int(since[0]),
            last_step=int(since[-1]),
        ),
    )


def judge_frozen(histories: Sequence[SiteHistory], parameters: Sequence[ParameterState] | None = None) -> list[Finding]:
    """Which layers and parameters are not trained on purpose: a label, never an accusation.

    Args:
        histories: Of one model.
        parameters: Its parameters; None where they were not looked at.
    """
    # That weights do not move has several causes. `untrained` tells them apart, after more steps.
    told = {state.parameter.path for state in parameters or () if state.lack is not None}
    still = tuple(h.ref for h in histories if _is_still(h) and (h.site.fed_by is None or h.site.fed_by not in told))
    unasked = tuple(h.ref for h in histories if h.site.unit_axis.source is AxisSource.NO_HISTORY)
    frozen = [state.parameter for state in parameters or () if state.frozen]
    if not still and not unasked and not frozen:
        return []
    everyone = [state.parameter.path for state in parameters or ()]
    return [
        Finding(
            rule=Rule.FROZEN,
            severity="info",
            cause=Cause(kind=CauseKind.UNKNOWN if still else CauseKind.FROZEN),
            evidence=FrozenLayers(
                sites=len(unasked) + len(still),
                without_history=unasked,
                without_update=still,
                parameters=len(frozen),
                elements=sum(parameter.size for parameter in frozen),
                places=compact([parameter.path for parameter in frozen], everyone),
            ),
        )
    ]


def _is_still(history: SiteHistory) -> bool:
    updates, delta = history.update(), history.delta()
    known = np.isfinite(updates)
    taught = known & np.isfinite(delta) & (delta > 0)
    return int(taught.sum()) >= limit.LEAST_OBSERVATIONS and bool((updates[known] == 0).all())
