"""Causes that concern a model as a whole: what goes in, what the loss does with its output, what moves its weights."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import (
    Cause,
    CauseKind,
    ConstantInputs,
    FloatArray,
    InputOffset,
    InputScale,
    IntArray,
    LargeUpdate,
    LossOperations,
    LostOverCalls,
    OptimizerState,
    Output,
    ParameterCounts,
    Process,
    SmallUpdates,
    Snapshot,
)

_EXPECTS_LOGITS = frozenset({"LogSoftmax", "BinaryCrossEntropyWithLogits"})
_SQUASHES = frozenset({"Softmax", "Sigmoid", "Relu", "Tanh"})
_SAME = frozenset({"View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute", "Clone"})
"""Operations that leave each number as it is."""
_STRETCHED = frozenset({"MseLoss", "Pow", "SmoothL1Loss", "HuberLoss", "L1Loss"})


def of_loss(output: Output) -> Cause | None:
    """What stands between an output and its loss and does not belong there.

    Logits that are squashed before a loss that squashes them itself; rows that are stretched over all targets, so that
    each answer is compared with every target and the best one is their mean.
    """
    path = [name for name in output.loss if name not in _SAME]
    for loss, before in itertools.pairwise(path):
        if loss in _EXPECTS_LOGITS and before in _SQUASHES:
            return Cause(kind=CauseKind.OUTPUT_ACTIVATION, facts=LossOperations(loss=loss, before=before))
        if loss in _STRETCHED and before == "Expand" and output.units == 1:
            return Cause(kind=CauseKind.LOSS_SHAPE, facts=LossOperations(loss=loss, before=before))
    return None


def of_inputs(snapshot: Snapshot) -> Cause | None:
    """Inputs that never vary, that lie far from 0 for what differs between them, or that are large.

    Args:
        snapshot: The last one.
    """
    facts, distinct = snapshot.inputs, snapshot.distinct_samples
    # Of a large input only the first features are looked at; γ is of all, and None where nothing varies.
    constant = facts is not None and 0 < facts.features == facts.constant_features and snapshot.input_offset is None
    if (facts is not None and facts.zero) or constant or distinct == 1:
        shown = ConstantInputs(
            constant_features=facts.constant_features if facts is not None and facts.features else None,
            features=facts.features if facts is not None and facts.features else None,
            distinct_samples=distinct,
            zero=facts is not None and facts.zero,
        )
        return Cause(kind=CauseKind.INPUT_CONSTANT, facts=shown)
    offset, scale = offset_of(snapshot), scale_of(snapshot)
    if offset is not None and offset > limit.LARGE_OFFSET:
        return Cause(kind=CauseKind.INPUT_SCALE, facts=InputOffset(input_offset=offset))
    if scale is not None and scale > limit.LARGE_INPUT:
        return Cause(kind=CauseKind.INPUT_SCALE, facts=InputScale(input_rms=scale))
    return None


def scale_of(snapshot: Snapshot) -> float | None:
    """Root mean square of the inputs; of what the model makes of them, where that is nearer to 1.

    Where the inputs themselves are not large and what the first layer is given is, that counts: a model may put another
    number beside them.

    Args:
        snapshot: The last one.
    """
    scale, facts = snapshot.input_rms, snapshot.inputs
    if scale is None or facts is None or facts.given_square is None:
        return scale
    given = float(facts.given_square**0.5)
    if given > limit.LARGE_INPUT >= scale:
        return given
    return min(scale, max(given, 1.0)) if scale > 1.0 else max(scale, min(given, 1.0))


def offset_of(snapshot: Snapshot) -> float | None:
    """γ = ‖μ‖/‖σ‖ of the inputs; of what the model makes of them, where that is less.

    Args:
        snapshot: The last one.
    """
    offset, facts = snapshot.input_offset, snapshot.inputs
    if offset is None or facts is None or facts.given_square is None or not facts.given_spread:
        return offset
    return min(offset, float(max(facts.given_square / facts.given_spread - 1, 0.0) ** 0.5))


def last_counts(snapshots: Sequence[Snapshot]) -> ParameterCounts | None:
    """What was last known of the parameters; None where none was looked at."""
    return next((shot.parameters for shot in reversed(snapshots) if shot.parameters is not None), None)


def held_by_optimizers(model: str, process: Process) -> Iterator[tuple[ParameterCounts, OptimizerState, IntArray]]:
    """Each optimizer that holds parameters of a model, with the positions of these among all.

    Args:
        model: Its name.
        process: The training.
    """
    counts = last_counts(process.snapshots)
    if counts is None:
        return
    whose = np.array([one.model == model for one in process.parameters[: len(counts.optimizer)]], bool)
    for at, optimizer in enumerate(counts.optimizers):
        own = np.flatnonzero(whose & (counts.optimizer == at))
        if len(own):
            yield counts, optimizer, own


def epsilon_and_gradient(model: str, process: Process) -> tuple[float | None, float]:
    """Adam's `eps`, and the root mean square of a weight's gradient (median over the weights) at the last look.

    Args:
        model: Its name.
        process: The training.
    """
    counts = last_counts(process.snapshots)
    if counts is None:
        return None, 0.0
    own = [
        index
        for index, one in enumerate(process.parameters[: len(counts.epsilon)])
        if one.model == model and len(one.shape) > 1 and counts.epsilon[index] > 0 and counts.gradient[index] > 0
    ]
    if not own:
        return None, 0.0
    sizes = [float(counts.gradient[index]) / process.parameters[index].size ** 0.5 for index in own]
    return float(counts.epsilon[own].min()), float(np.median(sizes))


def loss_is_flat(model: str, process: Process, loss: float) -> bool:
    """Whether a step of plain descent as long as a weight itself would hardly change the loss: no rate is too low then.

    To first order a weight that moves by its own norm along the gradient changes the loss by ‖∂L/∂w‖‖w‖. Adam's steps
    do not depend on the gradient's size.

    Args:
        model: Its name.
        process: The training.
        loss: At the end.
    """
    counts = last_counts(process.snapshots)
    if counts is None or not loss > 0 or epsilon_and_gradient(model, process)[0] is not None:
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        changes = counts.gradient * counts.weight_last / loss
    own = [
        float(changes[at])
        for at, one in enumerate(process.parameters[: len(changes)])
        if one.model == model and len(one.shape) > 1 and np.isfinite(changes[at])
    ]
    return bool(own) and max(own) < limit.PLATEAU_FRACTION


def update_and_rate(histories: Sequence[SiteHistory]) -> tuple[float | None, float | None]:
    """Largest median ‖Δw‖/‖w‖ of any layer's weights a step, and the last learning rate that is known."""
    updates = [float(np.median(known)) for one in histories if len(known := _finite(one.update()))]
    rates = [float(known[-1]) for one in histories if len(known := _finite(one.learning_rate()))]
    return max(updates, default=None), max(rates, default=None)


