"""What is wrong between a model's output and its loss."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.history.outputs import OutputHistory
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.output.explained import first_costs
from rectifier.diagnosis.training.setup import steps
from rectifier.records import (
    AcrossRows,
    BoundedOutput,
    Cause,
    CauseKind,
    FloatArray,
    LossOperations,
    NegatedLoss,
    OneElement,
    OtherTerms,
    Output,
    Process,
    ScaledLoss,
    Series,
    Stretched,
    TargetsAboveOne,
    ZeroLoss,
)

_NORMALISATIONS = frozenset({"NativeLayerNorm", "NativeGroupNorm"})
_TO_SHARES = frozenset({"Softmax", "Sigmoid"})
_ADDS = frozenset({"Add", "Sub", "Stack", "Cat", "Sum"})
_LOSSES = frozenset(
    {"NllLoss", "NllLoss2D", "MseLoss", "BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"}
)  # fmt: skip
"""Losses of torch that are never below 0 for what they are meant for."""


def surely_squashed(outputs: Sequence[OutputHistory], histories: Sequence[SiteHistory]) -> Cause | None:
    """Shares in the place of logits: the loss makes shares of them a second time, and none can come near 0 or 1.

    Or logits behind an activation of which some unit is silent: that class has no logit above the others any more.

    Args:
        outputs: Of one model.
        histories: Its sites.
    """
    cause = squashed(outputs)
    facts = None if cause is None else cause.facts
    if not isinstance(facts, LossOperations):
        return None
    silent = any(
        one.at_output and one.flat_when_silent and one.states is not None and one.states.stuck.any()
        for one in histories
    )
    return cause if facts.before in _TO_SHARES or silent else None


def squashed(outputs: Sequence[OutputHistory]) -> Cause | None:
    """Any activation in the place of logits.

    Args:
        outputs: Of one model.
    """
    causes = map(model_causes.of_loss, _read(outputs))
    return next((one for one in causes if one is not None and one.kind is CauseKind.OUTPUT_ACTIVATION), None)


def stretched(outputs: Sequence[OutputHistory]) -> Cause | None:
    """Answers that are compared with the targets of all rows.

    Args:
        outputs: Of one model.
    """
    for one in _read(outputs):
        if (stretching := _marked(one, "Broadcast")) is not None:
            return Cause(kind=CauseKind.LOSS_SHAPE, facts=Stretched(operation=stretching))
        cause = model_causes.of_loss(one)
        if cause is not None and cause.kind is CauseKind.LOSS_SHAPE:
            return cause
    return None


def one_element(outputs: Sequence[OutputHistory]) -> Cause | None:
    """An operation over a single element, which gives a constant: behind every layer that gives an output, or before.

    Of a softmax only the first is told: attention to a single position is nothing unusual.

    Args:
        outputs: Of one model.
    """
    looked = _read(outputs)
    behind = [name for one in looked if (name := _marked(one, "OneElement")) is not None]
    if looked and len(behind) == len(looked):
        kind = CauseKind.NORMALISATION if behind[0] in _NORMALISATIONS else CauseKind.OUTPUT_ACTIVATION
        return Cause(kind=kind, facts=OneElement(operation=behind[0], behind=True))
    if any(one.one_element for one in looked):
        return Cause(kind=CauseKind.NORMALISATION, facts=OneElement(operation="", behind=False))
    return None


def across_rows(outputs: Sequence[OutputHistory]) -> Cause | None:
    """A softmax over the rows of a batch, whose classes the loss then compares.

    Args:
        outputs: Of one model.
    """
    across = next((name for one in _read(outputs) if (name := _marked(one, "AcrossRows")) is not None), None)
    return None if across is None else Cause(kind=CauseKind.OUTPUT_ACTIVATION, facts=AcrossRows(operation=across))


def above_one(outputs: Sequence[OutputHistory], loss: Series) -> Cause | None:
    """Targets above 1 of a binary cross-entropy, which brought it below 0; those that a weight of 0 leaves out cannot.

    Only of logits: of probabilities torch itself refuses such targets.

    Args:
        outputs: Of one model.
        loss: Of it.
    """
    values = loss.values[np.isfinite(loss.values)]
    if not len(values) or np.median(values[-limit.LEAST_LOSSES :]) >= 0:
        return None
    for one in outputs:
        squares = one.floats("target_square")[one.usable]
        squares = squares[np.isfinite(squares)]
        if "BinaryCrossEntropyWithLogits" in one.output.loss and len(squares) >= limit.LEAST_OBSERVATIONS:
            middle = float(np.median(squares))
            if middle > 1:
                return Cause(kind=CauseKind.TARGET_SCALE, facts=TargetsAboveOne(target_rms=middle**0.5))
    return None


def negated(model: str, outputs: Sequence[OutputHistory], loss: Series, alone: bool, process: Process) -> Cause | None:
    """A loss of torch that is maximised.

    Where several models train, one may be meant to be as bad as possible by the other's loss; where one term of several
    is maximised, what the model knew before may be meant to be forgotten.

    Args:
        model: Its name.
        outputs: Of it.
        loss: Of it.
        alone: Whether no other model trains at the same time.
        process: The training.
    """
    values = loss.values[np.isfinite(loss.values)]
    if not alone or not len(values) or values[-1] >= 0:
        return None
    known = [one for one in outputs if np.isfinite(one.costs).any()]
    paths = [[name for name in one.output.loss if name not in ("Mul", "Div", "Add")] for one in known]
    if not all(path[:1] == ["Neg"] and set(path[1:2]) & _LOSSES for path in paths):
        # One of several may be meant to be maximised: a critic of domains, say.
        return None
    for one, path in zip(known, paths, strict=True):
        costs = one.costs[~np.isnan(one.costs)]
        if len(costs) < limit.LEAST_OBSERVATIONS or ("Add" in one.output.loss and _knew(model, one, process)):
            continue
        first, last = _ends(costs)
        if last >= first:
            return Cause(kind=CauseKind.OBJECTIVE, facts=NegatedLoss(loss=path[1], cost_first=first, cost_last=last))
    return None


def _knew(model: str, output: OutputHistory, process: Process) -> bool:
    """Whether a model may have learned before: its layer has another part in the loss, or began with good answers."""
    began, counts = first_costs(output), model_causes.last_counts(process.snapshots)
    uses = [
        int(counts.uses[at])
        for at, one in enumerate(process.parameters)
        if counts is not None and counts.uses is not None and at < len(counts.uses)
        if (one.model, one.path) == (model, output.output.weight)
    ]
    return max(uses, default=1) > 1 or (began is not None and began[0] < limit.LITTLE_EXPLAINED * began[1])


def masked(outputs: Sequence[OutputHistory], loss: Series, alone: bool) -> Cause | None:
    """A loss of exactly 0 at most steps, although the part of it that has the targets is none.

    Args:
        outputs: Of one model.
        loss: Of it.
        alone: Whether no other model trains at the same time.
    """
    values = loss.values[np.isfinite(loss.values)]
    if not alone or len(values) < limit.LEAST_LOSSES or np.median(np.abs(values)) > 0:
        return None
    costs = [float(np.median(known)) for one in outputs if len(known := one.costs[~np.isnan(one.costs)])]
    if len(costs) != 1 or not costs[0] > 0:
        return None
    share = float((values == 0).mean())
    return Cause(kind=CauseKind.DOWNSTREAM_CONSTANT, facts=ZeroLoss(share=share, cost=costs[0]))


def scaled(
    model: str,
    outputs: Sequence[OutputHistory],
    histories: Sequence[SiteHistory],
    progress: Progress,
    loss: Series,
    process: Process,
) -> Cause | None:
    """A loss that is a thousand times what it costs by itself, or a thousandth, with nothing added.

    To Adam the scale is nothing, unless it changes on the way, or takes the gradients below `eps`. To others it is a
    factor of the learning rate, which somebody may have chosen for it: the weights then move as usual.

    Args:
        model: Its name.
        outputs: Of it.
        histories: Its sites.
        progress: Of its training.
        loss: Of it.
        process: The training.
    """
    known = [one for one in outputs if np.isfinite(one.costs).any()]
    if len(known) != 1 or set(known[0].output.loss) & (_ADDS - {"Sum"}):
        return None
    costs, total = _beside(known[0], loss)
    usable = (costs > 0) & (total > 0)
    if usable.sum() < limit.LEAST_OBSERVATIONS:
        return None
    factors = _ends(total[usable] / costs[usable])
    factor = max(factors, key=lambda one: abs(float(np.log(one))))
    if 1 / limit.RESCALED < factor < limit.RESCALED:
        return None
    eps, gradient = model_causes.epsilon_and_gradient(model, process)
    every = total[usable] / costs[usable]
    changes = every.max() > limit.RESCALED * every.min()
    if eps is not None and not changes and gradient > eps:
        return None
    moved = steps.movement(histories, progress.steps, process)
    largest = max((float(np.nanmax(one.update(), initial=0.0)) for one in histories), default=np.inf)
    if not changes and moved is not None and moved >= limit.LITTLE_MOVEMENT and largest < limit.LARGE_UPDATE:
        return None
    return Cause(kind=CauseKind.LOSS_SCALE, facts=ScaledLoss(factor=factor))


def _beside(output: OutputHistory, loss: Series) -> tuple[FloatArray, FloatArray]:
    """What the part with the targets costs, and the whole loss of the same steps, where both are finite."""
    _, at, of = np.intersect1d(output.ints("steps"), loss.steps, return_indices=True)
    costs, total = output.costs[at], loss.values[of]
    usable = np.isfinite(costs) & np.isfinite(total)
    return costs[usable], total[usable]


def bounded(outputs: Sequence[OutputHistory]) -> Cause | None:
    """Targets outside of what comes through behind the output's layer.

    Args:
        outputs: Of one model.
    """
    for one in outputs:
        shares = one.out_of_reach[one.usable & np.isfinite(one.out_of_reach)]
        if len(shares) >= limit.LEAST_OBSERVATIONS and np.median(shares) >= limit.TARGETS_OUT_OF_REACH:
            facts = BoundedOutput(share=float(np.median(shares)), lowest=one.output.lowest, highest=one.output.highest)
            return Cause(kind=CauseKind.OUTPUT_ACTIVATION, facts=facts)
    return None


def other_terms(outputs: Sequence[OutputHistory], loss: Series) -> Cause | None:
    """Terms that make more of the loss than the one that compares the output with its targets.

    Args:
        outputs: Of one model.
        loss: Of it.
    """
    known = [one for one in outputs if np.isfinite(one.costs).any()]
    if len(known) != 1 or not set(known[0].output.loss) & _ADDS or set(known[0].output.loss[:1]) & _LOSSES:
        return None
    one = known[0]
    name = next((name for name in one.output.loss if name in _LOSSES), None)
    before = one.output.loss[: one.output.loss.index(name)] if name is not None else ()
    if name is None or not set(before) & _ADDS or set(before) & {"Mul", "Div", "Sum", "Neg"}:
        # A multiple of it says nothing of other terms.
        return None
    costs, total = _beside(one, loss)
    if len(costs) < limit.LEAST_OBSERVATIONS:
        return None
    others = np.abs(total - costs)
    share = max(_ends(others / (others + np.abs(costs) + np.finfo(float).tiny)))
    if share <= limit.OTHER_TERMS:
        return None
    return Cause(kind=CauseKind.LOSS_TERM, facts=OtherTerms(share=share, loss=name))


def _ends(values: FloatArray) -> tuple[float, float]:
    n = limit.LEAST_OBSERVATIONS
    return float(np.median(values[:n])), float(np.median(values[-n:]))


def _read(outputs: Sequence[OutputHistory]) -> list[Output]:
    """Those that were read often enough."""
    return [one.output for one in outputs if len(one.ints("steps")) >= limit.LEAST_OBSERVATIONS]


def _marked(output: Output, marker: str) -> str | None:
    """The operation between an output and its loss before which a marker stands."""
    return next((name for name, next_ in pairwise(output.loss) if next_ == marker), None)
