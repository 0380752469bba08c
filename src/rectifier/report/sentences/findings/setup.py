"""Texts about a wrong setup around a network: its loss, data, initial weights or optimizer."""

from rectifier._formatting import counted, listed, percent
from rectifier.records import (
    AcrossRows,
    BiasesBelowRange,
    BoundedOutput,
    CauseFacts,
    CauseKind,
    ClearedGradients,
    EqualWeights,
    Finding,
    InitialGain,
    KeptGradients,
    LargeEpsilon,
    LargeMomentum,
    LittleMovement,
    MadeAnew,
    MostlyFrozen,
    NegatedLoss,
    OneElement,
    OtherTerms,
    RateByStep,
    RoundedSteps,
    ScaledLoss,
    SetupFacts,
    ShrunkSteps,
    SmallInputs,
    SortedBatches,
    StepsWithoutGradient,
    StillStatistics,
    Stretched,
    TargetsAboveOne,
    TrainingSetup,
    ZeroAtFirst,
    ZeroLoss,
)
from rectifier.report.sentences.findings import advice
from rectifier.report.sentences.findings.advice import model
from rectifier.report.sentences.findings.causes import of_model
from rectifier.report.sentences.findings.words import Texts, loss_words

_MOST_NAMED = 3
"""Weights that one sentence lists."""
_TITLES = {
    CauseKind.OUTPUT_ACTIVATION: "the output activation does not fit the loss",
    CauseKind.LOSS_SHAPE: "the loss compares each output with the targets of all samples",
    CauseKind.OBJECTIVE: "the loss is maximised",
    CauseKind.GRADIENT_ACCUMULATION: "gradients are not cleared between steps",
    CauseKind.DATA_ORDER: "the batches are sorted by class",
    CauseKind.INITIAL_WEIGHTS: "the initial weights hinder learning",
    CauseKind.INITIAL_BIAS: "the initial biases hinder learning",
    CauseKind.LOSS_TERM: "other terms of the loss outweigh the one that uses the targets",
    CauseKind.WEIGHT_DECAY: "weight decay outweighs the loss",
    CauseKind.OPTIMIZER_STATE: "the optimizer's eps is larger than the gradients",
    CauseKind.LEARNING_RATE_LOW: "the updates are too small",
    CauseKind.LEARNING_RATE_ZERO: "the weights did not move",
    CauseKind.TARGET_SCALE: "the scale of the targets hinders learning",
    CauseKind.INPUT_SCALE: "the scale of the inputs hinders learning",
    CauseKind.INPUT_CONSTANT: "the inputs do not vary",
    CauseKind.LOSS_SCALE: "the scale of the loss hinders learning",
    CauseKind.DOWNSTREAM_CONSTANT: "most losses are exactly 0",
    CauseKind.NO_ACTIVATION: "the model is linear and learned little",
    CauseKind.PRECISION: "the updates are rounded away",
    CauseKind.RECURRENCE: "the gradient is lost over the positions of a sequence",
    CauseKind.FROZEN: "most of the model is frozen",
}
_TITLES_OF_FACTS: dict[type, str] = {
    ClearedGradients: "gradients are cleared before the optimizer steps",
    OneElement: "an operation over a single element gives a constant",
    StepsWithoutGradient: "an optimizer steps without gradients",
    MadeAnew: "each forward creates new layers",
    LargeMomentum: "the momentum is too large",
    RateByStep: "the learning-rate schedule hinders learning",
    AcrossRows: "a softmax runs over the batch, not over the classes",
    TargetsAboveOne: "the binary cross-entropy gets targets above 1",
    ShrunkSteps: "clipping leaves next to nothing of the gradients",
}
"""Titles that say more than those of the kind of cause."""


def training_setup(finding: Finding, evidence: TrainingSetup) -> Texts:
    """`training-setup`."""
    cause = finding.cause
    told = []
    if evidence.explained is not None:
        told.append(_explained(evidence.explained, cause.facts))
    if finding.loss is not None and finding.loss.loss_end is not None:
        words = loss_words(finding.loss)
        told.append(f"{words[:1].upper()}{words[1:]}.")
    harmless = finding.severity == "info"
    if harmless:
        told.append("The model learns well all the same.")
    elif evidence.by_itself:
        told.append("Fix this even if the loss falls.")
    title = _TITLES_OF_FACTS.get(type(cause.facts)) or _TITLES.get(cause.kind, "the model learned little")
    if harmless and isinstance(cause.facts, EqualWeights):
        title = "the elements of an initial weight are alike"
    return Texts(
        title=f"{evidence.model}: {title}",
        detail=" ".join(told),
        cause=why(cause.facts) if isinstance(cause.facts, SetupFacts) else of_model(cause),
        to_do=advice.UNTOUCHED if harmless else model.for_setup(cause),
        name_first=True,
    )


def _explained(share: float, facts: CauseFacts | None) -> str:
    """How the loss compares with that of the best constant answer."""
    alone = isinstance(facts, NegatedLoss | OtherTerms | ScaledLoss | ZeroLoss)
    loss = "the loss against the targets alone" if alone else "the loss"
    if share < 0:
        return f"At the end, {loss} is {1 - share:.3g} times that of the best constant answer."
    return f"At the end, {loss} is {percent(share)} below that of the best constant answer."