def of_recurrence(model: str, process: Process) -> Cause | None:
    """A gradient of which nothing is left behind a recurrent weight: what comes before it got exact zeros only.

    Args:
        model: Its name.
        process: The training.
    """
    counts = last_counts(process.snapshots)
    if counts is None or counts.uses is None:
        return None
    uses = counts.uses
    own = [at for at, one in enumerate(process.parameters[: len(uses)]) if one.model == model]
    first_lost = next((at for at in own if 0 < counts.looked[at] == counts.zero_gradient[at]), len(uses))
    passed = [
        at
        for at in own
        if at > first_lost and uses[at] >= limit.LOST_CALLS and counts.last_nonzero[at] >= 0
        if len(process.parameters[at].shape) > 1
    ]
    if not passed:
        return None
    most = max(passed, key=lambda at: int(uses[at]))
    facts = LostOverCalls(weight=process.parameters[most].path, calls=int(uses[most]))
    return Cause(kind=CauseKind.RECURRENCE, facts=facts)


def of_small_updates(histories: Sequence[SiteHistory]) -> Cause | None:
    """Weights that do not move, or hardly do.

    Args:
        histories: Of one model.
    """
    update, rate = update_and_rate(histories)
    if (rate is not None and rate <= limit.ZERO_RATE) or (update == 0 and rate is None):
        return Cause(kind=CauseKind.LEARNING_RATE_ZERO, facts=SmallUpdates(update=update or 0.0, learning_rate=rate))
    if update is not None and update < limit.SMALL_UPDATE:
        return Cause(kind=CauseKind.LEARNING_RATE_LOW, facts=SmallUpdates(update=update, learning_rate=rate))
    return None


def of_thrown_start(histories: Sequence[SiteHistory]) -> Cause | None:
    """First updates that moved the weights of most layers by half and more: what they began with is gone.

    Args:
        histories: Of one model.
    """
    thrown: list[tuple[float, str, LargeUpdate]] = []
    for history in histories:
        steps, update = history.steps(), history.update()
        early = np.flatnonzero(np.isfinite(update))[: limit.LEAST_OBSERVATIONS]
        if len(early) and not int(steps[0]) and float(update[early].max()) >= limit.THROWN_UPDATE:
            at = early[int(update[early].argmax())]
            facts = LargeUpdate(update=float(update[at]), update_step=int(steps[at]), layer=history.ref, onset=0)
            thrown.append((facts.update, history.ref.key, facts))
    if not thrown or 2 * len(thrown) <= len(histories):
        return None
    return Cause(kind=CauseKind.LEARNING_RATE, facts=max(thrown, key=lambda one: one[:2])[2])


def of_large_update(histories: Sequence[SiteHistory], onset: int) -> Cause | None:
    """The largest update of any layer up to a step, where it moved a tenth of the weights or more.

    Args:
        histories: Of one model.
        onset: That step.
    """
    largest = max(
        (
            (float(update), int(step), history.ref)
            for history in histories
            for step, update in zip(history.steps(), history.update(), strict=True)
            if np.isfinite(update) and step <= onset
        ),
        key=lambda one: (one[0], one[1], one[2].key),
        default=None,
    )
    if largest is None or largest[0] < limit.LARGE_UPDATE:
        return None
    size, step, layer = largest
    facts = LargeUpdate(update=size, update_step=step, layer=layer, onset=onset)
    return Cause(kind=CauseKind.LEARNING_RATE, facts=facts)


def _finite(values: FloatArray) -> FloatArray:
    known: FloatArray = values[np.isfinite(values)]
    return known
