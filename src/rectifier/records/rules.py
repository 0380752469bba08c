"""What findings can say, as codes: rules, severities, causes, consequences, remedies and what to type."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, get_args

Severity = Literal["info", "warning", "serious"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the mildest on: the one order of severities."""


def rank(severity: Severity) -> int:
    """How severe it is, as a number: 0 for information."""
    return SEVERITIES.index(severity)


def most_severe(severities: Iterable[Severity]) -> Severity | None:
    """The highest of them, None where there is none."""
    return max(severities, key=rank, default=None)


class Rule(StrEnum):
    """Names of rules, as users type them to suppress a finding; `says` is what a finding of the rule means."""

    says: str

    def __new__(cls, value: str, says: str) -> "Rule":
        """A name with its words."""
        rule = str.__new__(cls, value)
        rule._value_ = value
        rule.says = says
        return rule

    DEAD_UNITS = "dead-units", "units of one layer that have no gradient on any sample"
    STUCK_NEGATIVE = (
        "stuck-negative",
        "units of one layer that never fire, of an activation that still passes a gradient there",
    )
    CONSTANT_NETWORK = "constant-network", "an inactive layer cuts the only path through the network"
    CONSTANT_PREDICTOR = (
        "constant-predictor",
        "the last activation gives every sample almost the same output, and nothing is learned",
    )
    COLLAPSED_OUTPUT = (
        "collapsed-output",
        "the output is almost the same for every sample, although it varied before, or the targets vary",
    )
    DEAD_OUTPUT = (
        "dead-output",
        "units of an output that give every sample the same value, although their target varies",
    )
    STANDING_STILL = (
        "standing-still",
        "the loss stays where it began, or at that of the best constant answer, and no other finding says why",
    )
    TRAINING_SETUP = (
        "training-setup",
        "the loss, the data, the initial weights or the optimizer are set up wrongly: the model learns little, or the "
        "wrong thing",
    )
    NO_ACTIVATION = "no-activation", "a network of several layers without an activation: it is linear"
    EVAL_MODE = "eval-mode", "a model that trains in eval mode: dropout is off, batch normalisation does not adapt"
    CONSTANT_LAYER = (
        "constant-layer",
        "each unit of a layer is always inactive or always active: the layer is linear",
    )
    VANISHING_GRADIENT = (
        "vanishing-gradient",
        "the gradient vanishes on its way to the first layer, which does not learn",
    )
    EXPLODING_GRADIENT = (
        "exploding-gradient",
        "the gradient grows on its way to the first layer, is infinite, or exploded at one step",
    )
    SHRINKING_GRADIENT = "shrinking-gradient", "the gradient shrinks from layer to layer"
    STARVED = "starved", "units that fire but get no gradient: the cause is in a later operation"
    UNTRAINED = "untrained", "parameters that get no gradient, or that do not change"
    WEIGHT_NORM = "weight-norm", "weights whose norm shrank to a hundredth, or grew a hundredfold"
    FROZEN = "frozen", "layers that are not trained, on purpose or not"
    SATURATED = "saturated", "most outputs of a layer are where tanh or sigmoid is flat"
    ALWAYS_ON = "always-on", "units of a layer that are always active: they are linear"
    POOR_INITIALISATION = (
        "poor-initialisation",
        "at the start, signal and gradient both vanish or explode, or all samples look alike",
    )
    OUTPUT_ACTIVATION = (
        "output-activation",
        "the last activation cannot reach the targets, or, before training, has a flat side",
    )
    NO_GRADIENT = "no-gradient", "before training: no parameter gets a gradient"
    NON_FINITE = "non-finite", "NaN or infinity, and where it first appeared"
    SILENT_ROWS = (
        "silent-rows",
        "rows of a checkpoint's weight that got no gradient, or did not change since an earlier checkpoint",
    )
    NO_INPUT = "no-input", "a weight that gets no gradient although its bias does: its inputs are 0"
    LIKELY_DEAD_BY_WEIGHTS = "likely-dead-by-weights", "rows whose weights and bias keep a ReLU from firing"


