"""How likely a network is to be born dead: exact results for zero biases and symmetric, independent weights.

A layer that is silent on all data makes everything above it a constant. Source: Lu, Shin, Su & Karniadakis 2019,
arXiv:1903.06733.
"""

from collections.abc import Sequence

import numpy as np

# 2⁻¹⁰⁰⁰ is as good as 0, and a larger power would leave the range of a float.
_WIDEST = 1000


def one_input_probability(widths: Sequence[int]) -> float:
    """For one input point, or data on one ray: `1 − ∏ (1 − 2^−N)` over the layers' widths N.

    With biases or several inputs it is less.

    Example:
        >>> round(one_input_probability([2] * 9), 4)
        0.9249
    """
    return -float(np.expm1(np.log1p([-(2.0 ** -min(width, _WIDEST)) for width in widths]).sum()))


def line_probability(width: int, depth: int) -> tuple[float, float]:
    """Bounds for a one-dimensional input with both signs in the data: a₁ = 1 − 2^−N and so on, H hidden layers.

    The upper one is `1 − a₁^(H−1)`; the lower one takes `K(a₁^(H−1) − a₂^(H−1))` off it.

    Args:
        width: N, of every hidden layer.
        depth: H.

    Example:
        >>> low, high = line_probability(2, 9)
        >>> round(low, 4), round(high, 4)
        (0.8703, 0.8999)
    """
    n, layers = min(width, _WIDEST), depth - 1
    a1 = 1 - 2.0**-n
    a2 = 1 - 2.0 ** (1 - n) - (n - 1) * 4.0**-n
    k = (1 - 2.0 ** (1 - n)) * (1 - 2.0**-n) / (1 + (n - 1) * 2.0**-n)
    high = 1 - a1**layers
    return high - k * (a1**layers - a2**layers), high
