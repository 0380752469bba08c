"""What to do about a model as a whole, and about a wrong setup around it."""

from rectifier.records import (
    AcrossRows,
    BiasesBelowRange,
    BoundedOutput,
    Cause,
    CauseKind,
    ClearedGradients,
    EqualWeights,
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
    ScaledLoss,
    ShrunkSteps,
    SmallInputs,
    SortedBatches,
    StepsWithoutGradient,
    StillStatistics,
    Stretched,
    TargetsAboveOne,
    ZeroAtFirst,
    ZeroLoss,
)
from rectifier.report.sentences.findings.advice import FIRST_FOR_UPDATE, LOST_OVER_CALLS, UNKNOWN_CAUSE, Advice

CONSTANT_PREDICTOR: dict[CauseKind, Advice] = {
    CauseKind.INPUT_SCALE: (
        "First subtract the inputs' mean and divide by their standard deviation, or put normalisation first.",
    ),
    CauseKind.INITIAL_WEIGHTS: (
        "First initialise with the activation's gain (torch.nn.init.kaiming_normal_ for ReLU, xavier_normal_ "
        "with torch.nn.init.calculate_gain('tanh') for tanh), or add normalisation or skip connections; fewer "
        "layers help, too.",
    ),
    CauseKind.LEARNING_RATE: FIRST_FOR_UPDATE,
    CauseKind.UNKNOWN: UNKNOWN_CAUSE,
}

CONSTANT_AT_START: Advice = (
    "Check what follows the last activation: a softmax over one unit, a division by a large constant, or an "
    "output layer with large biases.",
)

NO_GRADIENT: Advice = (
    "Check what follows the last layer: a softmax over one unit (use torch.sigmoid with binary "
    "cross-entropy), detach(), rounding or argmax pass no gradient.",
)

OUTPUT_ACTIVATION: Advice = (
    "Leave the output linear, or use torch.nn.Softplus if it must be positive.",
    "If this is intended because targets are often 0, suppress the finding with a reason.",
)

ALIKE_AT_START: Advice = ("Nothing to do unless training stalls; centring the input or normalisation removes it.",)


_FOR_MODEL: dict[CauseKind, Advice] = {
    CauseKind.OUTPUT_ACTIVATION: ("Leave the output linear: remove its last activation.",),
    CauseKind.LOSS_SHAPE: ("Give output and targets the same shape: output.squeeze(-1), or targets.unsqueeze(-1).",),
    CauseKind.INPUT_CONSTANT: ("Check the inputs: they do not vary.",),
    CauseKind.INPUT_SCALE: (
        "Standardise the inputs: subtract their mean, divide by their standard deviation; divide pixels by 255.",
    ),
    CauseKind.TARGET_SCALE: (
        "Standardise the targets: subtract their mean, divide by their standard deviation; undo it for predictions.",
    ),
    CauseKind.INITIAL_WEIGHTS: ("Use smaller initial weights, with the activation's gain.",),
    CauseKind.WEIGHT_DECAY: ("Divide the weight decay by 10.",),
    CauseKind.OBJECTIVE: ("Stop the gradient in one branch (detach()), or add a term that keeps samples apart.",),
    CauseKind.LEARNING_RATE: ("Halve the learning rate, or warm it up.",),
    CauseKind.LEARNING_RATE_LOW: ("Multiply the learning rate by 10, several times if need be, until the loss falls.",),
    CauseKind.LEARNING_RATE_ZERO: ("Raise the learning rate, and check its schedule.",),
    CauseKind.RECURRENCE: LOST_OVER_CALLS,
    CauseKind.NO_ACTIVATION: ("Put an activation between the layers, such as torch.nn.ReLU().",),
}


def for_model(cause: Cause) -> Advice:
    """What to do about a finding of a whole model.

    Args:
        cause: Its cause.
    """
    return _FOR_MODEL.get(cause.kind, UNKNOWN_CAUSE)


_FOR_SETUP: dict[type, Advice] = {
    NegatedLoss: ("Remove the minus sign: the optimizer minimises what backward() is called on.",),
    OneElement: (
        "Remove that operation. For a probability from a single output, use torch.sigmoid; for group normalisation, "
        "use fewer groups.",
    ),
    Stretched: ("Give output and targets the same shape: output.squeeze(-1), or targets.unsqueeze(-1).",),
    KeptGradients: ("Call optimizer.zero_grad() once for each optimizer.step(), before the backward pass.",),
    ClearedGradients: (
        "Call optimizer.zero_grad() before loss.backward() or after optimizer.step(), not between them.",
    ),
    StepsWithoutGradient: (
        "Call requires_grad_(True) before this model's loss is computed, and check that nothing detaches its output.",
    ),
    SortedBatches: ("Shuffle the data: DataLoader(..., shuffle=True), or torch.randperm for each pass.",),
    EqualWeights: ("Initialise the weights at random, with both signs: units with equal weights stay equal.",),
    ZeroAtFirst: ("Initialise these weights at random, with a small standard deviation, instead of 0.",),
    OtherTerms: ("Divide the weight of the other terms by 10, or raise it slowly during training.",),
    ScaledLoss: ("Average the loss over the batch, without a factor.",),
    ZeroLoss: ("Check the mask, or ignore_index: no target is left in the loss.",),
    MadeAnew: ("Create layers in __init__ and only call them in forward: model.parameters() then lists them.",),
    LargeMomentum: ("Set the momentum to 0.9, or lower the learning rate.",),
    LargeEpsilon: ("Lower eps to 1e-8 (torch's default), or raise the learning rate in proportion.",),
    AcrossRows: ("Use dim=1 in the softmax, or pass logits to torch.nn.functional.cross_entropy without a softmax.",),
    TargetsAboveOne: ("Scale the targets to 0 to 1: divide images by 255; write (mask > 0).float() for masks.",),
    ShrunkSteps: ("Raise max_norm of clip_grad_norm_ to the usual norm before clipping, or raise the learning rate.",),
    StillStatistics: ("Call model.train() before the training loop, and again after each evaluation.",),
    LittleMovement: ("Multiply the learning rate by 10; check its schedule, clipping, and the scale of the loss.",),
    InitialGain: (
        "Initialise with the activation's gain: torch.nn.init.kaiming_normal_ for ReLU, xavier_normal_ for sigmoid, "
        "xavier_normal_ with gain=5 / 3 for tanh.",
    ),
    RateByStep: (
        "Fix the schedule: warm up for a few percent of the steps, and check where scheduler.step() is called.",
    ),
    SmallInputs: ("Standardise the inputs: subtract their mean, divide by their standard deviation.",),
    BiasesBelowRange: ("Set the initial biases to 0.",),
    MostlyFrozen: ("Unfreeze more of the model with requires_grad_(True), unless it is pretrained.",),
    BoundedOutput: ("Remove the last activation or clamp, or scale the targets into its range.",),
}


def for_alike(cause: Cause) -> Advice:
    """What to do where samples look alike behind the last activation.

    Args:
        cause: Why they do.
    """
    return CONSTANT_PREDICTOR.get(cause.kind, for_setup(cause))


def for_setup(cause: Cause) -> Advice:
    """What to do about a wrong setup around a network.

    Args:
        cause: Its cause.
    """
    if cause.kind is CauseKind.PRECISION:
        return ("Keep the weights in float32; use torch.autocast to compute in half precision.",)
    return _FOR_SETUP.get(type(cause.facts), for_model(cause))


EVAL_MODE: Advice = ("Nothing to do if this is intended, as in fine-tuning with frozen statistics.",)

TRAIN_MODE: Advice = ("Call model.train() before the training loop, and again after each evaluation.",)
