"""Does the training get anywhere? Asked of the loss, and "cannot tell" is an answer."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.records import Series


@dataclass(frozen=True)
class Progress:
    """How the loss moved.

    Attributes:
        state: `none` when it ends within 5 % of where it began or above; `unknown` with too few losses, or when
            a loss at or below zero makes a relative comparison meaningless.
        start: Median of the first losses.
        end: Median of the last tenth.
        steps: Number of losses.
    """

    state: Literal["some", "none", "unknown"]
    start: float
    end: float
    steps: int

    @property
    def words(self) -> str:
        """`the loss went from 2.31 to 2.29`."""
        return f"the loss went from {self.start:.3g} to {self.end:.3g} in {self.steps} steps"


def judge_progress(loss: Series) -> Progress:
    """Compare the end of a loss curve with its beginning; medians, so that single bad batches do not decide."""
    values = loss.values[np.isfinite(loss.values)]
    if len(values) < limit.LEAST_LOSSES:
        return Progress("unknown", float("nan"), float("nan"), len(values))
    # A quick training leaves its plateau within a few steps: the beginning is short, the end is a tenth.
    start = float(np.median(values[: max(3, min(10, len(values) // 50))]))
    end = float(np.median(values[-max(5, len(values) // 10) :]))
    if start <= 0 or end <= 0:
        return Progress("unknown", start, end, len(values))
    state: Literal["some", "none"] = "none" if end >= (1 - limit.PLATEAU_FRACTION) * start else "some"
    return Progress(state, start, end, len(values))