class CauseKind(StrEnum):
    """Kinds of causes; not every one has a rule yet that names it."""

    LEARNING_RATE = "learning_rate"
    """An update was too large."""
    LEARNING_RATE_LOW = "learning_rate_low"
    LEARNING_RATE_ZERO = "learning_rate_zero"
    OPTIMIZER_STATE = "optimizer_state"
    """Momentum or a tiny second moment made the step."""
    INITIAL_WEIGHTS = "initial_weights"
    """Scale, distribution or values at the start."""
    INITIAL_BIAS = "initial_bias"
    NARROW_LAYER = "narrow_layer"
    """Born dead by width."""
    DEPTH = "depth"
    ACTIVATION = "activation"
    """The flat or unbounded side of the function itself."""
    OUTPUT_ACTIVATION = "output_activation"
    """The last activation forbids the targets or the logits."""
    RECURRENCE = "recurrence"
    NORMALISATION = "normalisation"
    BATCH_OF_ONE = "batch_of_one"
    INPUT_SCALE = "input_scale"
    INPUT_CONSTANT = "input_constant"
    INPUT_NOT_FINITE = "input_not_finite"
    TARGET_SCALE = "target_scale"
    LOSS_TERM = "loss_term"
    WEIGHT_DECAY = "weight_decay"
    NUMERICAL_OPERATION = "numerical_operation"
    LOSS_NOT_FINITE = "loss_not_finite"
    PRECISION = "precision"
    GRAPH_CUT = "graph_cut"
    """The loss is not connected to it."""
    NOT_IN_OPTIMIZER = "not_in_optimizer"
    NOT_REGISTERED = "not_registered"
    OPTIMIZER_NOT_STEPPED = "optimizer_not_stepped"
    FROZEN = "frozen"
    """On purpose: `requires_grad=False`."""
    DOWNSTREAM_SATURATION = "downstream_saturation"
    DOWNSTREAM_CONSTANT = "downstream_constant"
    """The gradient is lost above: scaled to zero, masked, or of a constant."""
    ZERO_HIGHER_DERIVATIVE = "zero_higher_derivative"
    SELECTION = "selection"
    OBJECTIVE = "objective"
    LOSS_SHAPE = "loss_shape"
    GRADIENT_ACCUMULATION = "gradient_accumulation"
    EVAL_MODE = "eval_mode"
    DATA_ORDER = "data_order"
    NO_ACTIVATION = "no_activation"
    LOSS_SCALE = "loss_scale"
    UPSTREAM = "upstream"
    """Another finding explains this one."""
    UNKNOWN = "unknown"
    """The evidence shows none of the above."""


class RemedyId(StrEnum):
    """What can be done about a cause."""

    LOWER_LEARNING_RATE = "lower_learning_rate"
    RAISE_LEARNING_RATE = "raise_learning_rate"
    MEND_SCHEDULE = "mend_schedule"
    CLIP_GRADIENT = "clip_gradient"
    LARGER_EPS = "larger_eps"
    INIT_GAIN = "init_gain"
    INIT_RANDOM = "init_random"
    ZERO_BIAS = "zero_bias"
    MORE_UNITS = "more_units"
    FEWER_LAYERS = "fewer_layers"
    LEAKY_ACTIVATION = "leaky_activation"
    BOUNDED_ACTIVATION = "bounded_activation"
    CHANGE_ACTIVATION = "change_activation"
    LINEAR_OUTPUT = "linear_output"
    CHANGE_NORMALISATION = "change_normalisation"
    DROP_LAST_BATCH = "drop_last_batch"
    STANDARDISE_INPUTS = "standardise_inputs"
    CHECK_INPUTS = "check_inputs"
    STANDARDISE_TARGETS = "standardise_targets"
    WEAKEN_LOSS_TERM = "weaken_loss_term"
    LOWER_WEIGHT_DECAY = "lower_weight_decay"
    GUARD_OPERATION = "guard_operation"
    FLOAT32 = "float32"
    RECONNECT_GRAPH = "reconnect_graph"
    ADD_TO_OPTIMIZER = "add_to_optimizer"
    REGISTER_PARAMETERS = "register_parameters"
    STEP_OPTIMIZER = "step_optimizer"
    CHANGE_OBJECTIVE = "change_objective"
    RESET_CODES = "reset_codes"
    STOP_GRADIENT = "stop_gradient"
    TRAIN_MODE = "train_mode"


class Consequence(StrEnum):
    """What followed from what was found, as far as the loss tells."""

    NOT_ASKED = "not_asked"
    """The rule does not ask, or the finding is information only."""
    NO_PROGRESS = "no_progress"
    PROGRESS = "progress"
    """Training progresses all the same."""
    SETTLED = "settled"
    """The loss has stopped falling."""
    RECOVERED = "recovered"
    """The loss came back to what it was."""
    NOT_RECOVERED = "not_recovered"
    UNKNOWN = "unknown"
    """It could not be told."""


class FixKind(StrEnum):
    """What to type; `rectifier.report.sentences.fixes` writes it."""

    COMPARE = "compare"
    """Compare activations on the same script."""
    SWAP_RELU6 = "swap_relu6"
    """Run with a slope in the place of ReLU6, which `compare` does not replace."""
    RUN = "run"
    """Watch a training."""
    ADD_TO_OPTIMIZER = "add_to_optimizer"
    """Give the optimizer all parameters."""
    REGISTER_PARAMETERS = "register_parameters"
    """Hold modules so that the model knows them."""
    STEP_OPTIMIZER = "step_optimizer"
    """Take the step."""
    DRAW_WEIGHTS = "draw_weights"
    """Draw weights that began at 0."""
    LARGER_EPSILON = "larger_epsilon"
    """Of Adam, for half precision."""
    DETECT_ANOMALY = "detect_anomaly"
    """Let autograd name the operation."""
    DROP_LAST = "drop_last"
    """Leave the incomplete batch out."""
    CLIP_NORM = "clip_norm"
    """Clip the gradient's norm."""
    TRAIN_MODE = "train_mode"
    """Put the model into train mode."""
