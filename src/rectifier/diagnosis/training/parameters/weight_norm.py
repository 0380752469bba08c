"""The finding about weights that shrink away or grow without bound while nothing is learned.

Norms are compared between the start and the end. Weight decay is named where it outweighs the gradient, or where it
alone makes most of the way: a step of decay multiplies a weight by 1 − lr · decay.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.decay import decay_of_run
from rectifier.diagnosis.training.history.parameters import ParameterState, ParameterStates
from rectifier.diagnosis.training.history.places import compact
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import (
    Cause,
    CauseKind,
    DecayOfWeights,
    Finding,
    LargeUpdate,
    ParameterCounts,
    ParameterRef,
    Rule,
    WeightNorms,
)


def judge_weight_norms(
    model: str, states: ParameterStates, histories: Sequence[SiteHistory], progress: Progress
) -> list[Finding]:
    """Weights of one model that shrank below a hundredth, or grew above a hundredfold, without progress.

    Args:
        model: Its name.
        states: Of the process's parameters.
        histories: The model's sites.
        progress: Of its training.
    """
    if progress.state != "none":
        return []
    weights = [state for state in states.trainable if state.parameter.model == model and _is_weight(state, states)]
    ratios = {state.index: _ratio(state, states.counts) for state in weights}
    shrunk = [state for state in weights if ratios[state.index] < limit.SHRUNK_NORM]
    grown = [state for state in weights if ratios[state.index] > limit.GROWN_NORM]
    return [
        _finding(group, weights, states, _cause(group, grew, states, histories), progress)
        for group, grew in ((shrunk, False), (grown, True))
        if group
    ]


def _is_weight(state: ParameterState, states: ParameterStates) -> bool:
    if len(state.parameter.shape) < 2 or not states.held(state):
        return False
    norms = states.counts.weight_first[state.index], states.counts.weight_last[state.index]
    return bool(np.isfinite(norms).all() and norms[0] > 0)


def _ratio(state: ParameterState, counts: ParameterCounts) -> float:
    return float(counts.weight_last[state.index] / counts.weight_first[state.index])


def _most(group: Sequence[ParameterState], counts: ParameterCounts) -> ParameterState:
    # A weight of exactly 0 has shrunk most; its logarithm is infinite.
    with np.errstate(divide="ignore"):
        return max(group, key=lambda state: abs(float(np.log(_ratio(state, counts)))))


def _cause(
    group: Sequence[ParameterState], grew: bool, states: ParameterStates, histories: Sequence[SiteHistory]
) -> Cause:
    if grew:
        return _largest_update(histories)
    counts, at = states.counts, _most(group, states.counts).index
    decay, rate = float(counts.weight_decay[at]), float(counts.learning_rate[at])
    if not decay > 0 or not rate > 0:
        return Cause()
    gradient, looked = float(counts.gradient[at]), int(counts.last_looked[at])
    steps = int(counts.last_compared[at] - counts.first_compared[at])
    with np.errstate(divide="ignore"):
        lost = -float(np.log(counts.weight_last[at] / counts.weight_first[at]))
    # The gradient may have been looked at long before the end. Decay shrinks a weight by the same factor at each step.
    share = np.clip((looked - counts.first_compared[at]) / max(steps, 1), 0, 1)
    norm = float(counts.weight_first[at] * np.exp(-lost * share))
    outweighs = np.isfinite(gradient) and decay * norm > gradient
    alone = float(decay_of_run(counts, [at])[0])
    if counts.weight_last[at] == 0:
        # Only that it fell below the smallest number is known; a gradient of 0 is no rival then.
        enough = alone >= limit.DECAY_SHARE * limit.TO_ZERO
    else:
        enough = outweighs or alone >= limit.DECAY_SHARE * lost
    if not enough:
        return Cause()
    facts = DecayOfWeights(
        weight_decay=decay,
        learning_rate=rate,
        decay_norm=decay * norm,
        gradient_norm=gradient if np.isfinite(gradient) else None,
        looked_step=looked,
    )
    return Cause(kind=CauseKind.WEIGHT_DECAY, facts=facts)


def _largest_update(histories: Sequence[SiteHistory]) -> Cause:
    worst: LargeUpdate | None = None
    for history in histories:
        updates = history.update()
        known = np.isfinite(updates)
        if known.any() and (worst is None or updates[known].max() > worst.update):
            at = int(history.steps()[known][updates[known].argmax()])
            worst = LargeUpdate(update=float(updates[known].max()), update_step=at, layer=history.ref)
    if worst is None or worst.update < limit.LARGE_UPDATE:
        return Cause()
    return Cause(kind=CauseKind.LEARNING_RATE, facts=worst)


def _finding(
    group: Sequence[ParameterState],
    weights: Sequence[ParameterState],
    states: ParameterStates,
    cause: Cause,
    progress: Progress,
) -> Finding:
    counts = states.counts
    most = _most(group, counts)
    model, indices = most.parameter.model, [state.index for state in group]
    everyone = [state.parameter.path for state in states.every if state.parameter.model == model]
    advised = remedies.for_weight_norm(cause)
    return Finding(
        rule=Rule.WEIGHT_NORM,
        # Where most of a network is gone, nothing is left to learn with.
        severity="serious" if 2 * len(group) >= len(weights) else "warning",
        site=ParameterRef(most.parameter.path) if len(group) == 1 else None,
        cause=cause,
        consequence=progress.consequence,
        loss=progress.loss,
        remedies=advised,
        fixes=remedies.lines_for(advised),
        evidence=WeightNorms(
            model=model,
            grew=_ratio(most, counts) > 1,
            weights=len(group),
            of_weights=len(weights),
            places=compact([state.parameter.path for state in group], everyone),
            most=most.parameter.path,
            norm_first=float(counts.weight_first[most.index]),
            norm_last=float(counts.weight_last[most.index]),
            first_step=int(counts.first_compared[indices].min()),
            last_step=int(counts.last_compared[indices].max()),
        ),
    )
