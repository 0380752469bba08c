"""Why units died: each candidate with its numbers, and "cause unknown" when the evidence does not carry one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.history import BoolArray, SiteHistory

Kind = Literal["upstream", "born", "update", "drift", "unknown"]


@dataclass(frozen=True)
class Cause:
    """One cause.

    Attributes:
        kind: Which candidate of the differential.
        text: One sentence with its numbers.
        evidence: The numbers by name.
    """

    kind: Kind
    text: str
    evidence: dict[str, float | int | str | None]


def find_cause(history: SiteHistory, silent: BoolArray, below: Sequence[SiteHistory]) -> Cause:
    """The first candidate that the evidence carries for a site's silent units.

    Args:
        history: The site.
        silent: (U,) the units in question.
        below: Sites of the same model that are called earlier, in their order.
    """
    assert history.states is not None
    return (
        _upstream(history, silent, below)
        or _born(history, silent, below)
        or _update(history, silent)
        or _drift(history, silent)
        or _unknown(history, silent)
    )


def _upstream(history: SiteHistory, silent: BoolArray, below: Sequence[SiteHistory]) -> Cause | None:
    """Everything of an earlier layer is silent, and was so no later than these units."""
    assert history.states is not None
    ours = int(history.states.last_fired[silent].max())
    for earlier in below:
        states = earlier.states
        if states is None or not states.silent.all():
            continue
        theirs = int(states.last_fired.max())
        if theirs <= ours:
            since = "has been silent from the start" if theirs < 0 else f"fell silent after step {theirs}"
            text = f"upstream death: all {len(states.dead)} units of {earlier.site.label} below it {since}"
            return Cause("upstream", text, {"upstream": earlier.site.label, "upstream_last_fired": theirs})
    return None


def _born(history: SiteHistory, silent: BoolArray, below: Sequence[SiteHistory]) -> Cause | None:
    assert history.states is not None
    born = int((history.states.born & silent).sum())
    if born * 2 < silent.sum():
        return None
    widths = [site.site.units for site in below if site.site.units is not None] + [len(silent)]
    # Lu, Shin, Su & Karniadakis 2019: exact for data on one ray, zero biases and symmetric weights.
    chance = 1.0 - float(np.prod([1.0 - 2.0 ** -min(width, 1000) for width in widths]))
    text = (
        f"born dead: {born} of {int(silent.sum())} never fired since the first observation (layer {len(widths)}, "
        f"narrowest width so far {min(widths)}"
    )
    if silent.all():
        # Where biases or several inputs matter, the chance is smaller: it is context, not evidence.
        text += (
            f"; one input alone finds a whole layer off in {chance:.2g} of networks with symmetric weights and no bias"
        )
    return Cause("born", text + ")", {"born_dead": born, "depth": len(widths), "narrowest_width": min(widths)})


def _update(history: SiteHistory, silent: BoolArray) -> Cause | None:
    """The update at the time of death was large by itself, or a spike against its running median."""
    found = update_at_death(history, silent)
    if found is None:
        return None
    step, size, times = found
    if size < limit.LARGE_UPDATE and times < limit.UPDATE_SPIKE:
        return None
    text = (
        f"killed by an update: around step {step}, when half of them had gone, one step moved the weights by "
        f"{size:.0%} of their norm ({times:.1f} times the median before)"
    )
    return Cause("update", text, {"update_step": step, "update": size, "update_over_median": times})


def update_at_death(history: SiteHistory, silent: BoolArray) -> tuple[int, float, float] | None:
    """(step, ‖Δw‖/‖w‖, times its running median) when the median unit last fired; None when unknown.

    The largest update between its last firing and the next observation is taken: one of those killed it.
    """
    assert history.states is not None
    died = history.states.last_fired[silent & ~history.states.born]
    steps, updates = history.steps(), history.update()
    if not len(died) or np.isnan(updates).all():
        return None
    middle = int(np.sort(died)[(len(died) - 1) // 2])
    at = int(np.searchsorted(steps, middle))
    around = updates[at : at + 2]
    if not len(around) or np.isnan(around).all():
        return None
    size = float(np.nanmax(around))
    before = updates[: at + 1]
    median = float(np.nanmedian(before)) if not np.isnan(before).all() else float("nan")
    return middle, size, size / median if median > 0 else 1.0


def _drift(history: SiteHistory, silent: BoolArray) -> Cause | None:
    """Mean pre-activation = w·E[input] + b: how far it fell since the first window, and which term moved."""
    first, end = history.windows[0], history.windows[-1]
    if first.pre_mean is None or end.pre_mean is None or not len(end.pre_mean):
        return None
    fell = end.pre_mean[silent] - first.pre_mean[silent]
    if not np.isfinite(fell).all() or np.median(fell) >= 0:
        return None
    evidence: dict[str, float | int | str | None] = {
        "pre_activation_first": float(np.median(first.pre_mean[silent])),
        "pre_activation_last": float(np.median(end.pre_mean[silent])),
    }
    text = (
        f"drift: their mean pre-activation fell from {evidence['pre_activation_first']:.2g} to "
        f"{evidence['pre_activation_last']:.2g} (medians)"
    )
    if first.bias is not None and end.bias is not None and len(end.bias):
        by_bias = float(np.median(end.bias[silent] - first.bias[silent]))
        by_rest = float(np.median(fell - (end.bias[silent] - first.bias[silent])))
        evidence.update({"moved_by_bias": by_bias, "moved_by_weights_and_inputs": by_rest})
        text += f"; the bias moved it by {by_bias:+.2g}, weights times inputs by {by_rest:+.2g}"
    return Cause("drift", text, evidence)


def _unknown(history: SiteHistory, silent: BoolArray) -> Cause:
    found = update_at_death(history, silent)
    if found is None:
        return Cause("unknown", "cause unknown", {})
    step, size, times = found
    text = (
        f"cause unknown: around step {step} the weights moved by {size:.2%} a step, {times:.1f} times the median before"
    )
    return Cause("unknown", text, {"update_step": step, "update": size, "update_over_median": times})
