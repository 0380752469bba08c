"""Why units died: each candidate with its numbers, and "cause unknown" when the evidence does not carry one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.born import one_input_probability
from rectifier.diagnosis.history import BoolArray, SiteHistory
from rectifier.diagnosis.words import longest_gap, none_has_fired, percent, times, update_words

Kind = Literal["upstream", "born", "input", "update", "drift", "unknown"]


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
    return (
        _upstream(history, silent, below)
        or _born(history, silent, below)
        or _update(history, silent, below)
        or _drift(history, silent)
        or _unknown(history, silent)
    )


def _upstream(history: SiteHistory, silent: BoolArray, below: Sequence[SiteHistory]) -> Cause | None:
    """Everything of an earlier layer is silent, was so no later than these units, and nothing else reaches them."""
    assert history.states is not None
    ours = int(history.states.last_fired[silent].max())
    for earlier in below:
        theirs = earlier.blocked_since
        if theirs is None or theirs > ours:
            continue
        varying = history.varying_fraction(theirs)
        if varying is not None and varying > limit.VARYING_FRACTION:
            # Another path brings samples here: the silent layer is not on the only one.
            continue
        assert earlier.site.units is not None
        text = (
            f"upstream death: none of the {earlier.site.units:,} units of {earlier.site.label} below "
            f"{none_has_fired(earlier, theirs)}"
        )
        return Cause("upstream", text, {"upstream": earlier.site.label, "upstream_last_fired": theirs})
    return None


def _born(history: SiteHistory, silent: BoolArray, below: Sequence[SiteHistory]) -> Cause | None:
    assert history.states is not None
    born, all_silent = int((history.states.born & silent).sum()), int(silent.sum())
    if born * 2 < all_silent:
        return None
    widths = [site.site.units for site in below if site.site.units is not None] + [len(silent)]
    if first := int(history.steps()[0]):
        # Whoever comes in the middle of a training cannot tell the two apart.
        text = (
            f"cause unknown: {born} of {all_silent} never fired since step {first:,}, the first observation; they were "
            "born dead, or died before it"
        )
        return Cause("unknown", text, {"born_dead_or_earlier": born, "first_observed": first})
    text = (
        f"born dead: {born} of {all_silent} never fired since the first observation (activation {len(widths)} from the "
        f"input, narrowest width up to it {min(widths)})"
    )
    evidence: dict[str, float | int | str | None] = {
        "born_dead": born,
        "depth": len(widths),
        "narrowest_width": min(widths),
    }
    if born == len(silent):
        # Lu, Shin, Su & Karniadakis 2019. With biases or several inputs it is less: context, not evidence.
        chance = one_input_probability(widths)
        evidence["born_dead_probability_one_input"] = chance
        share = percent(chance) if chance >= limit.RARE_CHANCE else f"fewer than {percent(limit.RARE_CHANCE)}"
        text += _gains(history, below, evidence)
        text += (
            f"; for a single input {share} of plain networks of these widths, with symmetric weights and zero biases, "
            "have a silent layer up to here, for many inputs fewer"
        )
    return Cause("born", text, evidence)


def _gains(history: SiteHistory, below: Sequence[SiteHistory], evidence: dict[str, float | int | str | None]) -> str:
    """Each layer's gain at the first counted step: the output's root mean square over that of the layer before."""
    sizes = [history.snapshots[-1].input_rms]
    sizes += [None if (square := site.square_at_start) is None else square**0.5 for site in (*below, history)]
    gains = [after / before for before, after in itertools.pairwise(sizes) if before and after]
    if not gains:
        return ""
    evidence |= {"smallest_gain": min(gains), "largest_gain": max(gains)}
    return f"; gain per layer {min(gains):.2g}" + (f" to {max(gains):.2g}" if len(gains) > 1 else "")


def _update(history: SiteHistory, silent: BoolArray, below: Sequence[SiteHistory]) -> Cause | None:
    """The update at the time of death was large by itself, or a spike against its running median.

    The first layer's gradient is proportional to its input: inputs on a large scale are then what made it so.
    """
    found = update_at_death(history, silent)
    if found is None:
        return None
    step, size, factor, words = found
    if size < limit.LARGE_UPDATE and factor < limit.UPDATE_SPIKE:
        return None
    when = f"around step {step:,}, when {_gone(history, silent)}"
    driven, evidence = _driven_by(history, step)
    text = f"killed by an update: {when}, one step moved the weights by {words}{driven}"
    evidence |= {"update_step": step, "update": size, "update_over_median": factor}
    scale = history.snapshots[-1].input_rms
    if not below and scale is not None and scale > limit.LARGE_INPUT:
        evidence["input_rms"] = scale
        offset = history.snapshots[-1].input_offset
        told = ""
        if offset is not None and offset > 1:
            evidence["input_offset"] = offset
            told = f", most of it their mean (γ = {offset:.2g} times what differs between samples)"
        return Cause("input", f"input scale: the root mean square of the inputs is {scale:.3g}{told}; {text}", evidence)
    return Cause("update", text, evidence)


def _driven_by(history: SiteHistory, step: int) -> tuple[str, dict[str, float | int | str | None]]:
    """The learning rate at a step, and how large ‖∂L/∂z‖ was there against its running median; "" where unknown."""
    at = int(np.searchsorted(history.steps(), step))
    rates, deltas = history.learning_rate(), history.delta()
    rate = next((float(rate) for rate in rates[at : at + 2] if np.isfinite(rate)), None)
    around = deltas[at : at + 2][np.isfinite(deltas[at : at + 2])]
    before = deltas[: at + 1][np.isfinite(deltas[: at + 1])]
    parts, evidence = [], {}
    if rate is not None:
        parts.append(f"the learning rate was {rate:.3g}")
        evidence["learning_rate"] = rate
    if len(around) and len(before) >= limit.LEAST_OBSERVATIONS and np.median(before) > 0:
        factor = float(around.max() / np.median(before))
        parts.append(f"‖∂L/∂z‖ {times(factor)} its median until then")
        evidence["gradient_over_median"] = factor
        if factor < limit.GRADIENT_SPIKE and (spike := _spike_before(history, step)) is not None:
            parts.append(f"it had spiked at step {spike:,}, and momentum carries that on")
            evidence["gradient_spike_step"] = spike
    return (f"; {', '.join(parts)}" if parts else ""), {**evidence}


def _spike_before(history: SiteHistory, step: int) -> int | None:
    """The last step, not long before this one, at which ‖∂L/∂z‖ was far above its median until then."""
    steps, deltas = history.steps(), history.delta()
    known = np.isfinite(deltas) & (steps < step)
    steps, deltas = steps[known], deltas[known]
    for at in range(len(deltas) - 1, limit.LEAST_OBSERVATIONS - 1, -1):
        if step - steps[at] > limit.CARRIED_STEPS:
            return None
        median = float(np.median(deltas[:at]))
        if median > 0 and deltas[at] > limit.GRADIENT_SPIKE * median:
            return int(steps[at])
    return None


def update_at_death(history: SiteHistory, silent: BoolArray) -> tuple[int, float, float, str] | None:
    """(step, ‖Δw‖/‖w‖, times its running median, both in words) when the median unit last fired; None when unknown.

    The larger of the updates at its last firing and at the next observation is taken: one of those killed it.
    """
    assert history.states is not None
    died = history.states.last_fired[silent & ~history.states.born]
    steps, updates = history.steps(), history.update()
    if not len(died):
        return None
    middle = int(np.sort(died)[(len(died) - 1) // 2])
    at = int(np.searchsorted(steps, middle))
    around = updates[at : at + 2]
    around = around[np.isfinite(around)]
    before = updates[: at + 1]
    before = before[np.isfinite(before)]
    if not len(around) or not len(before):
        return None
    size, median = float(around.max()), float(np.median(before))
    factor = size / median if median > 0 else 1.0
    return middle, size, factor, update_words(size, factor, len(before))


def died_together(history: SiteHistory, silent: BoolArray) -> bool:
    """Whether almost a whole layer of several units fell silent between two observations."""
    assert history.states is not None
    died = history.states.last_fired[silent & ~history.states.born]
    if len(silent) < 2 or len(died) < limit.TOGETHER_FRACTION * len(silent):
        return False
    return bool((died == died.max()).sum() >= limit.TOGETHER_FRACTION * len(silent))


def _gone(history: SiteHistory, silent: BoolArray) -> str:
    if died_together(history, silent):
        return "the layer fell silent at once"
    return "half of them had gone" if silent.sum() > 1 else "it went"


def _drift(history: SiteHistory, silent: BoolArray) -> Cause | None:
    """Mean pre-activation = w·E[input] + b: how far it fell since the first window, and which term moved."""
    first, end = history.finite_windows[0], history.finite_windows[-1]
    if first.pre_mean is None or end.pre_mean is None or not len(end.pre_mean):
        return None
    before, after = first.pre_mean[silent], end.pre_mean[silent]
    fell = after - before
    if not np.isfinite(fell).all() or np.median(after) >= 0:
        return None
    if np.median(fell) > limit.DRIFT_SHARE * np.median(after):
        return None
    evidence: dict[str, float | int | str | None] = {
        "pre_activation_first": float(np.median(before)),
        "pre_activation_last": float(np.median(after)),
    }
    text = (
        f"drift: their mean pre-activation fell from {np.median(before):.2g} in the first window to "
        f"{np.median(after):.2g} in the last (medians)"
    )
    if first.bias is not None and end.bias is not None and len(end.bias) == len(silent) == len(first.bias):
        by_bias = end.bias[silent] - first.bias[silent]
        evidence["moved_by_bias"] = float(np.median(by_bias))
        evidence["moved_by_weights_and_inputs"] = float(np.median(fell - by_bias))
        text += (
            f"; the bias moved it by {np.median(by_bias):+.2g}, "
            f"weights times inputs by {np.median(fell - by_bias):+.2g}"
        )
    return Cause("drift", text, evidence)


def _unknown(history: SiteHistory, silent: BoolArray) -> Cause:
    found = update_at_death(history, silent)
    if found is None:
        return Cause("unknown", "cause unknown", {})
    step, size, factor, words = found
    driven, evidence = _driven_by(history, step)
    text = (
        f"cause unknown: around step {step:,}, when {_gone(history, silent)}, one step moved the weights by {words}"
        f"{driven}"
    )
    return Cause("unknown", text, {"update_step": step, "update": size, "update_over_median": factor, **evidence})


def death_evidence(history: SiteHistory, silent: BoolArray) -> dict[str, float | int | str | None]:
    """Since when, as numbers: how many never fired, and the steps at which the others last did."""
    assert history.states is not None
    died = np.sort(history.states.last_fired[silent & ~history.states.born])
    return {
        "born_dead": int((history.states.born & silent).sum()),
        "died_first_step": int(died[0]) if len(died) else None,
        "died_median_step": int(died[(len(died) - 1) // 2]) if len(died) else None,
        "died_last_step": int(died[-1]) if len(died) else None,
        "died_known_within_steps": longest_gap(history, died) if len(died) else None,
        "died_at_once": int(died_together(history, silent)),
    }
