"""Evidence of an inspection's findings: one record for each kind of statement. A row is what leads into one unit."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.findings.finding import Evidence
from rectifier.records.training.site import ParameterRef


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """A weight's row of the table; fields as of `LayerInspection`."""

    rows: int
    silent: int | None
    never: int | None
    steps: float | None
    steps_low: float | None
    steps_high: float | None
    unmoved: int | None
    blocked: int | None
    out_of_reach: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentSpan:
    """For how long the rows without gradient have had none.

    Attributes:
        never: Rows that never had one.
        steps_taken: In how many steps; None where the optimizer does not count.
        once: Rows that once had one.
        least_steps: These had none for at least so many.
        most_steps: And for at most so many; None where there is no upper end.
        likeliest_steps: The likeliest number (median); None where only a least one can be told.
    """

    never: int
    steps_taken: int | None
    once: int
    least_steps: int | None = None
    most_steps: int | None = None
    likeliest_steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Rows whose bias lies so far below 0 that only large inputs fire them.

    Attributes:
        beyond: How many.
        least_rms: Root mean square that the inputs of the nearest must exceed, −b / ‖w‖√n.
        largest_rms: Likewise of the farthest.
    """

    beyond: int
    least_rms: float
    largest_rms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsByWeights:
    """What the weights say of rows without gradient.

    Attributes:
        blocked_too: Those that no input ≥ 0 fires.
        reach: Others that only large inputs fire; None where there are none.
    """

    blocked_too: int
    reach: Reach | None


class Table(StrEnum):
    """Why a weight may be a table that is looked up, whose unused rows are normal."""

    NO_BIAS = "no bias"
    NO_NAME = "no name"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRows(Evidence):
    """Rows that hold NaN or infinity, and in which weights."""

    rows: int
    weights: tuple[ParameterRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentWeights(Evidence):
    """Weights of which no row has a gradient: the last of them, and those before it.

    Attributes:
        counts: Of the last.
        span: For how long.
        by_weights: What its weights say; None where they tell nothing.
        before: The weights before it.
        read: Weights of which it can be told.
    """

    counts: RowCounts
    span: SilentSpan
    by_weights: RowsByWeights | None
    before: tuple[ParameterRef, ...]
    read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentRows(Evidence):
    """Some rows of a weight that had no gradient, or did not move since the earlier checkpoint.

    Attributes:
        counts: Of the weight.
        idle: Rows of either kind.
        span: For how long those without gradient have had none; None where there are none of those.
        by_weights: What their weights say; None where they tell nothing.
        table: Why it may be a table that is looked up; None where nothing says so.
    """

    counts: RowCounts
    idle: int
    span: SilentSpan | None
    by_weights: RowsByWeights | None
    table: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentInputs(Evidence):
    """A weight without gradient whose biases have one."""

    counts: RowCounts
    span: SilentSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsThatCannotFire(Evidence):
    """Rows that the weights alone condemn.

    Attributes:
        rows: Of the weight.
        blocked: Rows that no input ≥ 0 fires.
        out_of_reach: Rows that only large inputs fire.
        reach: How large; None where there are none of those.
        without_optimizer: No optimizer state says whether they still learn.
    """

    rows: int
    blocked: int
    out_of_reach: int
    reach: Reach | None
    without_optimizer: bool
