"""Findings about silent units: dead or suspected where silence means no gradient, stuck where it does not."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.causes import Cause, find_cause
from rectifier.diagnosis.history import BoolArray, SiteHistory, UnitStates
from rectifier.diagnosis.progress import Progress
from rectifier.records import Finding, IntArray, Severity


def judge_silence(history: SiteHistory, below: Sequence[SiteHistory], progress: Progress) -> list[Finding]:
    """What is to be said of one site's silent units.

    Args:
        history: The site.
        below: Sites of the same model that are called earlier.
        progress: Of the training as a whole.
    """
    states = history.states
    if states is None or not states.stuck.any():
        return []
    if not history.flat_when_silent:
        return [_stuck(history, states)]
    return [_dead(history, states, find_cause(history, states.stuck, below), progress)]


def _dead(history: SiteHistory, states: UnitStates, cause: Cause, progress: Progress) -> Finding:
    units, dead, suspected = len(states.dead), int(states.dead.sum()), int(states.suspected.sum())
    counted = states.dead if dead else states.suspected
    share = (dead + suspected) / units
    word = "dead" if dead else "suspected dead"
    title = f"{history.site.label}: {dead or suspected} of {units} units {word}"
    if dead and suspected:
        title += f", {suspected} more suspected"
    severity = _severity(history, states, share, cause, progress)
    detail = " ".join([_since(history, states, counted), _sample(states, counted)])
    if progress.state == "none" and severity != "info":
        detail += f" Training does not progress: {progress.words}."
    return Finding(
        name="dead-units",
        severity=severity,
        site=history.site.label,
        title=title,
        detail=detail,
        cause=cause.text,
        advice=_advice(severity, cause),
        command=_command(severity, history.site.activation),
        units=tuple(int(unit) for unit in np.flatnonzero(counted)),
        evidence={
            "units": units,
            "dead": dead,
            "suspected": suspected,
            "dead_fraction": dead / units,
            "born_dead": int((states.born & counted).sum()),
            "least_samples": int(states.n[counted].min()),
            "firing_bound": None if np.isnan(states.bound[counted]).any() else float(states.bound[counted].max()),
            "cause": cause.kind,
            "loss_start": progress.start if progress.steps else None,
            "loss_end": progress.end if progress.steps else None,
            **cause.evidence,
        },
    )


def _severity(history: SiteHistory, states: UnitStates, share: float, cause: Cause, progress: Progress) -> Severity:
    """Dead units alone are information; a large share matters when something follows from it."""
    if not states.dead.any() or share < limit.LARGE_SHARE:
        return "info"
    stalled = progress.state == "none"
    whole = bool((states.dead | states.suspected).all())
    if (whole and progress.state != "some") or (share >= limit.SEVERE_SHARE and stalled):
        return "serious"
    rising = _is_rising(history) and cause.kind == "update"
    if whole or stalled or rising:
        return "warning"
    return "info"


def _is_rising(history: SiteHistory) -> bool:
    shares = [share for _, share in history.silent_shares]
    early = shares[: max(1, len(shares) // 10)]
    return shares[-1] - float(np.mean(early)) >= limit.RISING_SHARE


def _since(history: SiteHistory, states: UnitStates, counted: BoolArray) -> str:
    born = int((states.born & counted).sum())
    died = states.last_fired[counted & ~states.born]
    parts = []
    if born:
        parts.append(f"{born} never fired")
    if len(died):
        gap = _longest_gap(history, died)
        within = f" (known to within {gap} steps)" if gap > 1 else ""
        when = f"step {died[0]:,}" if len(set(died.tolist())) == 1 else f"steps {died.min():,} to {died.max():,}"
        parts.append(f"{len(died)} last fired at {when}{within}")
    return f"{' and '.join(parts)}."


def _longest_gap(history: SiteHistory, died: IntArray) -> int:
    """The most steps between a last firing and the next observation, which is when the silence was first seen."""
    steps = history.steps()
    after = np.searchsorted(steps, died, side="right")
    seen = steps[np.minimum(after, len(steps) - 1)]
    return int((seen - died).max())


def _sample(states: UnitStates, counted: BoolArray) -> str:
    least = int(states.n[counted].min())
    if states.whole_data[counted].all():
        return f"Silent since on all {least:,} samples that this training showed."
    if np.isnan(states.bound[counted]).any():
        return (
            f"Silent since on at least {least:,} visits; how many distinct samples is not known, so there is no bound."
        )
    bound = float(states.bound[counted].max())
    return f"Silent since on at least {least:,} distinct samples: each fires on less than {bound:.2%} (95 %)."


def _stuck(history: SiteHistory, states: UnitStates) -> Finding:
    units, stuck = len(states.stuck), int(states.stuck.sum())
    return Finding(
        name="stuck-negative",
        severity="info",
        site=history.site.label,
        title=f"{history.site.label}: {stuck} of {units} units stuck on the negative side",
        detail=f"{_since(history, states, states.stuck)} {_sample(states, states.stuck)} "
        f"Under {history.site.activation} such a unit still learns, but is linear or flat.",
        cause="not asked: these units have a gradient",
        advice="Nothing to do unless the training stalls.",
        units=tuple(int(unit) for unit in np.flatnonzero(states.stuck)),
        evidence={"units": units, "stuck": stuck, "stuck_fraction": stuck / units},
    )


def _advice(severity: Severity, cause: Cause) -> str:
    if severity == "info":
        return (
            "Nothing to do: silent units alone do no harm, and on tuned ordinary networks Leaky ReLU usually changes "
            "nothing (ImageNet top-1 .471 with ReLU, .469 with slope 1/3: Mishkin et al. 2017)."
        )
    first = {
        "update": "First halve the learning rate or add warm-up: the weights moved too far at once.",
        "born": "First check the initialisation (He gain, biases) and the width: these units never had a gradient.",
        "upstream": "Mend the layer below first: these units only follow it.",
        "drift": "First try a smaller learning rate, or normalise the inputs of this layer.",
    }.get(cause.kind, "First try half the learning rate.")
    return (
        f"{first} Then compare slopes: Leaky ReLU keeps a gradient in every unit; 0.01 hardly changes the gradient's "
        "size, slopes of 0.1 to 0.3 are what moves hard problems. Measure it, it is not certain to help."
    )


def _command(severity: Severity, activation: str) -> str | None:
    if severity == "info":
        return None
    return f"rectifier run --swap {activation}=leaky_relu:0.1 train.py"
