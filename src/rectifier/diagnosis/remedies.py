"""What to do about a finding, as codes, the mildest first; `rectifier.report.sentences` has the words.

A remedy follows from a cause. Where the cause is unknown there is none: what could be tried is an experiment, and no
remedy.
"""

from rectifier.records import (
    Cause,
    CauseKind,
    CustomFunctions,
    EqualWeights,
    Fix,
    FixKind,
    FlatOperations,
    HugeOutput,
    LargeMomentum,
    RemedyId,
    ZeroAtFirst,
    ZeroWeights,
)

VANISHING = (RemedyId.INIT_GAIN, RemedyId.ZERO_BIAS)
EXPLODING = (RemedyId.INIT_GAIN, RemedyId.CLIP_GRADIENT, RemedyId.LOWER_LEARNING_RATE)
SPIKE = (RemedyId.CLIP_GRADIENT, RemedyId.LOWER_LEARNING_RATE, RemedyId.CHECK_INPUTS)
BORN_DEAD = (RemedyId.INIT_RANDOM, RemedyId.MORE_UNITS, RemedyId.FEWER_LAYERS, RemedyId.LEAKY_ACTIVATION)
NO_GRADIENT = (RemedyId.CHANGE_OBJECTIVE, RemedyId.RECONNECT_GRAPH)
OUTPUT_ACTIVATION = (RemedyId.LINEAR_OUTPUT,)
STARVED = (RemedyId.RECONNECT_GRAPH,)
EVAL_MODE = (RemedyId.TRAIN_MODE,)

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
    CauseKind.EVAL_MODE: EVAL_MODE,
    CauseKind.INPUT_CONSTANT: (RemedyId.CHECK_INPUTS,),
    CauseKind.INITIAL_WEIGHTS: (RemedyId.INIT_GAIN, RemedyId.FEWER_LAYERS),
    CauseKind.LEARNING_RATE: (RemedyId.LOWER_LEARNING_RATE,),
}


def where_known(cause: Cause, chosen: tuple[RemedyId, ...]) -> tuple[RemedyId, ...]:
    """These remedies; none where the cause is unknown.

    Args:
        cause: Of the finding.
        chosen: What helps where the rule's own causes are at work.
    """
    return () if cause.kind is CauseKind.UNKNOWN else chosen


