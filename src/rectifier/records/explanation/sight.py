"""What the microscope saw."""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from rectifier.records.rules import CauseKind


class SightKind(StrEnum):
    """What the microscope looks for."""

    FIRST_NONFINITE = "first_nonfinite"
    """The first operation that made a number that is not finite."""
    GRADIENT_LOST = "gradient_lost"
    """The operation at which the gradient becomes 0."""
    GRADIENT_CUT = "gradient_cut"
    """The operation at which the graph ends although its input is part of it."""
    MOVED_BY = "moved_by"
    """What moved the pre-activation of units that died, in shares."""
    PARAMETERS_IDLE = "parameters_idle"
    """Parameters that do not move, and why."""
    INPUTS = "inputs"
    """Offset, scale, constancy and finiteness of inputs and targets, and the size of batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One thing that the microscope saw.

    Attributes:
        kind: What was looked for.
        operation: As torch calls it (`sqrt`), or what else is meant: an addend's expression, a parameter's path.
        phase: `forward`, `backward` or `optimizer`; "" where it belongs to none.
        place: The user's own line, `train.py:41`; "" where it is unknown.
        expression: What stands there.
        step: At which optimizer step, counted from 0.
        numbers: What shows it, by name.
        cause_kind: The cause that it speaks for; unknown where it speaks for none.
    """

    kind: SightKind
    operation: str = ""
    phase: str = ""
    place: str = ""
    expression: str = ""
    step: int = 0
    numbers: dict[str, float] = field(default_factory=dict)
    cause_kind: CauseKind = CauseKind.UNKNOWN

    @property
    def written(self) -> Self:
        """Without the numbers that JSON has no word for."""
        finite = {name: value for name, value in self.numbers.items() if math.isfinite(value)}
        return self if len(finite) == len(self.numbers) else replace(self, numbers=finite)
