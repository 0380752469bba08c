"""Why something is not finite: the first reason that the evidence carries."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.not_finite.first import First, Places
from rectifier.records import (
    Cause,
    CauseKind,
    GrowsOverCalls,
    HugeOutput,
    InputScale,
    LargeUpdate,
    LossBefore,
    NearOverflow,
    Origin,
    Process,
    SingleSamples,
    SmallEpsilon,
    TargetScale,
)

_WITHOUT_POLE = frozenset(
    {
        "MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "NllLoss", "NllLoss2D", "BinaryCrossEntropy",
        "BinaryCrossEntropyWithLogits", "LogSoftmax", "Softmax", "Sigmoid", "Tanh", "Relu", "Mean", "Sum", "Add", "Sub",
        "Mul", "Neg", "Abs", "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute",
        "Clone", "ToCopy", "Alias",
    }
)  # fmt: skip
"""Operations that give finite numbers, with finite derivatives, for finite numbers that are not huge."""


def find_cause(first: First, places: Places, process: Process, histories: Sequence[SiteHistory]) -> Cause:
    """The likely cause of the first place that was not finite.

    Args:
        first: It.
        places: All of them.
        process: What one process wrote.
        histories: Of all its sites.
    """
    if first.origin in (Origin.INPUT, Origin.TARGET) or _data_hold_it(process, places, first.step):
        return Cause(kind=CauseKind.INPUT_NOT_FINITE)
    if first.at_start:
        return Cause(kind=CauseKind.INITIAL_WEIGHTS)
    update = _largest_update(histories, first.step)
    diverged = places.loss_over_start is not None and places.loss_over_start >= limit.DIVERGED_LOSS
    thrown = update is not None and update.update >= limit.THROWN_UPDATE
    if first.origin is Origin.GRADIENT and not thrown and not diverged:
        return Cause(kind=CauseKind.NUMERICAL_OPERATION)
    if first.origin is Origin.LOSS and first.outputs_finite and _overflows(first, process):
        return Cause(kind=CauseKind.PRECISION)
    if first.origin is Origin.LOSS and first.step == 0 and (huge := _huge_outputs(process)) is not None:
        return huge
    if first.origin is Origin.LOSS and first.outputs_finite and not diverged:
        # Everything that came to it was finite, at this very step.
        return Cause(kind=CauseKind.LOSS_NOT_FINITE)
    if (grows := _grows_over_calls(histories, first.step)) is not None:
        return Cause(kind=CauseKind.RECURRENCE, facts=grows)
    if first.origin is not Origin.GRADIENT and (small := _small_epsilon(first, process)) is not None:
        return Cause(kind=CauseKind.OPTIMIZER_STATE, facts=small)
    if (scaled := _of_scale(process, histories, update, diverged=diverged)) is not None:
        return scaled
    if update is not None:
        return Cause(kind=CauseKind.LEARNING_RATE, facts=update)
    if (single := _single_samples(process, first.step)) is not None:
        return Cause(kind=CauseKind.BATCH_OF_ONE, facts=single)
    return _without_growth(first, places, process, histories, diverged=diverged)


def _huge_outputs(process: Process) -> Cause | None:
    """First outputs so large that any loss of them overflows: the weights made them, over many calls or at once."""
    first = next((window for shot in process.snapshots for window in shot.outputs if len(window.steps)), None)
    if first is None or not float(first.square[0]) ** 0.5 >= limit.HUGE_OUTPUT:
        return None
    output = process.outputs[first.output]
    counts = next((one.parameters for one in reversed(process.snapshots) if one.parameters is not None), None)
    size = float(first.square[0]) ** 0.5
    uses = None if counts is None else counts.uses
    calls = [
        (int(uses[at]), one.path)
        for at, one in enumerate(process.parameters[: 0 if uses is None else len(uses)])
        if uses is not None and one.model == output.model and len(one.shape) > 1 and uses[at] >= limit.LOST_CALLS
    ]
    most, weight = max(calls, default=(0, ""))
    kind = CauseKind.RECURRENCE if calls else CauseKind.INITIAL_WEIGHTS
    return Cause(kind=kind, facts=HugeOutput(output_rms=size, weight=weight, calls=most))


def _overflows(first: First, process: Process) -> bool:
    """Whether the first loss that was not finite was infinite, in a model whose weights are all float16."""
    loss = process.series("loss")
    value = loss.values[loss.steps == first.step]
    weights = [one.dtype for one in process.parameters if one.requires_grad]
    return bool(len(value)) and bool(np.isinf(value[0])) and set(weights) == {"float16"}


def _without_growth(
    first: First, places: Places, process: Process, histories: Sequence[SiteHistory], *, diverged: bool
) -> Cause:
    """Why it is so where no update was large: an operation at a pole, or a number format."""
    if first.step == 0 and first.origin in (Origin.ACTIVATION, Origin.OUTPUT) and places.inputs_finite:
        # Nothing has been learned yet: finite weights and inputs went in.
        return Cause(kind=CauseKind.NUMERICAL_OPERATION)
    if diverged or places.loss_over_start is None or (first.origin is Origin.PARAMETER and first.gradient_was_finite):
        return Cause()
    if (overflow := _near_overflow(histories, first.step)) is not None:
        return Cause(kind=CauseKind.PRECISION, facts=overflow)
    if first.origin is Origin.LOSS and _has_no_pole(process):
        # The batch of an unobserved step may have held it as well.
        return Cause()
    if places.inputs_finite:
        # Nothing grew. An operation with a pole did it, in this forward or in the backward pass before it.
        return Cause(kind=CauseKind.NUMERICAL_OPERATION, facts=LossBefore(loss_over_start=places.loss_over_start))
    return Cause()


def _has_no_pole(process: Process) -> bool:
    """Whether all that stands between the outputs and the loss is known, and is finite wherever its operands are."""
    paths = [output.loss for output in process.outputs]
    return bool(paths) and all(path and _WITHOUT_POLE.issuperset(path) for path in paths)


def _data_hold_it(process: Process, places: Places, step: int) -> bool:
    """Whether some batches hold NaN or an infinity, and others do not, after the first place that did.

    What is computed from the model (targets of its own, states that are given back) is not finite ever after. Data are
    not looked at in every step, so theirs may have been first.
    """
    facts = places.inputs
    if facts is not None and facts.nonfinite_step is not None and 2 * facts.nonfinite_samples < facts.samples:
        return True
    bad = [
        value
        for shot in process.snapshots
        for window in shot.outputs
        for value in window.nonfinite_target[window.steps > step]
    ]
    return bool(0 < sum(bad) < len(bad))


def _grows_over_calls(histories: Sequence[SiteHistory], step: int) -> GrowsOverCalls | None:
    """Whether one module's output grows over its calls within a forward, the last time all of them were counted."""
    calls: dict[tuple[str, str, str | None], list[SiteHistory]] = {}
    for history in histories:
        # One function behind several layers is called often, too, and is no recurrence.
        calls.setdefault((history.site.model, history.site.path, history.site.fed_by), []).append(history)
    for (_, path, _), own in calls.items():
        own = sorted(own, key=lambda history: history.site.call)
        sizes = [size for history in own if (size := _size_before(history, step)) is not None]
        if len(sizes) < limit.RECURRENT_CALLS or len(sizes) < len(own) or sizes[0] <= 0:
            continue
        grows = all(later >= earlier for earlier, later in itertools.pairwise(sizes))
        if grows and sizes[-1] >= limit.RECURRENT_GROWTH * sizes[0]:
            return GrowsOverCalls(module=path, calls=len(sizes), first_call=sizes[0], last_call=sizes[-1])
    return None


