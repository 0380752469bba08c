"""What a comparison could have seen, and how many seeds it would take: the power of the paired t-test.

The verdicts rest on exact sign flips; for differences that are not far from normal, their power is that of the
t-test within a few percent, and a closed form is all that planning needs. Every number here is "about".
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.optimize import brentq
from scipy.special import nctdtr, stdtrit

POWER: Final = 0.8
"""Share of comparisons that would show the difference; the usual convention (Cohen 1988, section 2.4)."""

MOST_SEEDS: Final = 10_000


def power(standardised: float, pairs: int, alpha: float) -> float:
    """Chance that a two-sided paired t-test rejects.

    Args:
        standardised: The true mean difference in units of the differences' standard deviation.
        pairs: At least 3; what two pairs can show is not worth planning with.
        alpha: Level of this one test, any correction included.

    Example:
        >>> round(power(0.5, 34, 0.05), 3)  # Cohen 1988, table 2.3.5 by way of G*Power: 0.808
        0.808
    """
    degrees = pairs - 1
    limit = stdtrit(degrees, 1 - alpha / 2)
    # At most 30 standard errors: far beyond certainty, and the series of the distribution still converges.
    shift = min(abs(standardised) * math.sqrt(pairs), 30.0)
    # The wrong side: next to nothing beyond three standard errors, where the series fails.
    wrong = nctdtr(degrees, shift, -limit) if shift < 3 else 0.0
    return float(1 - nctdtr(degrees, shift, limit) + wrong)


def detectable(differences: Sequence[float], alpha: float) -> float | None:
    """The smallest true difference that such a comparison shows with a chance of 80%; None without any spread.

    Args:
        differences: The paired differences that were measured; their spread is taken for the true one.
        alpha: Level of one test after the correction.
    """
    spread = _spread(differences)
    if not spread:
        return None
    high = 1.0
    while power(high, len(differences), alpha) < POWER:
        high *= 2
        if high > 1e6:
            return None
    return float(brentq(lambda size: power(size, len(differences), alpha) - POWER, 0.0, high)) * spread


def seeds_needed(differences: Sequence[float], alpha: float) -> int | None:
    """Pairs that show a difference as large as the measured one with a chance of 80%; None beyond 10,000."""
    spread = _spread(differences)
    if not spread:
        return None
    standardised = abs(math.fsum(differences) / len(differences)) / spread
    if power(standardised, MOST_SEEDS, alpha) < POWER:
        return None
    pairs = range(3, MOST_SEEDS)
    return pairs.start + bisect_left(pairs, POWER, key=lambda n: power(standardised, n, alpha))


def _spread(differences: Sequence[float]) -> float:
    return float(np.std(differences, ddof=1)) if len(differences) > 2 else 0.0
