"""The state of every unit of one site."""

from dataclasses import dataclass

from rectifier.records import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class UnitStates:
    """Each unit's state at the end of what was observed; the masks are disjoint except `stuck`.

    Attributes:
        dead: Silent on enough samples for the definition.
        suspected: Silent, on too few.
        rare: Fired, on less than 1% of the samples.
        stuck: Silent, whatever the activation; equal to dead or suspected where silence means no gradient.
        n: (U,) distinct samples of the silence; visits where samples could not be told apart.
        bound: (U,) 95% upper bound on the firing rate, NaN where only visits are known.
        whole_data: (U,) whether the silence covers every sample that the training showed.
        born: (U,) never fired since the first observation.
        last_fired: (U,) last observed step at which it fired, -1 for never.
    """

    dead: BoolArray
    suspected: BoolArray
    rare: BoolArray
    stuck: BoolArray
    n: IntArray
    bound: FloatArray
    whole_data: BoolArray
    born: BoolArray
    last_fired: IntArray
