"""Changes of an unmodified script while it runs, one at a time: what `explain` experiments with."""

from rectifier.records import Change, Intervention
from rectifier.treatment.interventions.data import Float32, StandardisedInputs, StandardisedTargets
from rectifier.treatment.interventions.functions import exchanged
from rectifier.treatment.interventions.guard import GuardedOperation
from rectifier.treatment.interventions.intervening import Intervening as Intervening
from rectifier.treatment.interventions.loop import AddedParameters, ClearedGradients, SteppedOptimizer, TrainMode
from rectifier.treatment.interventions.loss_term import LossTermOff
from rectifier.treatment.interventions.seeds import Restart
from rectifier.treatment.interventions.skipping import SkipBatchesOfOne, SkipNonfinite
from rectifier.treatment.interventions.steps import settings
from rectifier.treatment.interventions.weights import redrawn

_WITHOUT_CHOICE = {
    Change.STANDARDISE_INPUTS: StandardisedInputs,
    Change.STANDARDISE_TARGETS: StandardisedTargets,
    Change.FLOAT32: Float32,
    Change.ZERO_GRAD: ClearedGradients,
    Change.TRAIN_MODE: TrainMode,
    Change.ADD_PARAMETERS: AddedParameters,
    Change.STEP_OPTIMIZER: SteppedOptimizer,
    Change.SKIP_BATCHES_OF_ONE: SkipBatchesOfOne,
    Change.SKIP_NONFINITE: SkipNonfinite,
}


def begin(asked: Intervention) -> Intervening | None:
    """Begin a change in this process, before the script builds anything; None where none is asked for.

    Args:
        asked: Its value is an addend's index, a place, a shift of seeds, or a number in the place of the usual one.

    Raises:
        ValueError: The change needs a value that is not there.
    """
    if asked.change is Change.NONE:
        return None
    made = _make(asked)
    made.start()
    return made


def _make(asked: Intervention) -> Intervening:
    value = asked.value
    number = value if isinstance(value, int | float) else None
    match asked.change:
        case Change.LOSS_TERM_OFF:
            return LossTermOff(int(number or 0))
        case Change.GUARD_OPERATION:
            if not value:
                raise ValueError("guard_operation needs a place: guard_operation:file.py:41")
            return GuardedOperation(str(value))
        case Change.RESTART:
            return Restart(int(number or 1))
    if asked.change in _WITHOUT_CHOICE:
        return _WITHOUT_CHOICE[asked.change]()
    made = settings(asked.change, number) or redrawn(asked.change, int(number or 0)) or exchanged(asked.change)
    if made is None:
        raise ValueError(f"{asked.change} is no change of a running script")
    return made
