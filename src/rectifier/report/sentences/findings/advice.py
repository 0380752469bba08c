"""What to do about a finding: the mildest change first, and what to expect from it.

Each advice is a tuple of sentences, so that a report prints a sentence that several share only once.
"""

from rectifier.records import (
    BiasesBelowRange,
    BoundedOutput,
    Cause,
    CauseKind,
    ClearedGradients,
    EqualWeights,
    InitialGain,
    KeptGradients,
    LargeEpsilon,
    LittleMovement,
    MostlyFrozen,
    NegatedLoss,
    OneElement,
    OtherTerms,
    RateByStep,
    ScaledLoss,
    SmallInputs,
    SortedBatches,
    Stretched,
    ZeroAtFirst,
    ZeroLoss,
    ZeroWeights,
)

Advice = tuple[str, ...]

UNKNOWN_CAUSE: Advice = (
    "Run `rectifier explain train.py`: it changes one thing at a time and says which change removes the failure. "
    "Compare over seeds (`rectifier compare train.py`) before you trust a remedy.",
)

LEAVE_ALONE: Advice = (
    "Nothing to do: inactive units alone do no harm, and on tuned ordinary networks Leaky ReLU usually changes "
    "nothing (ImageNet top-1 .471 with ReLU, .469 with slope 1/3: Mishkin et al. 2017).",
)

_SLOPES: Advice = (
    "Leaky ReLU keeps a gradient in every unit.",
    "A slope of 0.01 prevents networks that are born dead, but hardly changes the gradient's size; slopes of 0.1 to "
    "0.3 help on hard problems (Dohare et al. 2024). Often nothing changes: compare before you believe it.",
)

FIRST_FOR_UPDATE: Advice = ("First halve the learning rate, or warm it up: the weights moved too far at once.",)

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

VANISHING: Advice = (
    "First initialise with the activation's gain: torch.nn.init.kaiming_normal_(layer.weight, "
    "nonlinearity='relu') and zero biases in every layer; or add normalisation or skip connections.",
    "Leaky ReLU alone hardly helps: at initialisation the squared gradient changes per layer in proportion to "
    "(1 + slope²)/2.",
)

EXPLODING: Advice = (
    "First initialise with the activation's gain, then clip the gradient's norm "
    "(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)) or lower the learning rate.",
)

SPIKE: Advice = (
    "First clip the gradient's norm at about its running median (torch.nn.utils.clip_grad_norm_), or warm the "
    "learning rate up; then look at the batch of that step.",
)

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

NON_FINITE: Advice = (
    "Run `rectifier explain train.py`: it names the first operation whose result is not finite. "
    "torch.autograd.set_detect_anomaly(True) names it, too, if it is in a backward pass.",
)

NON_FINITE_LOSS: Advice = (
    "First look at the loss: a logarithm or division of 0, or a target out of range, produces NaN "
    "even if every layer is finite. torch.autograd.set_detect_anomaly(True) names the operation.",
)

_NON_FINITE_UPDATE: Advice = ("First lower the learning rate, or clip the gradient's norm.",)

INFINITE_GRADIENT: Advice = (
    "Under torch.amp.GradScaler, single infinite gradients are normal: it skips these steps and halves the scale.",
    "Without it, run `rectifier explain train.py`: it names the first operation whose result is not finite.",
)

NON_FINITE_AT_START: Advice = (
    "Look for NaN in the data first, then for a division, logarithm or root in this layer, and for weights that"
    " were never initialised (torch.empty).",
)

BORN_DEAD: Advice = (
    "Use another seed, or make the layers wider or fewer; biases above 0 help, too.",
    "A leaky slope prevents this.",
    *_SLOPES,
)

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
    CauseKind.LEARNING_RATE: ("Halve the learning rate, or warm it up.",),
}

STUCK: Advice = ("Nothing to do unless the training stalls: these units still learn.",)

UNTOUCHED: Advice = ("Nothing to do if this is intended.",)

SATURATED_IN_PROGRESS: Advice = ("Nothing to do: training progresses.",)

ALWAYS_ON: Advice = ("Nothing to do: these units still learn; they are only linear.",)

SHRINKING: Advice = ("Nothing to do.",)

ALIKE_AT_START: Advice = ("Nothing to do unless training stalls; centring the input or normalisation removes it.",)