def _size_before(history: SiteHistory, step: int) -> float | None:
    """Mean absolute output in the last finite window that began before a step."""
    windows = [window for window in history.finite_windows if window.steps[0] <= step and len(window.mean_abs)]
    size = float(windows[-1].mean_abs.mean()) if windows else float("nan")
    return size if np.isfinite(size) else None


def _near_overflow(histories: Sequence[SiteHistory], step: int) -> NearOverflow | None:
    """The largest output in the last finite window before a step, where half precision was about to overflow."""
    largest: NearOverflow | None = None
    for history in histories:
        windows = [window for window in history.finite_windows if window.steps[0] <= step and len(window.highest)]
        if not windows:
            continue
        size = float(np.maximum(np.abs(windows[-1].highest), np.abs(windows[-1].lowest)).max())
        if np.isfinite(size) and (largest is None or size > largest.largest_output):
            largest = NearOverflow(layer=history.ref, largest_output=size)
    return largest if largest is not None and largest.largest_output >= limit.NEAR_HALF_OVERFLOW else None


def _small_epsilon(first: First, process: Process) -> SmallEpsilon | None:
    """`eps` of the optimizer of a weight in half precision that is not finite, where this rounds it to 0."""
    counts = next((one.parameters for one in reversed(process.snapshots) if one.parameters is not None), None)
    if counts is None or not first.gradient_was_finite:
        return None
    bad = (counts.nonfinite_weight_step >= first.step) & (counts.epsilon < limit.HALF_EPSILON)
    half = [one.dtype == "float16" for one in process.parameters[: len(bad)]]
    bad[: len(half)] &= half
    bad[len(half) :] = False
    return SmallEpsilon(epsilon=float(counts.epsilon[bad].max())) if bad.any() else None


