"""Findings about silent units: dead or suspected where silence means no gradient, stuck where it does not."""

from collections.abc import Sequence

import numpy as np

from rectifier.catalogue import parse
from rectifier.diagnosis import advice
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.causes import Cause, death_evidence, find_cause
from rectifier.diagnosis.history import BoolArray, SiteHistory, UnitStates
from rectifier.diagnosis.progress import Progress
from rectifier.diagnosis.words import died_at, percent
from rectifier.records import Finding, Severity

_BENT_BELOW = frozenset({"sigmoid", "tanh", "hardsigmoid", "softsign", "softplus", "logsigmoid"})
"""Activations that bend below 0 as above it: a gate that is always half closed, or a dark pixel, is nothing to tell."""

_ORDER: tuple[Severity, ...] = ("info", "warning", "serious")


def judge_silence(
    history: SiteHistory, below: Sequence[SiteHistory], progress: Progress, *, explained: str | None = None
) -> list[Finding]:
    """What is to be said of one site's silent units.

    Args:
        history: The site.
        below: Sites of the same model that are called earlier.
        progress: Of the model's training.
        explained: Name of a warning or worse about the whole model that says by itself why training does not progress.
            Layers that died in part are then no second alarm.
    """
    states = history.states
    if states is None or not states.stuck.any():
        return []
    if not history.flat_when_silent:
        return [] if parse(history.site.activation).activation.name in _BENT_BELOW else [_stuck(history, states)]
    return [_dead(history, states, find_cause(history, states.stuck, below), below, progress, explained)]


def _standing(history: SiteHistory, states: UnitStates, below: Sequence[SiteHistory]) -> tuple[str | None, str]:
    """Whether the units may come back by themselves, in a word and in a sentence (Shin & Karniadakis 2020).

    Dead units move only when something else moves them: a layer below, the data, momentum, decay.
    """
    moved = {site.site.label: site.recent_update for site in below}
    moving = {label: update for label, update in moved.items() if update is not None and update > 0}
    if moving:
        number, most = len(moving), max(moving.values())
        layers = "1 layer below still moves" if number == 1 else f"{number} layers below still move"
        return "tentative", f"Tentative: {layers}, by up to {percent(most)} of its weights a step."
    known = all(update is not None for update in moved.values())
    if known and states.stuck.all() and history.recent_update == 0 and (below or states.whole_data.all()):
        return "permanent", "Permanent: neither this layer's weights nor those below moved at the last counted steps."
    return None, ""


def _dead(
    history: SiteHistory,
    states: UnitStates,
    cause: Cause,
    below: Sequence[SiteHistory],
    progress: Progress,
    explained: str | None,
) -> Finding:
    units, dead, suspected = len(states.dead), int(states.dead.sum()), int(states.suspected.sum())
    counted = states.dead if dead else states.suspected
    title = f"{history.site.label}: {dead or suspected} of {_units(units)} {'dead' if dead else 'suspected dead'}"
    if dead and suspected:
        title += f", {suspected} more suspected"
    severity = _severity(history, states, cause, progress, explained)
    detail = [_since(history, states, counted), _sample(states, counted)]
    standing, why = _standing(history, states, below)
    if why:
        detail.append(why)
    if states.stuck.all():
        detail.append("Nothing passes through this layer, forward or back.")
    if progress.state == "none" and severity != "info":
        detail.append(f"Training does not progress: {progress.words}.")
    elif severity == "info" and explained is not None and (dead + suspected) / units >= limit.LARGE_SHARE:
        detail.append(f"That training does not progress is explained by the finding `{explained}`.")
    ended, silences = history.returns
    return Finding(
        name="dead-units",
        severity=severity,
        site=history.site.label,
        title=title,
        detail=" ".join(detail),
        cause=cause.text,
        advice=advice.LEAVE_ALONE if severity == "info" else advice.for_dead_units(cause),
        command=None if severity == "info" else advice.command_for(history.site.activation),
        units=tuple(int(unit) for unit in np.flatnonzero(counted)),
        evidence={
            "activation": history.site.activation,
            "units": units,
            "dead": dead,
            "suspected": suspected,
            "dead_fraction": dead / units,
            "least_samples": int(states.n[counted].min()),
            "firing_bound": None if np.isnan(states.bound[counted]).any() else float(states.bound[counted].max()),
            "silences": silences,
            "silences_ended": ended,
            "loss_start": progress.start if np.isfinite(progress.start) else None,
            "loss_end": progress.end if np.isfinite(progress.end) else None,
            "standing": standing,
            "cause": cause.kind,
            **cause.evidence,
            **death_evidence(history, counted),
        },
    )


