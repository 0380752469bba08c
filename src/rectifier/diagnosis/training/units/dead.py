"""Findings about silent units: dead or suspected where silence means no gradient, stuck where it does not."""

from collections.abc import Sequence

import numpy as np

from rectifier.catalogue import parse
from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.history.units import UnitStates
from rectifier.diagnosis.training.units.causes import find_cause
from rectifier.diagnosis.training.units.moments import deaths_of
from rectifier.records import (
    BoolArray,
    BornDead,
    Cause,
    CauseKind,
    Consequence,
    DeadUnits,
    Finding,
    Rule,
    SampleSize,
    Severity,
    Standing,
    StuckUnits,
    UpdateAtDeath,
    rank,
)

_BENT_BELOW = frozenset({"sigmoid", "tanh", "hardsigmoid", "softsign", "softplus", "logsigmoid"})
"""Activations that bend below 0 as above it: a gate that is always half closed, or a dark pixel, is nothing to tell."""


def judge_silence(
    history: SiteHistory, below: Sequence[SiteHistory], progress: Progress, *, explained: Rule | None = None
) -> list[Finding]:
    """What is to be said of one site's silent units.

    Args:
        history: The site.
        below: Sites of the same model that are called earlier.
        progress: Of the model's training.
        explained: Rule of a warning or worse about the whole model that says by itself why training does not progress.
            Layers that died in part are then no second alarm.
    """
    states = history.states
    if states is None or not states.stuck.any():
        return []
    if not history.flat_when_silent:
        return [] if parse(history.site.activation).activation.name in _BENT_BELOW else [_stuck(history, states)]
    return [_dead(history, states, find_cause(history, states.stuck, below), below, progress, explained)]


def _dead(
    history: SiteHistory,
    states: UnitStates,
    cause: Cause,
    below: Sequence[SiteHistory],
    progress: Progress,
    explained: Rule | None,
) -> Finding:
    units, dead, suspected = len(states.dead), int(states.dead.sum()), int(states.suspected.sum())
    counted = states.dead if dead else states.suspected
    severity = _severity(history, states, cause, progress, explained)
    large = (dead + suspected) / units >= limit.LARGE_SHARE
    ended, silences = history.returns
    deaths = deaths_of(history, counted)
    standing, moving = _standing(history, states, below)
    return Finding(
        rule=Rule.DEAD_UNITS,
        severity=severity,
        site=history.ref,
        cause=cause,
        since=deaths.died_first_step,
        sample=_sample(history, states, counted),
        consequence=Consequence.NOT_ASKED if severity == "info" else progress.consequence,
        loss=progress.loss,
        remedies=() if severity == "info" else remedies.for_dead_units(cause),
        fixes=() if severity == "info" else remedies.comparison_of(history.site.activation),
        units=tuple(int(unit) for unit in np.flatnonzero(counted)),
        evidence=DeadUnits(
            activation=history.site.activation,
            units=units,
            dead=dead,
            suspected=suspected,
            dead_fraction=dead / units,
            silences=silences,
            silences_ended=ended,
            deaths=deaths,
            standing=standing,
            moving_layers=len(moving) if moving else None,
            largest_movement=max(moving, default=None),
            explained_by=explained if severity == "info" and large else None,
        ),
    )


def _standing(
    history: SiteHistory, states: UnitStates, below: Sequence[SiteHistory]
) -> tuple[Standing | None, list[float]]:
    """Whether the units may come back by themselves, and by how much the layers below move (Shin & Karniadakis 2020).

    Dead units move only when something else moves them: a layer below, the data, momentum, decay.
    """
    moved = {site.ref: site.recent_update for site in below}
    moving = [update for update in moved.values() if update is not None and update > 0]
    if moving:
        return Standing.TENTATIVE, moving
    known = all(update is not None for update in moved.values())
    if known and states.stuck.all() and history.recent_update == 0 and (below or states.whole_data.all()):
        return Standing.PERMANENT, []
    return None, []


