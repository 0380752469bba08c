"""What to do about a finding, as codes, the mildest first; `rectifier.report.sentences` has the words."""

from rectifier.records import Cause, CauseKind, Fix, FixKind, RemedyId, ZeroWeights

VANISHING = (RemedyId.INIT_GAIN, RemedyId.ZERO_BIAS)
EXPLODING = (RemedyId.INIT_GAIN, RemedyId.CLIP_GRADIENT, RemedyId.LOWER_LEARNING_RATE)
SPIKE = (RemedyId.CLIP_GRADIENT, RemedyId.LOWER_LEARNING_RATE, RemedyId.CHECK_INPUTS)
INFINITE_GRADIENT = (RemedyId.CLIP_GRADIENT, RemedyId.LOWER_LEARNING_RATE)
NOT_FINITE = (RemedyId.LOWER_LEARNING_RATE, RemedyId.CLIP_GRADIENT, RemedyId.CHECK_INPUTS, RemedyId.FLOAT32)
LOSS_NOT_FINITE = (RemedyId.GUARD_OPERATION,)
NOT_FINITE_AT_START = (RemedyId.CHECK_INPUTS, RemedyId.GUARD_OPERATION, RemedyId.INIT_RANDOM)
BORN_DEAD = (RemedyId.INIT_RANDOM, RemedyId.MORE_UNITS, RemedyId.FEWER_LAYERS, RemedyId.LEAKY_ACTIVATION)
NO_GRADIENT = (RemedyId.CHANGE_OBJECTIVE, RemedyId.RECONNECT_GRAPH)
OUTPUT_ACTIVATION = (RemedyId.LINEAR_OUTPUT,)
SILENT_ROWS = (RemedyId.LOWER_LEARNING_RATE, RemedyId.LEAKY_ACTIVATION)
STARVED = (RemedyId.RECONNECT_GRAPH,)

_DEAD: dict[CauseKind, RemedyId] = {
    CauseKind.LEARNING_RATE: RemedyId.LOWER_LEARNING_RATE,
    CauseKind.INPUT_SCALE: RemedyId.STANDARDISE_INPUTS,
    CauseKind.INPUT_CONSTANT: RemedyId.CHECK_INPUTS,
    CauseKind.INITIAL_WEIGHTS: RemedyId.INIT_GAIN,
    CauseKind.INITIAL_BIAS: RemedyId.ZERO_BIAS,
    CauseKind.NARROW_LAYER: RemedyId.MORE_UNITS,
    CauseKind.WEIGHT_DECAY: RemedyId.LOWER_WEIGHT_DECAY,
    CauseKind.OUTPUT_ACTIVATION: RemedyId.LINEAR_OUTPUT,
}
_PREDICTOR: dict[CauseKind, tuple[RemedyId, ...]] = {
    CauseKind.INPUT_SCALE: (RemedyId.STANDARDISE_INPUTS,),
    CauseKind.INPUT_CONSTANT: (RemedyId.CHECK_INPUTS,),
    CauseKind.INITIAL_WEIGHTS: (RemedyId.INIT_GAIN, RemedyId.FEWER_LAYERS),
    CauseKind.LEARNING_RATE: (RemedyId.LOWER_LEARNING_RATE,),
    CauseKind.UNKNOWN: (RemedyId.LOWER_LEARNING_RATE,),
}


def for_dead_units(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do about dead units that matter.

    Args:
        cause: Theirs.
    """
    if cause.kind is CauseKind.UPSTREAM:
        # What the finding about the layer below asks for.
        return ()
    if isinstance(cause.facts, ZeroWeights):
        return RemedyId.INIT_RANDOM, RemedyId.LEAKY_ACTIVATION
    first = _DEAD.get(cause.kind)
    # A slope keeps a gradient in every unit, whatever the cause.
    return (RemedyId.LEAKY_ACTIVATION,) if first is None else (first, RemedyId.LEAKY_ACTIVATION)


_SATURATED: dict[CauseKind, RemedyId] = {
    CauseKind.INPUT_SCALE: RemedyId.STANDARDISE_INPUTS,
    CauseKind.INITIAL_WEIGHTS: RemedyId.INIT_GAIN,
    CauseKind.LEARNING_RATE: RemedyId.LOWER_LEARNING_RATE,
}


def for_saturation(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do about a saturated layer; nothing where no cause is shown.

    Args:
        cause: Its.
    """
    return (_SATURATED[cause.kind],) if cause.kind in _SATURATED else ()


def for_constant_predictor(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do where samples look alike.

    Args:
        cause: Why they do.
    """
    return _PREDICTOR[cause.kind]


def comparison_of(activation: str) -> tuple[Fix, ...]:
    """What to type to see whether another activation helps; nothing where no single command does it.

    Args:
        activation: As the site has it, `relu6`.
    """
    kind = {"relu": FixKind.COMPARE, "relu6": FixKind.SWAP_RELU6}.get(activation)
    return () if kind is None else (Fix(kind=kind),)


WATCH = (Fix(kind=FixKind.RUN),)


_MODEL: dict[CauseKind, tuple[RemedyId, ...]] = {
    CauseKind.OUTPUT_ACTIVATION: (RemedyId.LINEAR_OUTPUT, RemedyId.LEAKY_ACTIVATION),
    CauseKind.INPUT_CONSTANT: (RemedyId.CHECK_INPUTS,),
    CauseKind.INPUT_SCALE: (RemedyId.STANDARDISE_INPUTS,),
    CauseKind.WEIGHT_DECAY: (RemedyId.LOWER_WEIGHT_DECAY,),
    CauseKind.OBJECTIVE: (RemedyId.STOP_GRADIENT, RemedyId.CHANGE_OBJECTIVE),
    CauseKind.LEARNING_RATE: (RemedyId.LOWER_LEARNING_RATE, RemedyId.CLIP_GRADIENT),
    CauseKind.LEARNING_RATE_LOW: (RemedyId.RAISE_LEARNING_RATE,),
    CauseKind.LEARNING_RATE_ZERO: (RemedyId.RAISE_LEARNING_RATE, RemedyId.MEND_SCHEDULE),
}


def for_output(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do about an output that tells nothing; nothing where no cause is shown.

    Args:
        cause: Its.
    """
    return _MODEL.get(cause.kind, ())


def for_standing_still(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do about a loss that stands still; nothing where no cause is shown.

    Args:
        cause: Its.
    """
    return _MODEL.get(cause.kind, ())
