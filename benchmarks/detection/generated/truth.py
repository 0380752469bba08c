"""Whether a training failed, by its own score and that of its twin: no rule of ours has a say."""

import math
from enum import StrEnum

MARGIN = 0.15
"""Of what the training without the fault learned over chance, the share that must be lost for a failure. Three seeds of
one healthy design differ by .03 or less in 12 of 15 architectures, and by .06, .07 and .12 in the others
(`python benchmarks/detection --spread 3`)."""
HARMLESS = 0.05
"""Share below which the fault did no harm. What is between the two is told apart."""


class Verdict(StrEnum):
    """What a training is."""

    CONTROL = "control"
    """No fault, and a healthy score."""
    FAILURE = "failure"
    """The fault cost it more than the margin, or made it not finite."""
    HARMLESS = "harmless"
    """The fault is there and did no harm."""
    UNCLEAR = "unclear"
    """It cost something."""
    UNFIT = "unfit"
    """The training fails without the fault already, or cannot run with it."""


def lost(clean: float, score: float, chance: float) -> float:
    """Share of what the training without the fault learned over chance that the one with it did not."""
    if not math.isfinite(score):
        return 1.0
    return (clean - score) / (clean - chance)


def judge(clean: float, score: float | None, *, floor: float, chance: float) -> Verdict:
    """What it is.

    Args:
        clean: Score without the fault.
        score: With it; None for a control.
        floor: Below it a training without any fault has failed.
        chance: What a constant scores.
    """
    if not clean >= floor:
        return Verdict.UNFIT
    if score is None:
        return Verdict.CONTROL
    share = lost(clean, score, chance)
    if share >= MARGIN:
        return Verdict.FAILURE
    return Verdict.HARMLESS if share < HARMLESS else Verdict.UNCLEAR