def _severity(
    history: SiteHistory, states: UnitStates, cause: Cause, progress: Progress, explained: str | None
) -> Severity:
    """Dead units alone are information; a large share matters when something follows from it."""
    if cause.kind == "upstream":
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
    likely = min(_severity_of(states.stuck, history, cause, progress, stalled=stalled), "warning", key=_ORDER.index)
    return max(proven, likely, key=_ORDER.index)


def _severity_of(
    silent: BoolArray, history: SiteHistory, cause: Cause, progress: Progress, *, stalled: bool
) -> Severity:
    share, whole = float(silent.mean()), bool(silent.all())
    if share < limit.LARGE_SHARE:
        return "info"
    if (whole and progress.state != "some") or (share >= limit.SEVERE_SHARE and stalled):
        return "serious"
    if whole or stalled or (_is_rising(history) and _was_thrown(cause)):
        return "warning"
    return "info"


def _was_thrown(cause: Cause) -> bool:
    """Whether an update threw the weights away rather than adjusted them; a tenth of them is what first steps move."""
    if cause.kind not in ("update", "input"):
        return False
    size, factor = cause.evidence["update"], cause.evidence["update_over_median"]
    assert isinstance(size, float)
    assert isinstance(factor, float)
    return size >= limit.THROWN_UPDATE or factor >= limit.UPDATE_SPIKE


def _is_rising(history: SiteHistory) -> bool:
    shares = [share for _, share in history.silent_shares]
    early = shares[: max(1, len(shares) // 10)]
    return shares[-1] - float(np.mean(early)) >= limit.RISING_SHARE


def _units(number: int) -> str:
    return "1 unit" if number == 1 else f"{number:,} units"


def _since(history: SiteHistory, states: UnitStates, counted: BoolArray) -> str:
    born = int((states.born & counted).sum())
    died = states.last_fired[counted & ~states.born]
    first = int(history.steps()[0])
    parts = []
    if born:
        parts.append(f"{born} never fired" + (f" since step {first:,}, the first observed" if first else ""))
    if len(died):
        parts.append(f"{len(died)} last fired {died_at(history, died)}")
    return f"{' and '.join(parts)}."


def _sample(states: UnitStates, counted: BoolArray) -> str:
    least = int(states.n[counted].min())
    if states.whole_data[counted].all():
        return f"Silent since then on all {least:,} samples that this training showed."
    if np.isnan(states.bound[counted]).any():
        return (
            f"Silent since then on at least {least:,} visits; how many distinct samples that is cannot be told, so "
            "there is no bound."
        )
    bound = float(states.bound[counted].max())
    return f"Silent since then on at least {least:,} distinct samples: each fires on less than {percent(bound)} (95 %)."


def _stuck(history: SiteHistory, states: UnitStates) -> Finding:
    units, stuck = len(states.stuck), int(states.stuck.sum())
    ended, silences = history.returns
    back = f" So far {ended} of {silences} such silences ended." if silences > stuck else ""
    return Finding(
        name="stuck-negative",
        severity="info",
        site=history.site.label,
        title=f"{history.site.label}: {stuck} of {_units(units)} stuck on the negative side",
        detail=f"{_since(history, states, states.stuck)} {_sample(states, states.stuck)} "
        f"Under {history.site.activation} such a unit still learns, but is linear or flat.{back}",
        cause="not asked: these units have a gradient",
        advice=advice.STUCK,
        units=tuple(int(unit) for unit in np.flatnonzero(states.stuck)),
        evidence={
            "units": units,
            "stuck": stuck,
            "stuck_fraction": stuck / units,
            "silences": silences,
            "silences_ended": ended,
            **death_evidence(history, states.stuck),
        },
    )
