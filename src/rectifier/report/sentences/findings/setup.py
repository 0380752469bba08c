"""What is said of what is set up wrongly around a network: its loss, its data, its start, its optimizer."""

from rectifier._formatting import counted, listed, percent
from rectifier.records import (
    BiasesBelowRange,
    BoundedOutput,
    CauseKind,
    ClearedGradients,
    EqualWeights,
    Finding,
    InitialGain,
    KeptGradients,
    LargeEpsilon,
    LittleMovement,
    MostlyFrozen,
    NegatedLoss,
    OtherTerms,
    RateByStep,
    ScaledLoss,
    SetupFacts,
    SmallInputs,
    SortedBatches,
    Stretched,
    TrainingSetup,
    ZeroAtFirst,
    ZeroLoss,
)
from rectifier.report.sentences.findings import advice
from rectifier.report.sentences.findings.causes import of_model
from rectifier.report.sentences.findings.words import Texts, loss_words

_MOST_NAMED = 3
"""Weights that one sentence lists."""
_TITLES = {
    CauseKind.OUTPUT_ACTIVATION: "what follows the output does not fit the loss",
    CauseKind.LOSS_SHAPE: "the loss compares each answer with the targets of all rows",
    CauseKind.OBJECTIVE: "the loss is maximised",
    CauseKind.GRADIENT_ACCUMULATION: "gradients are not cleared as they should be",
    CauseKind.DATA_ORDER: "the batches are sorted by class",
    CauseKind.INITIAL_WEIGHTS: "the initial weights keep the model from learning",
    CauseKind.INITIAL_BIAS: "the initial biases keep the model from learning",
    CauseKind.LOSS_TERM: "other terms of the loss outweigh the one with the targets",
    CauseKind.WEIGHT_DECAY: "weight decay outweighs the loss",
    CauseKind.OPTIMIZER_STATE: "eps of the optimizer outweighs the gradients",
    CauseKind.LEARNING_RATE_LOW: "the steps are too small for this training",
    CauseKind.LEARNING_RATE_ZERO: "the weights did not move",
    CauseKind.TARGET_SCALE: "the scale of the targets keeps the model from learning",
    CauseKind.INPUT_SCALE: "the scale of the inputs keeps the model from learning",
    CauseKind.INPUT_CONSTANT: "the inputs do not vary",
    CauseKind.LOSS_SCALE: "the scale of the loss keeps the model from learning",
    CauseKind.DOWNSTREAM_CONSTANT: "the loss is 0, and teaches nothing",
    CauseKind.NO_ACTIVATION: "the model is linear, and that is too little",
    CauseKind.FROZEN: "most of the model is frozen",
}


def training_setup(finding: Finding, evidence: TrainingSetup) -> Texts:
    """`training-setup`."""
    told = []
    if evidence.explained is not None:
        told.append(_explained(evidence.explained))
    if finding.loss is not None and finding.loss.loss_end is not None:
        words = loss_words(finding.loss)
        told.append(f"{words[:1].upper()}{words[1:]}.")
    if evidence.by_itself:
        told.append("This is a mistake even where the loss falls.")
    return Texts(
        title=f"{evidence.model}: {_TITLES.get(finding.cause.kind, 'the model learned little')}",
        detail=" ".join(told),
        cause=of_model(finding.cause),
        advised=advice.for_setup(finding.cause),
        name_first=True,
    )


def _explained(share: float) -> str:
    if share < 0:
        return f"The model costs {1 - share:.3g} times what the best constant answer does."
    return f"The model has saved {percent(share)} of what the best constant answer costs."


def why(facts: SetupFacts) -> str:  # noqa: PLR0912 - one case for each kind of facts
    """What is wrong, in one sentence with its numbers."""
    match facts:
        case NegatedLoss():
            return (
                f"a minus sign before {facts.loss}: what it costs by itself went from {facts.cost_first:.3g} to "
                f"{facts.cost_last:.3g}"
            )
        case Stretched():
            return f"{facts.operation} broadcasts the answers over all targets: their shapes differ"
        case KeptGradients():
            return (
                f"gradients of the step before were still there at {facts.kept:,} of {facts.looks:,} sampled backward "
                "passes: nobody clears them, and they add up"
            )
        case ClearedGradients():
            return (
                f"gradients arrived, and none was left at any of {facts.steps:,} sampled steps of {facts.optimizer}: "
                "they are cleared before the step"
            )
        case SortedBatches():
            return (
                f"the classes of a batch of {facts.rows:,} rows have an entropy of {facts.entropy_in_batch:.2f} nats, "
                f"those of all batches together {facts.entropy_of_all:.2f}"
            )
        case EqualWeights():
            same = "all numbers were the same" if facts.equal else "all numbers had one sign"
            return f"initial weights: {same} in {_named(facts.weights)}"
        case ZeroAtFirst():
            return f"initial weights: all numbers were 0 in {_named(facts.weights)}"
        case OtherTerms():
            return f"{percent(facts.share)} of the loss are terms other than {facts.loss}, which has the targets"
        case ScaledLoss():
            return f"the loss is {facts.factor:.3g} times what it costs by itself"
        case ZeroLoss():
            return (
                f"{percent(facts.share)} of the losses are exactly 0, although answers and targets differ by "
                f"{facts.cost:.3g} (their loss without a mask)"
            )
        case LargeEpsilon():
            return (
                f"an eps of {facts.epsilon:.3g}, where the gradient of a weight is {facts.gradient:.2g} (root mean "
                "square): steps are that much smaller"
            )
        case LittleMovement():
            rate = "" if facts.learning_rate is None else f"; the learning rate is {facts.learning_rate:.3g}"
            return (
                f"all {facts.steps:,} updates together come to {percent(facts.moved)} of the norm of a layer's weights "
                f"at most{rate}"
            )
        case InitialGain():
            return (
                f"initial weights: before {counted(facts.weights, 'activation')} their root mean square times √fan_in "
                f"is {facts.gain:.2g}, where 0.6 to 1.4 is usual"
            )
        case RateByStep():
            return (
                f"the learning rate was {facts.first:.3g} at first, {facts.middle:.3g} in the middle and "
                f"{facts.last:.3g} at last"
            )
        case SmallInputs():
            return f"the inputs are on a small scale: their root mean square is {facts.input_rms:.2g}"
        case BiasesBelowRange():
            return (
                f"biases of {facts.bias:.3g} in {facts.layer.label}, where weights times inputs add {facts.rest:.2g} "
                f"(medians over {counted(facts.units, 'unit')})"
            )
        case MostlyFrozen():
            return f"{percent(facts.share)} of the model's numbers have requires_grad=False"
        case BoundedOutput():
            return f"{percent(facts.share)} of the targets lie {_outside(facts)}, which the output cannot give"
    return ""


def _outside(facts: BoundedOutput) -> str:
    if facts.highest is None:
        return f"below {facts.lowest:g}"
    if facts.lowest is None:
        return f"above {facts.highest:g}"
    return f"outside {facts.lowest:g} to {facts.highest:g}"


def _named(weights: tuple[str, ...]) -> str:
    return listed(weights, _MOST_NAMED)