def why(facts: SetupFacts) -> str:  # noqa: PLR0912 - one case for each kind of facts
    """What is wrong, in one sentence with its numbers."""
    match facts:
        case NegatedLoss():
            return (
                f"a minus sign before {facts.loss}: training maximises it, and its mean went from "
                f"{facts.cost_first:.3g} to {facts.cost_last:.3g}"
            )
        case OneElement():
            operation = "softmax" if "Softmax" in facts.operation else "normalisation"
            if not facts.behind:
                return f"a {operation} over a single element gives a constant, whatever it is given"
            return f"the output goes through a {operation} over a single element, which gives a constant"
        case Stretched():
            return f"{facts.operation} broadcasts the outputs over all targets: their shapes differ"
        case KeptGradients():
            return (
                f"gradients of the previous step were still there at {facts.kept:,} of {facts.looks:,} sampled "
                "backward passes: nothing clears them, so they add up"
            )
        case ClearedGradients():
            return (
                f"gradients arrived, but were gone or 0 at each of {counted(facts.steps, 'sampled step')} of "
                f"{facts.optimizer}: something clears them between backward() and step()"
            )
        case MadeAnew():
            return (
                f"{facts.losses:,} of {counted(facts.of_losses, 'sampled loss', 'sampled losses')} used layers that "
                "did not exist before: each forward creates new ones, which no optimizer holds"
            )
        case StepsWithoutGradient():
            return (
                f"at {facts.idle:,} of {counted(facts.steps, 'sampled step')} of {facts.optimizer}, its parameters had "
                f"no gradient; the last one arrived at step {facts.last_gradient:,}. Since then requires_grad is "
                "False, or the loss does not use these parameters"
            )
        case SortedBatches():
            return (
                f"the classes in a batch of {facts.rows:,} samples have an entropy of {facts.entropy_in_batch:.2f} "
                f"nats, those in all batches together {facts.entropy_of_all:.2f}"
            )
        case EqualWeights():
            same = "all values were equal" if facts.equal else "all values had the same sign"
            return f"initial weights: {same} in {_named(facts.weights)}"
        case ZeroAtFirst():
            return f"initial weights: all values were 0 in {_named(facts.weights)}"
        case OtherTerms():
            return (
                f"{percent(facts.share)} of the loss comes from terms other than {facts.loss}, which uses the targets"
            )
        case ScaledLoss():
            return f"the back-propagated loss is {facts.factor:.3g} times the unscaled mean loss"
        case ZeroLoss():
            return (
                f"{percent(facts.share)} of the losses are exactly 0, although outputs and targets differ: without a "
                f"mask the loss is {facts.cost:.3g}"
            )
        case LargeMomentum():
            return (
                f"a momentum of {facts.momentum:.5g} adds up about {1 / (1 - facts.momentum):,.0f} steps; with a "
                f"learning rate of {facts.learning_rate:.3g} the weights overshoot"
            )
        case TargetsAboveOne():
            return (
                "the binary cross-entropy expects targets from 0 to 1, but these have a root mean square of "
                f"{facts.target_rms:.4g}: with targets above 1, the loss has no lower bound"
            )
        case AcrossRows():
            return f"{facts.operation} normalises over the samples of the batch (dim=0), but the loss compares classes"
        case ShrunkSteps():
            return (
                f"SGD's steps are at most {percent(facts.share)} of learning rate times gradient; the norm before "
                f"clipping was {facts.norm_before:.3g}"
            )
        case StillStatistics():
            return (
                f"{facts.eval_steps:,} of {counted(facts.steps, 'observed loss', 'observed losses')} came from a model "
                "in eval mode, where the running mean and variance of batch normalisation do not change"
            )
        case LargeEpsilon():
            return (
                f"eps is {facts.epsilon:.3g}, while the gradient of a weight is {facts.gradient:.2g} (root mean "
                "square): this shrinks each step"
            )
        case LittleMovement():
            rate = "" if facts.learning_rate is None else f"; the learning rate is {facts.learning_rate:.3g}"
            format_ = f"; the weights are {facts.dtype}, which rounds so small changes away" if facts.dtype else ""
            if facts.by_norm:
                return f"in {facts.steps:,} steps no weight's norm changed by more than {percent(facts.moved)}{rate}"
            return (
                f"all {facts.steps:,} updates together add up to at most {percent(facts.moved)} of the norm of a "
                f"layer's weights{rate}{format_}"
            )
        case InitialGain():
            return (
                f"initial weights: before {counted(facts.weights, 'activation')}, their root mean square times √fan_in "
                f"is {facts.gain:.2g}; 0.6 to 1.4 is usual"
            )
        case RateByStep():
            return (
                f"the learning rate was {facts.first:.3g} at the start, {facts.middle:.3g} halfway and "
                f"{facts.last:.3g} at the end"
            )
        case RoundedSteps():
            return (
                f"the weights are {facts.dtype}, which rounds steps of about {facts.learning_rate:.2g} (the learning "
                f"rate) away from weights of about {facts.weight_rms:.2g}"
            )
        case SmallInputs():
            return f"input scale: the root mean square of the inputs is only {facts.input_rms:.2g}"
        case BiasesBelowRange():
            return (
                f"biases of {facts.bias:.3g} in {facts.layer.label}, where weights times inputs add {facts.rest:.2g} "
                f"(medians over {counted(facts.units, 'unit')})"
            )
        case MostlyFrozen():
            return f"{percent(facts.share)} of the model's elements have requires_grad=False"
        case BoundedOutput():
            return f"{percent(facts.share)} of the targets lie {_outside(facts)}, which the output cannot reach"
    return ""


def _outside(facts: BoundedOutput) -> str:
    if facts.highest is None:
        return f"below {facts.lowest:g}"
    if facts.lowest is None:
        return f"above {facts.highest:g}"
    return f"outside {facts.lowest:g} to {facts.highest:g}"


def _named(weights: tuple[str, ...]) -> str:
    return listed(weights, _MOST_NAMED)
