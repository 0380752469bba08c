"""Which change takes which cause away, and what a user does about it.

Typed tables alone: the engine asks them, and nothing in them knows a script.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rectifier.records import CauseKind as Kind
from rectifier.records import Change, Intervention, RemedyId, Rule, Sight, SightKind


@dataclass(frozen=True, slots=True)
class Removes:
    """What a change takes away.

    Attributes:
        cause: The cause that it removes.
        remedy: What a user does instead; None where only words say it.
        general: Whether it cures much that it did not cause: then it is a remedy, and a cause only where nothing else
            is.
    """

    cause: Kind
    remedy: RemedyId | None
    general: bool = False


REMOVES: dict[Change, Removes] = {
    # From what is nearest to the user's settings on: of several changes that help, the first one is named first.
    Change.STEP_OPTIMIZER: Removes(Kind.OPTIMIZER_NOT_STEPPED, RemedyId.STEP_OPTIMIZER),
    Change.ADD_PARAMETERS: Removes(Kind.NOT_IN_OPTIMIZER, RemedyId.ADD_TO_OPTIMIZER),
    Change.TRAIN_MODE: Removes(Kind.EVAL_MODE, None),
    Change.ZERO_GRAD: Removes(Kind.GRADIENT_ACCUMULATION, None),
    Change.SKIP_BATCHES_OF_ONE: Removes(Kind.BATCH_OF_ONE, RemedyId.DROP_LAST_BATCH),
    Change.WEIGHT_DECAY_OFF: Removes(Kind.WEIGHT_DECAY, RemedyId.LOWER_WEIGHT_DECAY),
    Change.LINEAR_OUTPUT: Removes(Kind.OUTPUT_ACTIVATION, RemedyId.LINEAR_OUTPUT),
    Change.STANDARDISE_INPUTS: Removes(Kind.INPUT_SCALE, RemedyId.STANDARDISE_INPUTS),
    Change.WEIGHTS_SMALL_RANDOM: Removes(Kind.INITIAL_WEIGHTS, RemedyId.INIT_RANDOM),
    Change.ZERO_BIAS: Removes(Kind.INITIAL_BIAS, RemedyId.ZERO_BIAS),
    Change.LARGER_EPS: Removes(Kind.OPTIMIZER_STATE, RemedyId.LARGER_EPS),
    Change.LEARNING_RATE_THIRD: Removes(Kind.LEARNING_RATE, RemedyId.LOWER_LEARNING_RATE),
    Change.LEARNING_RATE_TENTH: Removes(Kind.LEARNING_RATE, RemedyId.LOWER_LEARNING_RATE),
    Change.LEARNING_RATE_HUNDREDTH: Removes(Kind.LEARNING_RATE, RemedyId.LOWER_LEARNING_RATE),
    Change.WARM_UP: Removes(Kind.LEARNING_RATE, RemedyId.LOWER_LEARNING_RATE),
    Change.STANDARDISE_TARGETS: Removes(Kind.TARGET_SCALE, RemedyId.STANDARDISE_TARGETS),
    Change.WEIGHTS_HE: Removes(Kind.INITIAL_WEIGHTS, RemedyId.INIT_GAIN),
    Change.WEIGHTS_GLOROT: Removes(Kind.INITIAL_WEIGHTS, RemedyId.INIT_GAIN),
    Change.LEARNING_RATE_TRIPLE: Removes(Kind.LEARNING_RATE_LOW, RemedyId.RAISE_LEARNING_RATE),
    Change.CLIPPING_OFF: Removes(Kind.LEARNING_RATE_LOW, RemedyId.RAISE_LEARNING_RATE),
    Change.LOSS_TERM_OFF: Removes(Kind.LOSS_TERM, RemedyId.WEAKEN_LOSS_TERM),
    Change.FLOAT32: Removes(Kind.PRECISION, RemedyId.FLOAT32),
    Change.MOMENTUM_OFF: Removes(Kind.OPTIMIZER_STATE, RemedyId.LOWER_LEARNING_RATE),
    Change.NORMALISATION_OFF: Removes(Kind.NORMALISATION, RemedyId.CHANGE_NORMALISATION),
    Change.BOUNDED_ACTIVATION: Removes(Kind.ACTIVATION, RemedyId.BOUNDED_ACTIVATION),
    Change.CLIP_GRADIENT: Removes(Kind.LEARNING_RATE, RemedyId.CLIP_GRADIENT, general=True),
    Change.GUARD_OPERATION: Removes(Kind.NUMERICAL_OPERATION, RemedyId.GUARD_OPERATION),
    Change.SKIP_NONFINITE: Removes(Kind.LOSS_NOT_FINITE, RemedyId.CHECK_INPUTS, general=True),
    Change.LEAKY_ACTIVATION: Removes(Kind.ACTIVATION, RemedyId.LEAKY_ACTIVATION, general=True),
    Change.UNSATURATED_ACTIVATION: Removes(Kind.ACTIVATION, RemedyId.CHANGE_ACTIVATION, general=True),
}

_TRIED: dict[Kind, tuple[Change, ...]] = {
    # A hundredth only where evidence speaks for it: so slow a training comes to few failures in its time.
    Kind.LEARNING_RATE: (
        Change.LEARNING_RATE_THIRD,
        Change.LEARNING_RATE_TENTH,
        Change.LEARNING_RATE_HUNDREDTH,
        Change.CLIP_GRADIENT,
        Change.WARM_UP,
    ),
    Kind.LEARNING_RATE_LOW: (Change.CLIPPING_OFF, Change.LEARNING_RATE_TRIPLE),
    Kind.LEARNING_RATE_ZERO: (Change.LEARNING_RATE_TRIPLE,),
    Kind.OPTIMIZER_STATE: (Change.LARGER_EPS, Change.MOMENTUM_OFF, Change.LEARNING_RATE_THIRD),
    Kind.INITIAL_WEIGHTS: (Change.WEIGHTS_SMALL_RANDOM, Change.WEIGHTS_HE, Change.WEIGHTS_GLOROT),
    Kind.INITIAL_BIAS: (Change.ZERO_BIAS,),
    Kind.NARROW_LAYER: (Change.LINEAR_OUTPUT, Change.LEAKY_ACTIVATION),
    Kind.DEPTH: (Change.WEIGHTS_HE, Change.WEIGHTS_GLOROT, Change.LEAKY_ACTIVATION, Change.UNSATURATED_ACTIVATION),
    Kind.ACTIVATION: (Change.LEAKY_ACTIVATION, Change.BOUNDED_ACTIVATION, Change.UNSATURATED_ACTIVATION),
    Kind.OUTPUT_ACTIVATION: (Change.LINEAR_OUTPUT, Change.LEAKY_ACTIVATION),
    Kind.RECURRENCE: (Change.BOUNDED_ACTIVATION, Change.CLIP_GRADIENT),
    Kind.NORMALISATION: (Change.NORMALISATION_OFF,),
    Kind.BATCH_OF_ONE: (Change.SKIP_BATCHES_OF_ONE,),
    Kind.INPUT_SCALE: (Change.STANDARDISE_INPUTS,),
    Kind.INPUT_NOT_FINITE: (Change.SKIP_NONFINITE,),
    Kind.TARGET_SCALE: (Change.STANDARDISE_TARGETS,),
    Kind.WEIGHT_DECAY: (Change.WEIGHT_DECAY_OFF,),
    Kind.NUMERICAL_OPERATION: (Change.GUARD_OPERATION, Change.SKIP_NONFINITE),
    Kind.LOSS_NOT_FINITE: (Change.GUARD_OPERATION, Change.SKIP_NONFINITE),
    Kind.PRECISION: (Change.FLOAT32, Change.LARGER_EPS),
    Kind.NOT_IN_OPTIMIZER: (Change.ADD_PARAMETERS,),
    Kind.NOT_REGISTERED: (Change.ADD_PARAMETERS,),
    Kind.OPTIMIZER_NOT_STEPPED: (Change.STEP_OPTIMIZER,),
    Kind.GRADIENT_ACCUMULATION: (Change.ZERO_GRAD,),
    Kind.EVAL_MODE: (Change.TRAIN_MODE,),
    Kind.LOSS_TERM: (Change.LOSS_TERM_OFF,),
}

SAID_BY: dict[Kind, Kind] = {
    Kind.NOT_REGISTERED: Kind.NOT_IN_OPTIMIZER,
    Kind.LEARNING_RATE_ZERO: Kind.LEARNING_RATE_LOW,
    Kind.RECURRENCE: Kind.ACTIVATION,
    Kind.LOSS_NOT_FINITE: Kind.NUMERICAL_OPERATION,
    Kind.INPUT_NOT_FINITE: Kind.LOSS_NOT_FINITE,
    Kind.NARROW_LAYER: Kind.ACTIVATION,
    Kind.DEPTH: Kind.INITIAL_WEIGHTS,
}
"""What evidence says more exactly -> the cause that a change of its kind removes."""

STRUCTURAL = frozenset({
    Kind.GRAPH_CUT, Kind.NOT_IN_OPTIMIZER, Kind.NOT_REGISTERED, Kind.OPTIMIZER_NOT_STEPPED, Kind.INPUT_CONSTANT,
    Kind.INPUT_NOT_FINITE, Kind.DOWNSTREAM_CONSTANT, Kind.LOSS_SHAPE, Kind.OBJECTIVE, Kind.SELECTION,
    Kind.ZERO_HIGHER_DERIVATIVE, Kind.NO_ACTIVATION, Kind.GRADIENT_ACCUMULATION, Kind.EVAL_MODE,
    Kind.DATA_ORDER, Kind.LEARNING_RATE_ZERO,
})  # fmt: skip
"""What is seen as it is, not inferred from what followed: it stands without an experiment where none can be made."""

MENDED_BY: dict[Kind, tuple[RemedyId, ...]] = {
    Kind.LEARNING_RATE: (RemedyId.LOWER_LEARNING_RATE, RemedyId.CLIP_GRADIENT),
    Kind.LEARNING_RATE_LOW: (RemedyId.RAISE_LEARNING_RATE,),
    Kind.LEARNING_RATE_ZERO: (RemedyId.RAISE_LEARNING_RATE, RemedyId.MEND_SCHEDULE),
    Kind.OPTIMIZER_STATE: (RemedyId.LARGER_EPS,),
    Kind.INITIAL_WEIGHTS: (RemedyId.INIT_GAIN,),
    Kind.INITIAL_BIAS: (RemedyId.ZERO_BIAS,),
    Kind.NARROW_LAYER: (RemedyId.MORE_UNITS,),
    Kind.OUTPUT_ACTIVATION: (RemedyId.LINEAR_OUTPUT,),
    Kind.NORMALISATION: (RemedyId.CHANGE_NORMALISATION,),
    Kind.BATCH_OF_ONE: (RemedyId.DROP_LAST_BATCH,),
    Kind.INPUT_SCALE: (RemedyId.STANDARDISE_INPUTS,),
    Kind.INPUT_CONSTANT: (RemedyId.CHECK_INPUTS,),
    Kind.INPUT_NOT_FINITE: (RemedyId.CHECK_INPUTS,),
    Kind.TARGET_SCALE: (RemedyId.STANDARDISE_TARGETS,),
    Kind.LOSS_TERM: (RemedyId.WEAKEN_LOSS_TERM,),
    Kind.WEIGHT_DECAY: (RemedyId.LOWER_WEIGHT_DECAY,),
    Kind.NUMERICAL_OPERATION: (RemedyId.GUARD_OPERATION,),
    Kind.LOSS_NOT_FINITE: (RemedyId.GUARD_OPERATION, RemedyId.CHECK_INPUTS),
    Kind.PRECISION: (RemedyId.FLOAT32, RemedyId.LARGER_EPS),
    Kind.GRAPH_CUT: (RemedyId.RECONNECT_GRAPH,),
    Kind.NOT_IN_OPTIMIZER: (RemedyId.ADD_TO_OPTIMIZER,),
    Kind.NOT_REGISTERED: (RemedyId.REGISTER_PARAMETERS, RemedyId.ADD_TO_OPTIMIZER),
    Kind.OPTIMIZER_NOT_STEPPED: (RemedyId.STEP_OPTIMIZER,),
    Kind.DOWNSTREAM_SATURATION: (RemedyId.CHANGE_OBJECTIVE, RemedyId.LINEAR_OUTPUT),
    Kind.DOWNSTREAM_CONSTANT: (RemedyId.CHANGE_OBJECTIVE, RemedyId.RECONNECT_GRAPH),
    Kind.ZERO_HIGHER_DERIVATIVE: (RemedyId.CHANGE_ACTIVATION,),
    Kind.SELECTION: (RemedyId.RESET_CODES, RemedyId.INIT_RANDOM),
    Kind.OBJECTIVE: (RemedyId.STOP_GRADIENT, RemedyId.CHANGE_OBJECTIVE),
}
"""What a user does about a cause, the first thing first."""

_NONFINITE_FIRST = (
    Change.GUARD_OPERATION, Change.LEARNING_RATE_THIRD, Change.LEARNING_RATE_TENTH, Change.LARGER_EPS,
    Change.STANDARDISE_INPUTS, Change.CLIP_GRADIENT, Change.BOUNDED_ACTIVATION, Change.FLOAT32,
    Change.SKIP_BATCHES_OF_ONE, Change.SKIP_NONFINITE, Change.WEIGHTS_HE,
)  # fmt: skip
_ORDER = (
    Change.WEIGHT_DECAY_OFF, Change.STANDARDISE_INPUTS, Change.LEARNING_RATE_THIRD, Change.WEIGHTS_HE,
    Change.LINEAR_OUTPUT, Change.LEAKY_ACTIVATION, Change.LOSS_TERM_OFF, Change.LEARNING_RATE_TENTH,
    Change.WEIGHTS_SMALL_RANDOM, Change.ZERO_BIAS, Change.WEIGHTS_GLOROT, Change.LEARNING_RATE_TRIPLE,
    Change.CLIPPING_OFF, Change.STANDARDISE_TARGETS, Change.CLIP_GRADIENT, Change.LARGER_EPS,
    Change.MOMENTUM_OFF, Change.WARM_UP, Change.BOUNDED_ACTIVATION, Change.UNSATURATED_ACTIVATION,
    Change.NORMALISATION_OFF, Change.ZERO_GRAD,
    Change.TRAIN_MODE, Change.ADD_PARAMETERS,
    Change.STEP_OPTIMIZER, Change.SKIP_BATCHES_OF_ONE, Change.FLOAT32, Change.SKIP_NONFINITE,
)  # fmt: skip

MOST_TERMS = 4
"""Addends of a loss that are taken away one by one."""

SLOWER: dict[Change, int] = {
    Change.LEARNING_RATE_THIRD: 3,
    Change.LEARNING_RATE_TENTH: 10,
    Change.LEARNING_RATE_HUNDREDTH: 100,
    Change.WARM_UP: 3,
    Change.CLIP_GRADIENT: 3,
}
"""Changes that may only put a failure off, and by how many times."""

OTHER_LOSS = frozenset({Change.LOSS_TERM_OFF, Change.STANDARDISE_TARGETS})
"""Changes after which the loss is another one: it is not compared."""


def candidates(kinds: Iterable[Kind], sights: Sequence[Sight], rule: str) -> list[Intervention]:
    """All changes to try, in the order in which they are worth it.

    Args:
        kinds: Causes that evidence speaks for, best first.
        sights: What the microscope saw.
        rule: Name of the rule that the failure has.
    """
    # By its line alone: a backward pass has other names for operations than who writes the line.
    # What only reads a bad input is not to be guarded, nor what only met numbers that had grown: both hide the cause.
    places = [
        sight.place
        for sight in sights
        if sight.place
        and sight.kind is SightKind.FIRST_NONFINITE
        and sight.cause_kind is not Kind.INPUT_NOT_FINITE
        and not sight.numbers.get("grown")
    ]
    addends = [sight for sight in sights if sight.cause_kind is Kind.LOSS_TERM and "index" in sight.numbers]
    addends.sort(key=lambda sight: -sight.numbers.get("share", 0.0))
    # The one that moves most comes first; where they were not told apart, the first ones.
    terms = [int(sight.numbers["index"]) for sight in addends] or list(range(MOST_TERMS))
    changes = [change for kind in kinds for change in _TRIED.get(kind, ())]
    changes += [*(_NONFINITE_FIRST if rule == Rule.NON_FINITE else ()), *_ORDER]
    found: list[Intervention] = []
    for change in dict.fromkeys(changes):
        if change is Change.GUARD_OPERATION:
            found += [Intervention(change, place) for place in dict.fromkeys(places)]
        elif change is Change.LOSS_TERM_OFF:
            found += [Intervention(change, term) for term in dict.fromkeys(terms[:MOST_TERMS])]
        else:
            found.append(Intervention(change))
    return found


def removed_by(intervention: Intervention, said: Iterable[Kind]) -> Kind:
    """The cause that a change takes away, as exactly as the evidence says it.

    Args:
        intervention: The change.
        said: Causes that evidence speaks for.
    """
    kind = REMOVES[intervention.change].cause
    for one in said:
        if one is kind or (SAID_BY.get(one) is kind and intervention.change in _TRIED.get(one, ())):
            return one
    return kind


def supports(kind: Kind, intervention: Intervention) -> bool:
    """Whether evidence for a cause speaks for what a change takes away."""
    return intervention.change in _TRIED.get(kind, ())


def mendable(kind: Kind) -> bool:
    """Whether some change takes this cause away from outside."""
    return bool(_TRIED.get(kind))


def place_among(kind: Kind, change: Change) -> int:
    """How early a change is tried for a cause."""
    return _TRIED[kind].index(change)


def rank_of(change: Change) -> int:
    """Place in the order from the user's settings on."""
    return list(REMOVES).index(change)


UNCOMPARED = frozenset({Change.LOSS_TERM_OFF})
"""Changes of what is asked for, without which the rest may well be easy: causes only where they were seen at work."""
