"""An established cause in words."""

from rectifier.records import CauseKind, Change, EstablishedCause

_CAUSES: dict[CauseKind, str] = {
    CauseKind.LEARNING_RATE: "the learning rate is too large",
    CauseKind.LEARNING_RATE_LOW: "the learning rate is too small",
    CauseKind.LEARNING_RATE_ZERO: "the learning rate is 0",
    CauseKind.OPTIMIZER_STATE: "momentum or a tiny second moment makes the steps too large",
    CauseKind.INITIAL_WEIGHTS: "the initial weights",
    CauseKind.INITIAL_BIAS: "the initial biases",
    CauseKind.NARROW_LAYER: "a layer is too narrow",
    CauseKind.DEPTH: "the layers lose the signal or the gradient",
    CauseKind.ACTIVATION: "the flat or unbounded side of the activation",
    CauseKind.OUTPUT_ACTIVATION: "the output activation",
    CauseKind.RECURRENCE: "values grow from call to call within one forward pass",
    CauseKind.NORMALISATION: "the normalisation",
    CauseKind.BATCH_OF_ONE: "batches of one sample",
    CauseKind.INPUT_SCALE: "the offset or scale of the inputs",
    CauseKind.INPUT_CONSTANT: "the inputs do not vary",
    CauseKind.INPUT_NOT_FINITE: "the inputs are not finite",
    CauseKind.TARGET_SCALE: "the offset or scale of the targets",
    CauseKind.LOSS_TERM: "one term of the loss",
    CauseKind.WEIGHT_DECAY: "weight decay",
    CauseKind.NUMERICAL_OPERATION: "an operation produces NaN or infinity",
    CauseKind.LOSS_NOT_FINITE: "the loss is not finite on some batches",
    CauseKind.PRECISION: "the number format",
    CauseKind.GRAPH_CUT: "the loss is not connected to these parameters",
    CauseKind.NOT_IN_OPTIMIZER: "no optimizer holds these parameters",
    CauseKind.NOT_REGISTERED: "the model does not register these parameters",
    CauseKind.OPTIMIZER_NOT_STEPPED: "the optimizer takes no step",
    CauseKind.FROZEN: "requires_grad=False freezes these parameters",
    CauseKind.DOWNSTREAM_SATURATION: "a later operation is flat and passes no gradient",
    CauseKind.DOWNSTREAM_CONSTANT: "a later operation is constant and passes no gradient",
    CauseKind.ZERO_HIGHER_DERIVATIVE: "a term of the loss needs a derivative that the activation does not have",
    CauseKind.SELECTION: "entries that are never selected cannot learn",
    CauseKind.OBJECTIVE: "the loss has its optimum at this failure",
    CauseKind.LOSS_SHAPE: "outputs and targets have different shapes",
    CauseKind.GRADIENT_ACCUMULATION: "gradients are not cleared between steps",
    CauseKind.EVAL_MODE: "the model trains in eval mode",
    CauseKind.DATA_ORDER: "the order of the data",
    CauseKind.NO_ACTIVATION: "there is no activation between the layers",
    CauseKind.LOSS_SCALE: "the scale of the loss",
    CauseKind.UPSTREAM: "another finding explains it",
    CauseKind.UNKNOWN: "unknown",
}


def cause_text(cause: EstablishedCause) -> str:
    """A cause in words: `weight decay of 0.5 (AdamW, group 0)`."""
    words = _CAUSES[cause.kind]
    change = None if cause.intervention is None else cause.intervention.change
    # The detail of these changes repeats the cause.
    if not cause.detail or change in (Change.SKIP_BATCHES_OF_ONE, Change.SKIP_NONFINITE):
        return words
    if (cause.kind, change) == (CauseKind.WEIGHT_DECAY, Change.WEIGHT_DECAY_OFF):
        # The detail has these words and the number.
        return cause.detail
    return f"{words} ({cause.detail})"
