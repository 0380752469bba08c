"""What to do about units that do not learn, or stay on one side."""

from rectifier.records import Cause, CauseKind, ZeroWeights
from rectifier.report.sentences.findings.advice import FIRST_FOR_UPDATE, UNKNOWN_CAUSE, Advice

LEAVE_ALONE: Advice = (
    "Nothing to do: inactive units alone do no harm, and on tuned ordinary networks Leaky ReLU usually changes "
    "nothing (ImageNet top-1 .471 with ReLU, .469 with slope 1/3: Mishkin et al. 2017).",
)

_SLOPES: Advice = (
    "Leaky ReLU keeps a gradient in every unit.",
    "A slope of 0.01 prevents networks that are born dead, but hardly changes the gradient's size; slopes of 0.1 to "
    "0.3 help on hard problems (Dohare et al. 2024). Often nothing changes: compare before you believe it.",
)

_FIRST: dict[CauseKind, Advice] = {
    CauseKind.LEARNING_RATE: FIRST_FOR_UPDATE,
    CauseKind.INPUT_SCALE: (
        "First standardise the inputs (subtract their mean, divide by their standard deviation; divide pixels by 255).",
    ),
    CauseKind.UPSTREAM: ("Fix the layer below first: these units only follow it.",),
    CauseKind.INPUT_CONSTANT: ("First check the inputs: they do not vary.",),
    CauseKind.INITIAL_WEIGHTS: (
        "First initialise with the activation's gain (torch.nn.init.kaiming_normal_) and zero biases: these units "
        "never had a gradient.",
    ),
    CauseKind.INITIAL_BIAS: ("First set the initial biases to 0: these units never had a gradient.",),
    CauseKind.NARROW_LAYER: ("First make the layer wider, or use another seed: these units never had a gradient.",),
    CauseKind.WEIGHT_DECAY: ("First divide the weight decay by 10.",),
    CauseKind.OUTPUT_ACTIVATION: ("First leave the output linear: remove its last activation.",),
}

BORN_DEAD: Advice = (
    "Use another seed, or make the layers wider or fewer; biases above 0 help, too.",
    "A leaky slope prevents this.",
    *_SLOPES,
)

FOR_SILENT_ROWS: Advice = (
    "First see whether these units are dead on data (`rectifier census` counts that), and why: train some steps"
    " under `rectifier run`, because a checkpoint alone cannot name the cause.",
)

STARVED: Advice = (
    "Check what follows: does the loss use this output? Does detach(), a mask or a clamp stop the gradient?",
)

STARVED_BY_DESIGN: Advice = (
    "Nothing to do if this is intended (a branch scaled to zero, a mask, pruning): suppress the finding with a reason.",
)

_SATURATED: dict[CauseKind, Advice] = {
    CauseKind.INPUT_SCALE: ("Standardise the inputs: subtract their mean, divide by their standard deviation.",),
    CauseKind.INITIAL_WEIGHTS: (
        "Initialise with the activation's gain: torch.nn.init.xavier_normal_(layer.weight, gain="
        "torch.nn.init.calculate_gain('tanh')) for tanh, gain 1 for sigmoid.",
    ),
    CauseKind.INITIAL_BIAS: ("Set the initial biases to 0: torch.nn.init.zeros_(layer.bias).",),
    CauseKind.LEARNING_RATE: ("Halve the learning rate, or warm it up.",),
}

STUCK: Advice = ("Nothing to do unless the training stalls: these units still learn.",)

SATURATED_IN_PROGRESS: Advice = ("Nothing to do: training progresses.",)

ALWAYS_ON: Advice = ("Nothing to do: these units still learn; they are only linear.",)


def for_dead_units(cause: Cause) -> Advice:
    """What to do about dead units that matter.

    Args:
        cause: Theirs.
    """
    if isinstance(cause.facts, ZeroWeights):
        return ("First initialise the weights at random: they were exactly 0.", *_SLOPES)
    if cause.kind is CauseKind.UNKNOWN:
        return UNKNOWN_CAUSE
    return (*_FIRST.get(cause.kind, ()), *_SLOPES)


_LINEAR_LAYER: Advice = (
    "Standardise the inputs, or put a normalisation before the activation: units that never switch add nothing to a "
    "linear layer. If the loss is good enough, suppress the finding.",
)


def for_linear_layer(cause: Cause) -> Advice:
    """What to do about a layer that is linear.

    Args:
        cause: Why it is.
    """
    return _FIRST.get(cause.kind, _LINEAR_LAYER)


def for_saturation(cause: Cause) -> Advice:
    """What to do about a saturated layer that matters.

    Args:
        cause: Why it is.
    """
    return _SATURATED.get(cause.kind, ("Normalise the inputs of this layer.",))
