"""Why units died: each candidate with its numbers, and unknown when the evidence does not carry one."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.decay import decay_of_weights
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.units.bias import bias_beyond_range
from rectifier.diagnosis.training.units.moments import died_together, whole_silence
from rectifier.records import (
    BoolArray,
    BornDead,
    BornDeadOrEarlier,
    Cause,
    CauseKind,
    Drift,
    InputScale,
    LargeBias,
    SilentBelow,
    UpdateAtDeath,
    ZeroWeights,
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
        or (Cause(kind=CauseKind.OUTPUT_ACTIVATION) if history.at_output else None)
        or _born(history, silent, below)
        or _decay(history)
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
    return (
        _zero_weight(history)
        or _inputs(history, below)
        or _bias(history, silent)
        or _narrow_or_initial(history, silent, below, born)
    )


def _narrow_or_initial(history: SiteHistory, silent: BoolArray, below: Sequence[SiteHistory], born: int) -> Cause:
    widths = [site.site.units for site in below if site.site.units is not None] + [len(silent)]
    facts = BornDead(never_fired=born, silent=int(silent.sum()), depth=len(widths), narrowest_width=min(widths))
    if born < len(silent):
        return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=facts)
    gains = _gains(history, below)
    facts = replace(
        facts, gains=len(gains), smallest_gain=min(gains, default=None), largest_gain=max(gains, default=None)
    )
    narrow = len(silent) <= limit.NARROW_LAYER
    return Cause(kind=CauseKind.NARROW_LAYER if narrow else CauseKind.INITIAL_WEIGHTS, facts=facts)


def _zero_weight(history: SiteHistory) -> Cause | None:
    """The weight that feeds the units was exactly 0 at the start: z is 0, or the bias, on every sample."""
    counts, weight = model_causes.last_counts(history.snapshots), history.weight
    if counts is None or weight is None or weight >= len(counts.weight_first) or counts.weight_first[weight] != 0:
        return None
    return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=ZeroWeights(weight=history.site.fed_by or ""))


def _inputs(history: SiteHistory, below: Sequence[SiteHistory]) -> Cause | None:
    """Of a first layer: inputs that never vary, or whose mean outweighs what differs between them."""
    found = None if below else model_causes.of_inputs(history.snapshots[-1])
    return None if found is None or isinstance(found.facts, InputScale) else found


def _bias(history: SiteHistory, silent: BoolArray) -> Cause | None:
    """Biases that outweigh by far what weights and inputs add, in the first window already."""
    found = bias_beyond_range(history, silent, below=True)
    if found is None:
        return None
    facts = LargeBias(bias=found[0], rest=found[1], units=int(silent.sum()))
    return Cause(kind=CauseKind.INITIAL_BIAS, facts=facts)


def _decay(history: SiteHistory) -> Cause | None:
    if history.weight is None:
        return None
    return decay_of_weights(model_causes.last_counts(history.snapshots), [history.weight])


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
    scale, offset = (of(history.snapshots[-1]) for of in (model_causes.scale_of, model_causes.offset_of))
    shared = offset is not None and offset > limit.LARGE_OFFSET
    if below or scale is None or not (scale > limit.LARGE_INPUT or shared):
        return Cause(kind=CauseKind.LEARNING_RATE, facts=found)
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
