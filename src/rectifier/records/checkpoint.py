"""What a checkpoint holds, row by row, and what an inspection of it says."""

from dataclasses import dataclass, field
from enum import StrEnum

from rectifier.records.arrays import BoolArray, FloatArray
from rectifier.records.findings.finding import Judged
from rectifier.records.training.site import ParameterRef


class NotTold(StrEnum):
    """Why something cannot be told of a weight, or of a file."""

    NO_OPTIMIZER = "no_optimizer"
    NO_STATE = "no_state"
    """The optimizer keeps none, as SGD without momentum."""
    NO_STATE_OF_THIS = "no_state_of_this_weight"
    FROZEN = "frozen"
    """The optimizer knows the weight and holds nothing for it."""
    NOT_IN_OPTIMIZER = "not_in_optimizer"
    NOT_MATCHED = "not_matched"
    STATE_NOT_KNOWN = "state_not_known"
    """State under names that are not known; `details` has them."""
    DECAY_OF_UNKNOWN_WEIGHTS = "decay_of_unknown_weights"
    NOT_PLAIN_NUMBERS = "not_plain_numbers"
    OTHER_SHAPE = "other_shape"
    NO_MOMENT = "no_moment"
    NOTHING_ABOVE_FLOOR = "nothing_above_the_floor"
    """No row has a moment above what rounding or weight decay explain."""
    MOMENTUM_OUTLIVES = "momentum_outlives"
    """Momentum outlives the second moment; `numbers`: β₁, β₂."""
    FORGETS_AT_ONCE = "forgets_at_once"
    FORGETS_NOTHING = "forgets_nothing"
    """`numbers`: the decay."""
    ROUNDED = "rounded"
    """A moment does not fall at all in numbers of its type; `numbers`: what it falls by, the spacing."""
    COUPLED_DECAY = "coupled_decay"
    """Weight decay keeps the moments up."""
    DECAY_MOVES = "decay_moves"
    """Weight decay moves rows without gradient, too."""
    COPY_OF_WEIGHTS = "copy_of_weights"
    """A part of the file is taken for a copy of the weights, and was not looked at; `details`: its name."""
    WEIGHTS_NOT_PLAIN_NUMBERS = "weights_not_plain_numbers"
    """`details` has the weights that were not looked at."""
    NAMELESS_TOO_MANY_ORDERS = "nameless_too_many_orders"
    """Entries of the optimizer have no name, as for the two below: too many orders of the weights may fit. `numbers`:
    entries without a name, entries, parameters of the optimizer, its groups, weights."""
    NAMELESS_NO_ORDER = "nameless_no_order"
    """No order of the weights fits their shapes."""
    NAMELESS_SEVERAL_ORDERS = "nameless_several_orders"
    """More than one order of the weights fits."""
    NAMELESS_SORTED = "nameless_sorted"
    """The order of the weights is lost, and several have the same shape. `numbers`: entries without a name, entries."""
    NOT_IN_EARLIER = "not_in_earlier"
    """A weight, in `details`, as below."""
    OTHER_IN_EARLIER = "other_in_earlier"
    """It has another shape or type of number in the earlier checkpoint."""
    OTHER_BIAS_IN_EARLIER = "other_bias_in_earlier"


@dataclass(frozen=True, slots=True)
class Why:
    """A reason with its numbers.

    Attributes:
        kind: Which.
        details: Names that belong to it.
        numbers: Numbers that belong to it.
    """

    kind: NotTold
    details: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """What could not be told, and of which weights.

    Attributes:
        why: The reason.
        weights: Of which; empty where it is about the file.
        text: In one sentence; public functions fill it.
    """

    why: Why
    weights: tuple[ParameterRef, ...] = ()
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text


