"""What is wrong with the steps: too small, rounded away, carried too far by momentum, at the wrong learning rate."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.decay import adds_up
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import (
    NORM_BEFORE_CLIPPING,
    Cause,
    CauseKind,
    FloatArray,
    LargeEpsilon,
    LargeMomentum,
    LittleMovement,
    Process,
    RateByStep,
    RoundedSteps,
    Series,
    ShrunkSteps,
)

_ADAM = frozenset({"Adam", "AdamW", "NAdam", "RAdam"})
_FORMATS = {"bfloat16": limit.BFLOAT16_STEP, "float16": limit.FLOAT16_STEP}


def epsilon(model: str, process: Process) -> Cause | None:
    """Adam's `eps` above the gradients: a step is then no longer near the learning rate, but far below.

    Args:
        model: Its name.
        process: The training.
    """
    eps, size = model_causes.epsilon_and_gradient(model, process)
    # Below 1e-6 it is what keeps a division by 0 away, and gradients that are smaller have vanished.
    if eps is None or eps <= limit.USUAL_EPSILON or size >= eps:
        return None
    return Cause(kind=CauseKind.OPTIMIZER_STATE, facts=LargeEpsilon(epsilon=eps, gradient=size))


def little_movement(model: str, histories: Sequence[SiteHistory], progress: Progress, process: Process) -> Cause | None:
    """Updates so small that all of them together could not have moved any layer far.

    Args:
        model: Its name.
        histories: Of it.
        progress: Of its training.
        process: The training.
    """
    if not histories:
        return _unmoved_norms(model, progress, process)
    if not any(np.nanmax(history.delta(), initial=0.0) > 0 for history in histories):
        # Without a gradient no rate is too low.
        return None
    if _is_held_back(model, process, histories) or model_causes.loss_is_flat(model, process, progress.end):
        return None
    if _norms_changed(model, process):
        return None
    moved = movement(histories, progress.steps, process)
    if moved is None or moved >= limit.LITTLE_MOVEMENT:
        return None
    rate = model_causes.update_and_rate(histories)[1]
    zero = rate is not None and rate <= limit.ZERO_RATE
    dtype = "" if zero or not progress.steps else _rounding_dtype(histories, moved / progress.steps, process)
    facts = LittleMovement(moved=moved, steps=progress.steps, learning_rate=rate, dtype=dtype)
    if dtype:
        return Cause(kind=CauseKind.PRECISION, facts=facts)
    return Cause(kind=CauseKind.LEARNING_RATE_ZERO if zero else CauseKind.LEARNING_RATE_LOW, facts=facts)


def _unmoved_norms(model: str, progress: Progress, process: Process) -> Cause | None:
    """Of a model without an observed activation, whose updates were not measured: norms that stay where they began.

    A weight that turns by an angle of θ without being pulled back changes its norm by θ²/2 at least.
    """
    counts = model_causes.last_counts(process.snapshots)
    if counts is None:
        return None
    own = [
        at
        for at, one in enumerate(process.parameters[: len(counts.weight_last)])
        if one.model == model and len(one.shape) > 1 and counts.optimizer[at] >= 0 and counts.weight_first[at] > 0
        if counts.gradient[at] > 0
    ]
    if not own or counts.last_compared[own].min() < limit.STALLED_STEPS:
        return None
    moved = float(np.abs(counts.weight_last[own] / counts.weight_first[own] - 1).max())
    if not (2 * moved) ** 0.5 < limit.LITTLE_MOVEMENT:
        return None
    rate = float(np.nanmax(counts.learning_rate[own], initial=0.0))
    facts = LittleMovement(moved=moved, steps=progress.steps, learning_rate=rate, by_norm=True)
    return Cause(
        kind=CauseKind.LEARNING_RATE_LOW if rate > limit.ZERO_RATE else CauseKind.LEARNING_RATE_ZERO, facts=facts
    )


def movement(histories: Sequence[SiteHistory], steps: int, process: Process) -> float | None:
    """Sum of all relative updates of the layer that moved most; None where no layer's are known.

    Args:
        histories: Of one model.
        steps: Of its training.
        process: The training.
    """
    paths = []
    for history in histories:
        updates = history.update()
        updates = updates[np.isfinite(updates)]
        if history.weight is not None and len(process.parameters[history.weight].shape) < 2:
            # The gains of a normalisation stay near 1 whatever the layer before it learns.
            continue
        if len(updates) >= limit.LEAST_OBSERVATIONS:
            paths.append(float(updates.mean()) * steps)
    return max(paths, default=None)


def _rounding_dtype(histories: Sequence[SiteHistory], update: float, process: Process) -> str:
    """The number format of the weights, if a relative update of this size is less than its steps; else nothing."""
    for history in histories:
        dtype = process.parameters[history.weight].dtype if history.weight is not None else ""
        if update < _FORMATS.get(dtype, 0.0):
            return dtype
    return ""


def momentum(model: str, process: Process) -> Cause | None:
    """A momentum near 1, that goes on with what the gradient said hundreds of steps ago.

    Args:
        model: Its name.
        process: The training.
    """
    for counts, optimizer, own in model_causes.held_by_optimizers(model, process):
        if optimizer.momentum is not None and limit.LARGE_MOMENTUM <= optimizer.momentum < 1:
            rate = float(np.nanmax(counts.learning_rate[own], initial=0.0))
            return Cause(
                kind=CauseKind.OPTIMIZER_STATE, facts=LargeMomentum(momentum=optimizer.momentum, learning_rate=rate)
            )
    return None


def rounded(model: str, process: Process) -> Cause | None:
    """Adam's steps, each about as large as the learning rate, that half precision rounds away from most weights.

    Args:
        model: Its name.
        process: The training.
    """
    whole, lost = 0, []
    for counts, optimizer, own in model_causes.held_by_optimizers(model, process):
        for at in own:
            one, rate = process.parameters[at], float(counts.learning_rate[at])
            size = float(counts.weight_last[at]) / max(one.size, 1) ** 0.5
            whole += one.size
            if optimizer.name in _ADAM and 0 < rate < _FORMATS.get(one.dtype, 0.0) * size:
                lost.append((one.size, RoundedSteps(dtype=one.dtype, learning_rate=rate, weight_rms=size)))
    if not lost or 2 * sum(size for size, _ in lost) < whole:
        return None
    return Cause(kind=CauseKind.PRECISION, facts=max(lost, key=lambda one: one[0])[1])


def schedule(histories: Sequence[SiteHistory]) -> Cause | None:
    """A learning rate that rises during the whole training, or that is gone before half of it.

    Args:
        histories: Of one model.
    """
    for history in histories:
        rates = history.learning_rate()
        rates = rates[np.isfinite(rates)]
        if len(rates) < 2 * limit.LEAST_OBSERVATIONS or not rates.max() > 0:
            continue
        first, middle, last = float(rates[0]), float(rates[len(rates) // 2]), float(rates[-1])
        # A straight line from 0 has half of it in the middle.
        rises = bool((np.diff(rates) > 0).all()) and middle < limit.WARMING * last
        gone = bool((np.diff(rates) <= 0).all()) and middle < limit.RATE_GONE * first
        if rises or gone:
            facts = RateByStep(first=first, middle=middle, last=last)
            return Cause(kind=CauseKind.LEARNING_RATE_LOW, facts=facts)
    return None


def shrunk(
    model: str, histories: Sequence[SiteHistory], progress: Progress, process: Process, alone: bool
) -> Cause | None:
    """Gradients of which clipping leaves next to nothing.

    Only of SGD: other optimizers make a step of any gradient. Step and norm are compared at the same training steps,
    because a gradient may be orders of magnitude smaller soon after. Weights that moved far all the same had steps
    enough.

    Args:
        model: Its name.
        histories: Of it.
        progress: Of its training.
        process: The training.
        alone: Whether no other model trains at the same time.
    """
    norms, moved = process.series(NORM_BEFORE_CLIPPING), movement(histories, progress.steps, process)
    if moved is not None and moved >= limit.MOVED_FAR:
        return None
    fed = {one.weight: one for one in histories if one.weight is not None}
    shares, before = [], []
    for counts, optimizer, own in model_causes.held_by_optimizers(model, process) if alone else ():
        if optimizer.name != "SGD":
            continue
        whole = float(np.sqrt(np.nansum(counts.gradient[own] ** 2)))
        for at in own:
            norm = float(np.fmax(counts.weight_first[at], counts.weight_last[at]))
            own_share = float(counts.gradient[at]) / whole if whole > 0 else 0.0
            if at in fed and own_share > 0 and np.isfinite(norm):
                steps, gradients = _steps_beside_norms(fed[at], norms)
                shares.append(steps * norm / (gradients * own_share * adds_up(optimizer.momentum)))
                before.append(gradients)
    known = [(float(np.median(share)), norm) for share, norm in zip(shares, before, strict=True) if len(share)]
    largest, norm_before = max(known, key=lambda one: one[0], default=(0.0, np.zeros(0)))
    if not 0 < largest <= limit.SHRUNK_STEP:
        return None
    facts = ShrunkSteps(share=largest, norm_before=float(np.median(norm_before)))
    return Cause(kind=CauseKind.LEARNING_RATE_LOW, facts=facts)


def _steps_beside_norms(history: SiteHistory, norms: Series) -> tuple[FloatArray, FloatArray]:
    """‖Δw‖/‖w‖ over the learning rate, and the norm before clipping, at the latest steps at which both are known."""
    steps, updates, rates = history.steps(), history.update(), history.learning_rate()
    usable = np.isfinite(updates) & (rates > 0)
    _, at, of = np.intersect1d(steps[usable], norms.steps, return_indices=True)
    moved, gradients = (updates[usable] / rates[usable])[at], norms.values[of]
    finite = np.isfinite(gradients) & (gradients > 0)
    latest = slice(-limit.LEAST_OBSERVATIONS, None)
    moved, gradients = moved[finite][latest], gradients[finite][latest]
    enough = len(moved) == limit.LEAST_OBSERVATIONS
    return (moved, gradients) if enough else (moved[:0], gradients[:0])


def _norms_changed(model: str, process: Process) -> bool:
    """Whether the norm of any weight changed by more than all updates together may come to."""
    counts = model_causes.last_counts(process.snapshots)
    if counts is None:
        return False
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.abs(counts.weight_last / counts.weight_first - 1)
    return any(
        one.model == model and len(one.shape) > 1 and changes[at] > limit.LITTLE_MOVEMENT
        for at, one in enumerate(process.parameters[: len(changes)])
    )


def _is_held_back(model: str, process: Process, histories: Sequence[SiteHistory]) -> bool:
    """Whether Adam moves weights far less than by its rate: its second moment, or `eps`, is what makes steps small."""
    counts = model_causes.last_counts(process.snapshots)
    if counts is None:
        return False
    shares = []
    for history in histories:
        at = history.weight
        updates, rates = history.update(), history.learning_rate()
        known = np.isfinite(updates) & (rates > 0)
        if at is None or at >= len(counts.epsilon) or not counts.epsilon[at] > 0 or not known.any():
            continue
        norm = float(counts.weight_first[at])
        whole = rates[known] * process.parameters[at].size ** 0.5 / norm if norm > 0 else np.zeros(0)
        if len(whole):
            shares.append(float(np.median(updates[known] / whole)))
    return bool(shares) and max(shares) < limit.HELD_BACK
