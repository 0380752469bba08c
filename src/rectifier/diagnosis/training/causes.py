"""Why units died: each candidate with its numbers, and unknown when the evidence does not carry one."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.moments import died_together, whole_silence
from rectifier.diagnosis.training.born import one_input_probability
from rectifier.diagnosis.training.history import BoolArray, SiteHistory
from rectifier.records import (
    BornDead,
    BornDeadOrEarlier,
    Cause,
    CauseKind,
    Drift,
    SilentBelow,
    UpdateAtDeath,
)


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
        or Cause(facts=_update_at_death(history, silent))
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
        silence = whole_silence(earlier, theirs)
        facts = SilentBelow(
            upstream=earlier.ref,
            upstream_units=earlier.site.units,
            upstream_last_fired=silence.last_fired,
            upstream_known_within_steps=silence.known_within_steps,
            upstream_first_observed_step=silence.first_observed_step,
        )
        return Cause(kind=CauseKind.UPSTREAM, facts=facts)
    return None


def _born(history: SiteHistory, silent: BoolArray, below: Sequence[SiteHistory]) -> Cause | None:
    assert history.states is not None
    born, all_silent = int((history.states.born & silent).sum()), int(silent.sum())
    if born * 2 < all_silent:
        return None
    if first := int(history.steps()[0]):
        # Whoever comes in the middle of a training cannot tell the two apart.
        return Cause(facts=BornDeadOrEarlier(born_dead_or_earlier=born, silent=all_silent, first_observed=first))
    widths = [site.site.units for site in below if site.site.units is not None] + [len(silent)]
    facts = BornDead(never_fired=born, silent=all_silent, depth=len(widths), narrowest_width=min(widths))
    if born == len(silent):
        gains = _gains(history, below)
        # Lu, Shin, Su & Karniadakis 2019. With biases or several inputs it is less: context, not evidence.
        facts = replace(
            facts,
            born_dead_probability_one_input=one_input_probability(widths),
            gains=len(gains),
            smallest_gain=min(gains, default=None),
            largest_gain=max(gains, default=None),
        )
    return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=facts)


def _gains(history: SiteHistory, below: Sequence[SiteHistory]) -> list[float]:
    """Each layer's gain at the first counted step: the output's root mean square over that of the layer before."""
    sizes = [history.snapshots[-1].input_rms]
    sizes += [None if (square := site.square_at_start) is None else square**0.5 for site in (*below, history)]
    return [after / before for before, after in itertools.pairwise(sizes) if before and after]


def _update(history: SiteHistory, silent: BoolArray, below: Sequence[SiteHistory]) -> Cause | None:
    """The update at the time of death was large by itself, or a spike against its running median.

    The first layer's gradient is proportional to its input: inputs on a large scale are then what made it so.
    """
    found = _update_at_death(history, silent)
    if found is None or (found.update < limit.LARGE_UPDATE and found.update_over_median < limit.UPDATE_SPIKE):
        return None
    scale = history.snapshots[-1].input_rms
    if below or scale is None or scale <= limit.LARGE_INPUT:
        return Cause(kind=CauseKind.LEARNING_RATE, facts=found)
    offset = history.snapshots[-1].input_offset
    mostly = offset if offset is not None and offset > 1 else None
    return Cause(kind=CauseKind.INPUT_SCALE, facts=replace(found, input_rms=scale, input_offset=mostly))


def _update_at_death(history: SiteHistory, silent: BoolArray) -> UpdateAtDeath | None:
    """The update when the median unit last fired; None when unknown.

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
    found = UpdateAtDeath(
        update_step=middle,
        update=size,
        update_over_median=size / median if median > 0 else 1.0,
        median_known=len(before) >= limit.LEAST_OBSERVATIONS,
        silent=int(silent.sum()),
        at_once=died_together(history, silent),
    )
    return _driven(history, found)


def _driven(history: SiteHistory, found: UpdateAtDeath) -> UpdateAtDeath:
    """With the learning rate at its step, and how large ‖∂L/∂z‖ was there against its running median."""
    at = int(np.searchsorted(history.steps(), found.update_step))
    rates, deltas = history.learning_rate(), history.delta()
    rate = next((float(rate) for rate in rates[at : at + 2] if np.isfinite(rate)), None)
    around = deltas[at : at + 2][np.isfinite(deltas[at : at + 2])]
    before = deltas[: at + 1][np.isfinite(deltas[: at + 1])]
    factor = spike = None
    if len(around) and len(before) >= limit.LEAST_OBSERVATIONS and np.median(before) > 0:
        factor = float(around.max() / np.median(before))
        if factor < limit.GRADIENT_SPIKE:
            spike = _spike_before(history, found.update_step)
    return replace(found, learning_rate=rate, gradient_over_median=factor, gradient_spike_step=spike)


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


def _drift(history: SiteHistory, silent: BoolArray) -> Cause | None:
    """Mean pre-activation = w·E[input] + b: how far it fell since the first window, and which term moved.

    It tells how the units died and not why: the kind of the cause is unknown.
    """
    first, end = history.finite_windows[0], history.finite_windows[-1]
    if first.pre_mean is None or end.pre_mean is None or not len(end.pre_mean):
        return None
    before, after = first.pre_mean[silent], end.pre_mean[silent]
    fell = after - before
    if not np.isfinite(fell).all() or np.median(after) >= 0:
        return None
    if np.median(fell) > limit.DRIFT_SHARE * np.median(after):
        return None
    facts = Drift(pre_activation_first=float(np.median(before)), pre_activation_last=float(np.median(after)))
    if first.bias is not None and end.bias is not None and len(end.bias) == len(silent) == len(first.bias):
        by_bias = end.bias[silent] - first.bias[silent]
        facts = replace(
            facts,
            moved_by_bias=float(np.median(by_bias)),
            moved_by_weights_and_inputs=float(np.median(fell - by_bias)),
        )
    return Cause(facts=facts)