class Remark(StrEnum):
    """A label of a weight, never an accusation."""

    EMBEDDING = "embedding"
    """A table that is looked up, whose unused rows are normal."""
    FROZEN = "frozen"
    NOT_IN_OPTIMIZER = "not_in_optimizer"
    FROZEN_AT_TIMES = "frozen_at_times"
    """It took fewer steps than the optimizer."""
    DID_NOT_MOVE = "did_not_move"
    """Since the earlier checkpoint, as a whole."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Memory:
    """What an optimizer still remembers of the gradients of one weight's rows.

    Attributes:
        first_decay: What a step leaves of the momentum when there is no gradient (β₁, μ); None without momentum.
        second_decay: The same of the second moment (β₂, α); None where there is none.
        first: Largest |momentum| in each row, less weight decay's own share of it.
        first_floor: What of `first` rounding, the smallest normal number or weight decay explain by themselves.
        second: Largest second moment in each row.
        second_floor: Likewise: the smallest normal number or, where decay is coupled, (weight_decay · w)².
        ratio: Largest |momentum| / √(second moment) in each row, the momentum as in `first`.
        rounding: Largest relative error of one step's rounding: half the spacing of the numbers above 1.
        coupled: Weight decay acts as a gradient, or may do so: then the moments need not fall to 0.
        decays: There is weight decay of either kind, so that rows move without gradient, too.
        step: How many steps this weight has taken; None where the optimizer does not count.
        fine: Numbers as small as 1e-38 are kept, so that 0 means "never".
    """

    first_decay: float | None
    second_decay: float | None
    first: FloatArray | None
    first_floor: FloatArray | None
    second: FloatArray | None
    second_floor: FloatArray | None
    ratio: FloatArray | None
    rounding: float
    coupled: bool
    decays: bool
    step: int | None
    fine: bool = True


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WeightRows:
    """One weight of a checkpoint, reduced to numbers for each row: what leads into one unit.

    Attributes:
        name: As in the state dict, or `optimizer parameter 5` where no name could be told.
        shape: Of the whole weight.
        axis: Which dimension counts the units: 0, but 1 in transposed convolutions and GPT-2's `Conv1D`.
        fan_in: Numbers in a row.
        embedding: By its name a table that is looked up, so that rows without gradient are normal.
        mixed: By its name, or by the normalisation that seems to follow, no activation acts on these numbers directly.
        largest: Largest weight of each row, signed; None where only the optimizer's state is known.
        norm: Euclidean norm of each row; not finite where a number of the row or its bias is not.
        bias: Of each row, None where there is none.
        memory: What the optimizer remembers; None where it holds nothing for this weight.
        bias_memory: The same of the bias.
        earlier_memory: What the optimizer remembered at the earlier checkpoint.
        state: Why `memory` is None, where there is an optimizer; None otherwise.
        unmoved: Rows with the same bits, bias included, as in the earlier checkpoint; None without one.
    """

    name: str
    shape: tuple[int, ...]
    rows: int
    fan_in: int
    axis: int = 0
    embedding: bool = False
    mixed: bool = False
    largest: FloatArray | None = None
    norm: FloatArray | None = None
    bias: FloatArray | None = None
    memory: Memory | None = None
    bias_memory: Memory | None = None
    earlier_memory: Memory | None = None
    state: Why | None = None
    unmoved: BoolArray | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Checkpoint:
    """A stranger's file as plain facts.

    Attributes:
        layout: How it is laid out, in words: `Lightning checkpoint`, `state dict`.
        step: Steps that the optimizer had taken, None where nothing says so.
        earlier: The other checkpoint's path.
        steps_between: From the earlier one to this one.
        notes: What was not read or not matched, and why.
    """

    path: str
    layout: str
    weights: tuple[WeightRows, ...]
    step: int | None = None
    earlier: str | None = None
    steps_between: int | None = None
    notes: tuple[Why, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInspection:
    """One row of the table: what can be said of a weight.

    Attributes:
        silent: Rows without gradient; None where that cannot be told.
        never: Of these, rows that never had a gradient at all.
        steps: For how many steps, median over the silent rows that once had a gradient (over all, where none had);
            None where only `steps_low` can be told.
        steps_low: Least number of steps over these rows.
        steps_high: Largest number; None where there is no upper end.
        unmoved: Rows with the same bits as in the earlier checkpoint.
        blocked: Rows that cannot fire on inputs ≥ 0: no weight and no bias is positive.
        out_of_reach: Rows that fire on no input of root mean square 1: the bias is too far below 0.
        remark: A label, None where there is nothing to remark.
        steps_taken: Steps that it took, where that is the remark.
        steps_of: Of how many.
    """

    name: str
    shape: tuple[int, ...]
    rows: int
    silent: int | None
    never: int | None
    steps: float | None
    steps_low: float | None
    steps_high: float | None
    unmoved: int | None
    blocked: int | None
    out_of_reach: int | None
    remark: Remark | None = None
    steps_taken: int | None = None
    steps_of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection(Judged):
    """What a checkpoint says about its network, most serious first, and what it cannot say.

    Attributes:
        path: The file or folder.
        layout: How it is laid out, in words.
        step: Steps that the optimizer had taken, None where nothing says so.
        earlier: The other checkpoint, None where there is none.
        steps_between: From that one to this one.
        layers: One row per weight.
        untold: What could not be told, and why.
    """

    path: str
    layout: str
    step: int | None
    earlier: str | None
    steps_between: int | None
    layers: tuple[LayerInspection, ...]
    untold: tuple[Untold, ...]