def for_dead_units(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do about dead units that matter.

    Args:
        cause: Theirs.
    """
    if cause.kind in (CauseKind.UPSTREAM, CauseKind.UNKNOWN):
        # Of the first: what the finding about the layer below asks for.
        return ()
    if isinstance(cause.facts, ZeroWeights):
        return RemedyId.INIT_RANDOM, RemedyId.LEAKY_ACTIVATION
    first = _DEAD.get(cause.kind)
    # A slope keeps a gradient in every unit, whichever of the known causes it was.
    return (RemedyId.LEAKY_ACTIVATION,) if first is None else (first, RemedyId.LEAKY_ACTIVATION)


_SATURATED: dict[CauseKind, RemedyId] = {
    CauseKind.INPUT_SCALE: RemedyId.STANDARDISE_INPUTS,
    CauseKind.INITIAL_WEIGHTS: RemedyId.INIT_GAIN,
    CauseKind.INITIAL_BIAS: RemedyId.ZERO_BIAS,
    CauseKind.LEARNING_RATE: RemedyId.LOWER_LEARNING_RATE,
}


def for_saturation(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do about a saturated layer; nothing where no cause is shown.

    Args:
        cause: Its.
    """
    return (_SATURATED[cause.kind],) if cause.kind in _SATURATED else ()


def for_constant_predictor(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do where samples look alike; nothing where no cause is shown.

    Args:
        cause: Why they do.
    """
    return _PREDICTOR.get(cause.kind, ())


def comparison_of(activation: str) -> tuple[Fix, ...]:
    """What to type to see whether another activation helps; nothing where no single command does it.

    Args:
        activation: As the site has it, `relu6`.
    """
    kind = {"relu": FixKind.COMPARE, "relu6": FixKind.SWAP_RELU6}.get(activation)
    return () if kind is None else (Fix(kind=kind),)


WATCH = (Fix(kind=FixKind.RUN),)
NAME_OPERATION = (Fix(kind=FixKind.DETECT_ANOMALY),)

_UNTRAINED: dict[CauseKind, tuple[RemedyId, ...]] = {
    CauseKind.GRAPH_CUT: (RemedyId.RECONNECT_GRAPH,),
    CauseKind.DOWNSTREAM_CONSTANT: (RemedyId.CHANGE_OBJECTIVE, RemedyId.RECONNECT_GRAPH),
    CauseKind.INITIAL_WEIGHTS: (RemedyId.INIT_RANDOM,),
    CauseKind.INPUT_CONSTANT: (RemedyId.CHECK_INPUTS,),
    CauseKind.NOT_REGISTERED: (RemedyId.REGISTER_PARAMETERS, RemedyId.ADD_TO_OPTIMIZER),
    CauseKind.NOT_IN_OPTIMIZER: (RemedyId.ADD_TO_OPTIMIZER,),
    CauseKind.OPTIMIZER_NOT_STEPPED: (RemedyId.STEP_OPTIMIZER,),
    CauseKind.LEARNING_RATE_ZERO: (RemedyId.RAISE_LEARNING_RATE, RemedyId.MEND_SCHEDULE),
    CauseKind.LEARNING_RATE_LOW: (RemedyId.RAISE_LEARNING_RATE, RemedyId.MEND_SCHEDULE),
}
_NOT_FINITE: dict[CauseKind, tuple[RemedyId, ...]] = {
    CauseKind.INPUT_NOT_FINITE: (RemedyId.CHECK_INPUTS,),
    CauseKind.INPUT_SCALE: (RemedyId.STANDARDISE_INPUTS, RemedyId.LOWER_LEARNING_RATE),
    CauseKind.TARGET_SCALE: (RemedyId.STANDARDISE_TARGETS, RemedyId.LOWER_LEARNING_RATE),
    CauseKind.LEARNING_RATE: (RemedyId.LOWER_LEARNING_RATE, RemedyId.CLIP_GRADIENT),
    CauseKind.INITIAL_WEIGHTS: (RemedyId.INIT_RANDOM,),
    CauseKind.OPTIMIZER_STATE: (RemedyId.LARGER_EPS, RemedyId.FLOAT32, RemedyId.LOWER_LEARNING_RATE),
    CauseKind.RECURRENCE: (RemedyId.BOUNDED_ACTIVATION, RemedyId.CLIP_GRADIENT),
    CauseKind.BATCH_OF_ONE: (RemedyId.DROP_LAST_BATCH, RemedyId.CHANGE_NORMALISATION),
    CauseKind.PRECISION: (RemedyId.FLOAT32, RemedyId.LOWER_LEARNING_RATE),
    CauseKind.NUMERICAL_OPERATION: (RemedyId.GUARD_OPERATION,),
    CauseKind.LOSS_NOT_FINITE: (RemedyId.GUARD_OPERATION, RemedyId.CHECK_INPUTS),
}
_LINES: dict[RemedyId, FixKind] = {
    RemedyId.ADD_TO_OPTIMIZER: FixKind.ADD_TO_OPTIMIZER,
    RemedyId.REGISTER_PARAMETERS: FixKind.REGISTER_PARAMETERS,
    RemedyId.STEP_OPTIMIZER: FixKind.STEP_OPTIMIZER,
    RemedyId.INIT_RANDOM: FixKind.DRAW_WEIGHTS,
    RemedyId.LARGER_EPS: FixKind.LARGER_EPSILON,
    RemedyId.GUARD_OPERATION: FixKind.DETECT_ANOMALY,
    RemedyId.DROP_LAST_BATCH: FixKind.DROP_LAST,
    RemedyId.CLIP_GRADIENT: FixKind.CLIP_NORM,
    RemedyId.TRAIN_MODE: FixKind.TRAIN_MODE,
}


def for_untrained(cause: Cause, *, scheduled: bool = False) -> tuple[RemedyId, ...]:
    """What to do about parameters that are not trained.

    Args:
        cause: Why they are not.
        scheduled: Whether a schedule has their learning rate.
    """
    if scheduled and cause.kind is CauseKind.LEARNING_RATE_ZERO:
        return RemedyId.MEND_SCHEDULE, RemedyId.RAISE_LEARNING_RATE
    if isinstance(cause.facts, CustomFunctions | FlatOperations):
        return RemedyId.RECONNECT_GRAPH, RemedyId.CHANGE_ACTIVATION
    return _UNTRAINED.get(cause.kind, ())


def for_weight_norm(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do about weights that shrank away or grew without bound.

    Args:
        cause: Why they did.
    """
    return {
        CauseKind.WEIGHT_DECAY: (RemedyId.LOWER_WEIGHT_DECAY,),
        CauseKind.LEARNING_RATE: (RemedyId.LOWER_LEARNING_RATE, RemedyId.CLIP_GRADIENT),
    }.get(cause.kind, ())


def for_not_finite(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do about the first place that was not finite; nothing where no cause is shown.

    Args:
        cause: Why it was not.
    """
    if cause.kind is CauseKind.INITIAL_WEIGHTS and isinstance(cause.facts, HugeOutput):
        return (RemedyId.INIT_GAIN,)
    return _NOT_FINITE.get(cause.kind, ())


def lines_for_not_finite(cause: Cause) -> tuple[Fix, ...]:
    """What to type there; of an unknown cause the line that lets autograd name the operation.

    Args:
        cause: As above.
    """
    return NAME_OPERATION if cause.kind is CauseKind.UNKNOWN else lines_for(for_not_finite(cause))


def lines_for(chosen: tuple[RemedyId, ...]) -> tuple[Fix, ...]:
    """What to type for the first of them; nothing where no single line does it.

    Args:
        chosen: As a finding has them.
    """
    kind = _LINES.get(chosen[0]) if chosen else None
    return () if kind is None else (Fix(kind=kind),)


_MODEL: dict[CauseKind, tuple[RemedyId, ...]] = {
    CauseKind.OUTPUT_ACTIVATION: (RemedyId.LINEAR_OUTPUT, RemedyId.LEAKY_ACTIVATION),
    CauseKind.INPUT_CONSTANT: (RemedyId.CHECK_INPUTS,),
    CauseKind.INPUT_SCALE: (RemedyId.STANDARDISE_INPUTS,),
    CauseKind.TARGET_SCALE: (RemedyId.STANDARDISE_TARGETS,),
    CauseKind.INITIAL_WEIGHTS: (RemedyId.INIT_GAIN,),
    CauseKind.WEIGHT_DECAY: (RemedyId.LOWER_WEIGHT_DECAY,),
    CauseKind.OBJECTIVE: (RemedyId.STOP_GRADIENT, RemedyId.CHANGE_OBJECTIVE),
    CauseKind.LEARNING_RATE: (RemedyId.LOWER_LEARNING_RATE, RemedyId.CLIP_GRADIENT),
    CauseKind.LEARNING_RATE_LOW: (RemedyId.RAISE_LEARNING_RATE,),
    CauseKind.LEARNING_RATE_ZERO: (RemedyId.RAISE_LEARNING_RATE, RemedyId.MEND_SCHEDULE),
}


_SETUP: dict[CauseKind, tuple[RemedyId, ...]] = {
    CauseKind.GRAPH_CUT: (RemedyId.RECONNECT_GRAPH,),
    CauseKind.NOT_REGISTERED: (RemedyId.REGISTER_PARAMETERS,),
    CauseKind.LOSS_TERM: (RemedyId.WEAKEN_LOSS_TERM,),
    CauseKind.INITIAL_BIAS: (RemedyId.ZERO_BIAS,),
    CauseKind.NORMALISATION: (RemedyId.CHANGE_NORMALISATION,),
    CauseKind.OBJECTIVE: (RemedyId.CHANGE_OBJECTIVE,),
    CauseKind.PRECISION: (RemedyId.FLOAT32, RemedyId.RAISE_LEARNING_RATE),
}


def for_setup(cause: Cause) -> tuple[RemedyId, ...]:
    """What to do about what is set up wrongly around a network.

    Args:
        cause: That.
    """
    if isinstance(cause.facts, EqualWeights | ZeroAtFirst):
        return (RemedyId.INIT_RANDOM,)
    if isinstance(cause.facts, LargeMomentum):
        return (RemedyId.LOWER_LEARNING_RATE,)
    return _SETUP.get(cause.kind, _MODEL.get(cause.kind, ()))


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