def _single_samples(process: Process, step: int) -> SingleSamples | None:
    """Batches of one sample, the first of which came in the window in which it began."""
    before = 0
    for snapshot in process.snapshots:
        facts = snapshot.inputs
        if facts is None:
            continue
        if snapshot.step >= step:
            fits = not before and 0 < facts.batches_of_one < facts.batches and snapshot is not process.snapshots[0]
            return SingleSamples(batches_of_one=facts.batches_of_one, batches=facts.batches) if fits else None
        before = facts.batches_of_one
    return None


def _of_scale(
    process: Process, histories: Sequence[SiteHistory], update: LargeUpdate | None, *, diverged: bool
) -> Cause | None:
    """Inputs or targets on a large scale, which make gradients, and so updates, large."""
    scale = model_causes.scale_of(histories[0].snapshots[-1]) if histories else None
    if scale is not None and np.isfinite(scale) and scale > limit.LARGE_INPUT:
        facts = InputScale(input_rms=scale) if update is None else replace(update, input_rms=scale)
        return Cause(kind=CauseKind.INPUT_SCALE, facts=facts)
    targets = _target_rms(process)
    if targets is not None and targets > limit.LARGE_INPUT and (update is not None or diverged):
        return Cause(kind=CauseKind.TARGET_SCALE, facts=TargetScale(target_rms=targets))
    return None


def _target_rms(process: Process) -> float | None:
    """Root mean square of the targets at the first reading; None where the loss keeps none, or they are classes."""
    squares = [window.target_square for shot in process.snapshots for window in shot.outputs]
    first = next((value for one in squares for value in one if np.isfinite(value)), None)
    return None if first is None else float(first) ** 0.5


def _largest_update(histories: Sequence[SiteHistory], step: int) -> LargeUpdate | None:
    worst: LargeUpdate | None = None
    for history in histories:
        earlier = history.steps() < step
        steps, updates = history.steps()[earlier], history.update()[earlier]
        known = np.isfinite(updates)
        if not known.any():
            # An update that is itself not finite tells nothing that the finding does not.
            continue
        steps, updates = steps[known][-limit.LEAST_OBSERVATIONS :], updates[known]
        latest, median = updates[-limit.LEAST_OBSERVATIONS :], float(np.median(updates))
        size = float(latest.max())
        if worst is None or size > worst.update:
            worst = LargeUpdate(
                update=size,
                update_step=int(steps[int(latest.argmax())]),
                layer=history.ref,
                update_over_median=size / median if median > 0 else 1.0,
                median_known=len(updates) >= limit.LEAST_OBSERVATIONS,
            )
    if worst is None or worst.update_over_median is None:
        return None
    large = worst.update >= limit.LARGE_UPDATE or worst.update_over_median >= limit.UPDATE_SPIKE
    return worst if large else None
