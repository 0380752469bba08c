"""What is wrong with the data, or with the values at the start."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.history.outputs import OutputHistory
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.output import standing
from rectifier.diagnosis.training.output.explained import first_costs
from rectifier.diagnosis.training.units.bias import bias_beyond_range
from rectifier.records import (
    BiasesBelowRange,
    Cause,
    CauseKind,
    EqualWeights,
    Holder,
    InitialGain,
    LargeFirstLoss,
    MostlyFrozen,
    Process,
    SmallInputs,
    SortedBatches,
    TargetOffset,
    TargetScale,
    ZeroAtFirst,
)

_OF_ROWS = frozenset({"Addmm", "Mm", "Linear"})
_FLATTENS = frozenset({"View", "UnsafeView", "ReshapeAlias", "NllLoss2D"})


def constant_inputs(process: Process, alone: bool) -> Cause | None:
    """Inputs that never vary.

    Args:
        process: The training.
        alone: Whether no other model trains at the same time.
    """
    cause = model_causes.of_inputs(process.snapshots[-1]) if alone else None
    return cause if cause is not None and cause.kind is CauseKind.INPUT_CONSTANT else None


def inputs(process: Process, alone: bool) -> Cause | None:
    """Inputs far from 0, or on a large or a small scale.

    Args:
        process: The training.
        alone: Whether no other model trains at the same time.
    """
    if not alone:
        return None
    cause, scale = model_causes.of_inputs(process.snapshots[-1]), model_causes.scale_of(process.snapshots[-1])
    if cause is None and scale is not None and 0 < scale < limit.SMALL_INPUT:
        return Cause(kind=CauseKind.INPUT_SCALE, facts=SmallInputs(input_rms=scale))
    return cause if cause is not None and cause.kind is CauseKind.INPUT_SCALE else None


def sorted_batches(outputs: Sequence[OutputHistory]) -> Cause | None:
    """Batches that hold far fewer classes than all of them together, and the same ones as the batch before.

    Whoever draws a few classes for each batch changes them from one to the next; a curriculum adds to them later on.
    Tokens of one text and positions of one image are alike by themselves: only rows that are samples are asked.

    Args:
        outputs: Of one model.
    """
    for one in outputs:
        classes, pooled = one.ints("classes"), one.maybe("pooled_entropy")
        known = (classes >= 1) & np.isfinite(pooled)
        samples = one.output.operation in _OF_ROWS and not set(one.output.loss) & _FLATTENS
        if not samples or known.sum() < 2 * limit.LEAST_OBSERVATIONS:
            continue
        of_all, rows = float(pooled[known][-1]), float(np.median(one.ints("rows")[known]))
        in_batch = float(np.median(one.floats("class_entropy")[known]))
        # exp(H) classes are as good as present: each must have had its rows.
        if of_all < limit.LEAST_ENTROPY or rows < limit.LEAST_PER_CLASS * np.exp(of_all):
            continue
        in_batch = max(in_batch, float(np.median(one.floats("class_entropy")[one.late(known)])))
        overlap = one.maybe("class_overlap")[known]
        overlap = overlap[np.isfinite(overlap)]
        changes = len(overlap) > 0 and float(np.median(overlap)) < limit.SAME_CLASSES
        if in_batch < limit.SORTED_SHARE * of_all and not changes:
            facts = SortedBatches(entropy_in_batch=in_batch, entropy_of_all=of_all, rows=int(rows))
            return Cause(kind=CauseKind.DATA_ORDER, facts=facts)
    return None


def targets(outputs: Sequence[OutputHistory]) -> Cause | None:
    """Targets far from 0 for what differs between them, or on a large scale.

    Args:
        outputs: Of one model.
    """
    for one in outputs:
        spread, square = one.floats("target_spread"), one.floats("target_square")
        known = np.isfinite(spread) & np.isfinite(square) & (spread > 0)
        if not known.any():
            continue
        with np.errstate(over="ignore"):
            offset = float(np.median(square[known] / spread[known]))
        near = _began_near(one)
        if offset > limit.LARGE_OFFSET**2 and not near:
            return Cause(kind=CauseKind.TARGET_SCALE, facts=TargetOffset(target_offset=max(offset - 1, 0) ** 0.5))
        scale = float(np.median((spread if near else square)[known])) ** 0.5
        if scale > limit.LARGE_INPUT:
            return Cause(kind=CauseKind.TARGET_SCALE, facts=TargetScale(target_rms=scale))
    return None


def _began_near(output: OutputHistory) -> bool:
    """Whether the first answers were near the mean of the targets: somebody has set the bias, or adds it."""
    first = first_costs(output)
    return first is not None and first[0] <= limit.LARGE_FIRST_LOSS * first[1]


def equal_weights(model: str, process: Process) -> Cause | None:
    """Weights of which all numbers were the same at the start, and not 0.

    Args:
        model: Its name.
        process: The training.
    """
    paths = _paths(model, process, lambda low, high: (low == high) & (low != 0), least=4)
    return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=EqualWeights(weights=paths, equal=True)) if paths else None


def one_sided_weights(model: str, process: Process) -> Cause | None:
    """Weights of which all numbers had one sign at the start, in most layers.

    Args:
        model: Its name.
        process: The training.
    """
    paths = _paths(model, process, lambda low, high: (low > 0) | (high < 0), least=limit.LEAST_SYMMETRIC)
    every = _paths(model, process, lambda low, high: np.isfinite(low), least=limit.LEAST_SYMMETRIC)
    if 2 * len(paths) <= len(every):
        return None
    return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=EqualWeights(weights=paths, equal=False))


def zero_weights(model: str, process: Process) -> Cause | None:
    """Weights that were exactly 0 at the start; one alone is a usual head.

    Args:
        model: Its name.
        process: The training.
    """
    paths = _paths(model, process, lambda low, high: (low == 0) & (high == 0), least=4)
    if len(paths) < 2:
        return None
    return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=ZeroAtFirst(weights=paths))


def _paths(model: str, process: Process, test: object, *, least: int) -> tuple[str, ...]:
    """Weights of several rows and columns that a loss reached, and that pass a test of their range at the start."""
    counts = model_causes.last_counts(process.snapshots)
    if counts is None or counts.weight_low is None or counts.weight_high is None or not callable(test):
        return ()
    found = []
    for at, one in enumerate(process.parameters[: len(counts.weight_low)]):
        large = len(one.shape) > 1 and min(one.shape[:2]) > 1 and one.size >= least
        if one.model != model or one.holder is not Holder.MODULE or not large or int(counts.first_compared[at]) > 0:
            continue
        if int(counts.connected[at]) > 0 and bool(test(counts.weight_low[at], counts.weight_high[at])):
            found.append(one.path)
    return tuple(found)


def initial_gain(histories: Sequence[SiteHistory], process: Process) -> Cause | None:
    """Weights that began on another scale than any usual initialisation has, before most activations.

    Args:
        histories: Of one model.
        process: The training.
    """
    counts = model_causes.last_counts(process.snapshots)
    gains = []
    for history in histories:
        at = history.weight
        if counts is None or at is None or at >= len(counts.weight_first) or int(counts.first_compared[at]) > 0:
            continue
        shape, norm = process.parameters[at].shape, float(counts.weight_first[at])
        if len(shape) > 1 and np.isfinite(norm):
            # Root mean square times √fan_in is norm / √fan_out.
            gains.append(norm / shape[0] ** 0.5)
    odd = [gain for gain in gains if not 1 / limit.LARGE_GAIN <= gain <= limit.LARGE_GAIN]
    if 2 * len(odd) <= len(gains):
        return None
    return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=InitialGain(gain=float(np.median(odd)), weights=len(odd)))


def biases(histories: Sequence[SiteHistory]) -> Cause | None:
    """A hidden layer of which most units began on the negative side and are there, by biases beyond the range of w·x.

    Args:
        histories: Of one model.
    """
    for history in histories:
        states = history.states
        if states is None or history.at_output or not history.finite_windows or int(history.steps()[0]) > 0:
            continue
        first = history.finite_windows[0]
        off = states.stuck & (first.fired == 0)
        found = bias_beyond_range(history, off, below=True) if 2 * int(off.sum()) >= len(off) else None
        if found is not None:
            facts = BiasesBelowRange(layer=history.ref, units=int(off.sum()), bias=found[0], rest=found[1])
            return Cause(kind=CauseKind.INITIAL_BIAS, facts=facts)
    return None


def large_first_cost(outputs: Sequence[OutputHistory]) -> Cause | None:
    """A first answer far worse than the best constant: the initial weights make it large.

    Args:
        outputs: Of one model.
    """
    for one in outputs:
        first = first_costs(one)
        # Targets far from 0 cost as much.
        by_targets = bool(one.floats("square")[0] < one.floats("target_square")[0])
        if first is not None and first[0] > limit.LARGE_FIRST_LOSS * first[1] and not by_targets:
            facts = LargeFirstLoss(first_loss=first[0], best_constant=first[1])
            return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=facts)
    return None


def without_activation(
    model: str, outputs: Sequence[OutputHistory], histories: Sequence[SiteHistory], process: Process
) -> Cause | None:
    """A network of several layers without an activation.

    Args:
        model: Its name.
        outputs: Of it.
        histories: Its sites.
        process: The training.
    """
    linear = standing.is_without_activation(model, outputs, histories, process)
    return Cause(kind=CauseKind.NO_ACTIVATION) if linear and standing.weights_of(model, process) > 1 else None


def frozen(model: str, process: Process) -> Cause | None:
    """Most numbers of a model are frozen, and are as torch's default initialisation draws them: nothing was learned.

    Their root mean square times √fan_in is then √⅓, with a relative standard error of √(0.2/n).

    Args:
        model: Its name.
        process: The training.
    """
    counts = model_causes.last_counts(process.snapshots)
    if counts is None:
        return None
    own = [(at, one) for at, one in enumerate(process.parameters[: len(counts.weight_first)]) if one.model == model]
    still = [(at, one) for at, one in own if one.holder is Holder.MODULE and not one.requires_grad]
    drawn = 0
    for at, one in still:
        gain = float(counts.weight_first[at]) / max(one.shape[0], 1) ** 0.5 if len(one.shape) > 1 else np.nan
        drawn += one.size * bool(abs(gain * 3**0.5 - 1) < limit.DEFAULT_ERRORS * (0.2 / max(one.size, 1)) ** 0.5)
    share = drawn / max(sum(one.size for _, one in own), 1)
    return Cause(kind=CauseKind.FROZEN, facts=MostlyFrozen(share=share)) if share >= limit.EXPLAINING_SHARE else None