EARLIER_CHECKPOINT: Advice = (
    "Resume from an earlier checkpoint under `rectifier run`: it shows where NaN or infinity appears first.",
)


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
    CauseKind.LEARNING_RATE_LOW: ("Multiply the learning rate by 10.",),
    CauseKind.LEARNING_RATE_ZERO: ("Raise the learning rate, and check its schedule.",),
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
    OneElement: ("Remove that operation. To turn a single output into a share, use a sigmoid.",),
    Stretched: ("Give output and targets the same shape: output.squeeze(-1), or targets.unsqueeze(-1).",),
    KeptGradients: ("Call optimizer.zero_grad() once for each optimizer.step(), before the backward pass.",),
    ClearedGradients: (
        "Call optimizer.zero_grad() before loss.backward() or after optimizer.step(), not between them.",
    ),
    SortedBatches: ("Shuffle the data: DataLoader(..., shuffle=True), or torch.randperm for each pass.",),
    EqualWeights: ("Initialise the weights at random, with both signs: units with equal weights stay equal.",),
    ZeroAtFirst: ("Initialise these weights at random, with a small standard deviation, instead of 0.",),
    OtherTerms: ("Divide the weight of the other terms by 10, or raise it slowly during training.",),
    ScaledLoss: ("Average the loss over the batch, without a factor.",),
    ZeroLoss: ("Check the mask, or ignore_index: no target is left in the loss.",),
    LargeEpsilon: ("Lower eps to 1e-8 (torch's default), or raise the learning rate in proportion.",),
    LittleMovement: ("Multiply the learning rate by 10; check its schedule, clipping, and the scale of the loss.",),
    InitialGain: ("Initialise with the activation's gain: torch.nn.init.kaiming_normal_ for ReLU.",),
    RateByStep: (
        "Fix the schedule: warm up for a few percent of the steps, and check where scheduler.step() is called.",
    ),
    SmallInputs: ("Standardise the inputs: subtract their mean, divide by their standard deviation.",),
    BiasesBelowRange: ("Set the initial biases to 0.",),
    MostlyFrozen: ("Unfreeze more of the model with requires_grad_(True), unless it is pretrained.",),
    BoundedOutput: ("Remove the last activation or clamp, or scale the targets into its range.",),
}


def for_setup(cause: Cause) -> Advice:
    """What to do about a wrong setup around a network.

    Args:
        cause: Its cause.
    """
    if cause.kind is CauseKind.PRECISION:
        return ("Keep the weights in float32; use torch.autocast to compute in half precision.",)
    return _FOR_SETUP.get(type(cause.facts), for_model(cause))


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


EVAL_MODE: Advice = ("Nothing to do if this is intended, as in fine-tuning with frozen statistics.",)

TRAIN_MODE: Advice = ("Call model.train() before the training loop, and again after each evaluation.",)

EXPLAINED: Advice = ("Fix that finding first.",)

NOT_FINITE: dict[CauseKind, Advice] = {
    CauseKind.INPUT_NOT_FINITE: (
        "Look for NaN in the data, and for a constant column divided by its standard deviation, which is 0.",
    ),
    CauseKind.INPUT_SCALE: (
        "First standardise the inputs (subtract their mean, divide by their standard deviation), then lower the "
        "learning rate.",
    ),
    CauseKind.LEARNING_RATE: _NON_FINITE_UPDATE,
    CauseKind.INITIAL_WEIGHTS: ("Initialise these weights: torch.empty leaves arbitrary values.",),
    CauseKind.OPTIMIZER_STATE: (
        "Keep the weights in float32 (torch.autocast computes in half precision), or use an eps of 1e-4.",
    ),
    CauseKind.PRECISION: ("Keep this layer in float32; bfloat16 has the same range.",),
    CauseKind.RECURRENCE: ("Use a bounded activation (tanh) in the recurrence, or clip the gradient's norm.",),
    CauseKind.BATCH_OF_ONE: (
        "Leave incomplete batches out (drop_last=True), or use a normalisation that needs no batch.",
    ),
    CauseKind.NUMERICAL_OPERATION: (
        "Guard the operation: add a small number to the argument of a root or logarithm, or to a divisor. "
        "`rectifier explain train.py` names the operation and its line.",
    ),
}


def for_exploding(cause: Cause) -> Advice:
    """What to do about a gradient that explodes on its way down.

    Args:
        cause: Why it does.
    """
    return UNKNOWN_CAUSE if cause.kind is CauseKind.UNKNOWN else EXPLODING


def for_vanishing(cause: Cause, activation: str) -> Advice:
    """What to do about a gradient that vanishes, for the layers' own activation.

    Args:
        cause: Why it does.
        activation: As the site has it: `relu`, `tanh`.
    """
    if cause.kind is CauseKind.UNKNOWN:
        return UNKNOWN_CAUSE
    if "relu" in activation:
        return VANISHING
    if activation == "tanh":
        return (
            "First initialise with the activation's gain: torch.nn.init.xavier_normal_(layer.weight, "
            "gain=torch.nn.init.calculate_gain('tanh')); or add normalisation or skip connections.",
        )
    return (
        f"First add normalisation or skip connections; `rectifier activations {activation}` has the gain for "
        "initial weights.",
    )
