"""Biases that hold units on one side of their activation, whatever comes in."""

import math

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import BoolArray


def bias_beyond_range(history: SiteHistory, units: BoolArray, *, below: bool) -> tuple[float, float] | None:
    """Bias and size of w·x, medians over units, where the bias outweighed the other by far in the first window.

    A bias that torch's default initialisation may draw is none of that: what it outweighs is small.

    Args:
        history: The site.
        units: (U,) Which of its units.
        below: Whether only a negative bias counts; else either sign does.
    """
    first = history.finite_windows[0] if history.finite_windows else None
    if first is None or first.pre_mean is None or first.bias is None or len(first.bias) != len(units):
        return None
    bias = float(np.median(first.bias[units]))
    rest = float(np.median(np.abs(first.pre_mean - first.bias)[units]))
    fan_in = max(math.prod(history.weight_shape[1:]), 1)
    drawn = fan_in**-0.5 if len(history.weight_shape) > 1 else 0.0
    size = -bias if below else abs(bias)
    return (bias, rest) if size > drawn and size >= limit.BEYOND_RANGE * rest else None