def _severity(
    history: SiteHistory, states: UnitStates, cause: Cause, progress: Progress, explained: Rule | None
) -> Severity:
    """Dead units alone are information; a large share matters when something follows from it."""
    if cause.kind is CauseKind.UPSTREAM:
        # A consequence: the layer below is the alarm.
        return "info"
    if explained is not None and not states.stuck.all():
        return "info"
    stalled = progress.state == "none"
    proven = _severity_of(states.dead, history, cause, progress, stalled=stalled)
    if (states.n[states.suspected] < limit.LEAST_VISITS).any():
        return proven
    # What rests on too few samples for the definition is a warning at most.
    # A converged run is flat, too, and its first losses seldom tell.
    stalled = stalled and progress.steps >= limit.STALLED_STEPS
    likely = min(_severity_of(states.stuck, history, cause, progress, stalled=stalled), "warning", key=rank)
    return max(proven, likely, key=rank)


def _severity_of(
    silent: BoolArray, history: SiteHistory, cause: Cause, progress: Progress, *, stalled: bool
) -> Severity:
    share, whole = float(silent.mean()), bool(silent.all())
    if share < limit.LARGE_SHARE:
        return "info"
    if (whole and progress.state != "some") or (share >= limit.SEVERE_SHARE and stalled):
        return "serious"
    # A share below half that was there from the start explains no stall: that is a finding of its own.
    # What a network was born with does not make more and more of its units die.
    named = stalled and cause.kind is not CauseKind.UNKNOWN and not isinstance(cause.facts, BornDead)
    if whole and cause.kind is CauseKind.UNKNOWN and len(silent) < limit.REMARKABLE_UNITS:
        # The training progresses around it, and so few units die in healthy ones.
        return "info"
    nearly = share >= limit.NEARLY_ALL and len(silent) >= limit.LEAST_UNITS
    if whole or (_is_rising(history) and (nearly or named or _was_thrown(cause))):
        return "warning"
    return "info"


def _was_thrown(cause: Cause) -> bool:
    """Whether an update threw the weights away rather than adjusted them; a tenth of them is what first steps move."""
    facts = cause.facts
    if cause.kind is CauseKind.UNKNOWN or not isinstance(facts, UpdateAtDeath):
        return False
    spike = facts.update_over_median >= limit.UPDATE_SPIKE and facts.update >= limit.LARGE_UPDATE
    return facts.update >= limit.THROWN_UPDATE or spike


def _is_rising(history: SiteHistory) -> bool:
    shares = [share for _, share in history.silent_shares]
    early = shares[: max(1, len(shares) // 10)]
    return shares[-1] - float(np.mean(early)) >= limit.RISING_SHARE


def _sample(history: SiteHistory, states: UnitStates, counted: BoolArray) -> SampleSize:
    bound = states.bound[counted]
    return SampleSize(
        least_samples=int(states.n[counted].min()),
        firing_bound=None if np.isnan(bound).any() else float(bound.max()),
        whole_data=bool(states.whole_data[counted].all()),
        sequences=history.site.unit_axis.counts_tokens,
    )


def _stuck(history: SiteHistory, states: UnitStates) -> Finding:
    units, stuck = len(states.stuck), int(states.stuck.sum())
    ended, silences = history.returns
    deaths = deaths_of(history, states.stuck)
    return Finding(
        rule=Rule.STUCK_NEGATIVE,
        severity="info",
        site=history.ref,
        since=deaths.died_first_step,
        sample=_sample(history, states, states.stuck),
        units=tuple(int(unit) for unit in np.flatnonzero(states.stuck)),
        evidence=StuckUnits(
            activation=history.site.activation,
            units=units,
            stuck=stuck,
            stuck_fraction=stuck / units,
            silences=silences,
            silences_ended=ended,
            deaths=deaths,
        ),
    )
