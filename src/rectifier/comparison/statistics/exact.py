"""Exact tests and intervals for small paired comparisons: the arithmetic, without any verdict.

A comparison of trainings has few pairs and ugly distributions (some runs collapse), so everything here is
exact or valid at every n, not asymptotic, except for one interval whose coverage is stated where it is
defined.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from rectifier.records import FloatArray

LARGEST_ENUMERATION = 20
"""Up to so many pairs all 2ⁿ sign flips are counted; beyond it, a fixed random sample of them."""

MONTE_CARLO_FLIPS = 99_999
"""Random flips beyond the enumeration; with the observed one 100,000, so p is a multiple of 1e-5."""


@dataclass(frozen=True, slots=True)
class SignFlip:
    """What the sign-flip test says about the mean of paired differences.

    Attributes:
        p: Two-sided.
        low: Lower end of the interval of means that the same test does not reject, None with too few pairs.
        high: Upper end.
        enumerated: Whether all 2ⁿ flips were counted.
    """

    p: float
    low: float | None
    high: float | None
    enumerated: bool


@cache
def clopper_pearson(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a rate, after `count` of `n`.

    Its coverage is never below `confidence`, usually well above.

    Raises:
        ValueError: Not 0 ≤ count ≤ n.

    Example:
        >>> low, high = clopper_pearson(6, 16)
        >>> f"{low:.4f} {high:.4f}"
        '0.1520 0.6457'

    Source: Clopper & Pearson 1934, Biometrika 26.
    """
    if not 0 <= count <= n:
        raise ValueError(f"a count of {count} among {n} is not a rate")
    from scipy.stats import binomtest  # noqa: PLC0415 (half a second, which only what weighs needs)

    interval = binomtest(count, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


@cache
def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value that two paired failure rates are equal.

    Pairs in which both or neither failed carry no information: of the discordant ones, half are expected each
    way.

    Args:
        only_first: Pairs in which only the first arm failed.
        only_second: Pairs in which only the second arm failed.

    Example:
        >>> mcnemar(0, 6)
        0.03125

    Source: McNemar 1947, Psychometrika 12; exact form = binomial test of the discordant pairs.
    """
    if not only_first + only_second:
        return 1.0
    from scipy.stats import binomtest  # noqa: PLC0415 (half a second, which only what weighs needs)

    return float(binomtest(only_first, only_first + only_second).pvalue)


def paired_rate_interval(only_first: int, only_second: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Tango's score interval for the difference of two paired rates, first minus second.

    It never leaves [−1, 1], has a width also when no pair is discordant, and leaves out 0 whenever `mcnemar`
    rejects at the same level. It is not exact: see the coverage below.

    Coverage of the nominal 95% interval, summed over all tables (not simulated) on a grid of 861 pairs of
    discordant rates in steps of .025 — n: mean, lowest — 8: .968, .927; 12: .963, .914; 16: .959, .923; 24:
    .956, .936; 48: .952, .935. It is below .94 on at most 3% of the grid.

    Raises:
        ValueError: The counts do not fit into n pairs.

    Example:
        >>> low, high = paired_rate_interval(0, 6, 16)
        >>> f"{low:.3f} {high:.3f}"
        '-0.614 -0.109'

    Source: Tango 1998, Statistics in Medicine 17, 891–908.
    """
    if only_first < 0 or only_second < 0 or only_first + only_second > n or n < 1:
        raise ValueError(f"{only_first} + {only_second} discordant pairs do not fit into {n} pairs")
    limit = float(ndtri(1 - (1 - confidence) / 2))
    upper = _score_bound(only_first, only_second, n, limit)
    lower = -_score_bound(only_second, only_first, n, limit)
    return lower, upper


def _score_bound(first: int, second: int, n: int, limit: float) -> float:
    """The largest difference that the score test does not reject; its statistic falls along the way."""
    inside = (first - second) / n
    if inside == 1:
        return 1.0

    def beyond(difference: float) -> float:
        # At a difference of 1 the statistic is infinite, which no search can go along with.
        return max(_score(first, second, n, difference), -2 * limit) + limit

    return float(brentq(beyond, inside, 1.0, xtol=1e-14))


def _score(first: int, second: int, n: int, difference: float) -> float:
    # The restricted maximum-likelihood estimate of P(only the second fails) solves A q² + B q + C = 0.
    a = 2 * n
    b = -first - second + (2 * n - first + second) * difference
    c = -second * difference * (1 - difference)
    q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * q + difference * (1 - difference))
    deviation = first - second - n * difference
    if variance <= 0:
        return math.copysign(math.inf, deviation) if deviation else 0.0
    return deviation / math.sqrt(variance)


def sign_flip(differences: Sequence[float] | FloatArray, confidence: float = 0.95) -> SignFlip:
    """The exact sign-flip test that the mean of paired differences is 0, and its inverted interval.

    Were the arms equal, each difference could as well have had the other sign. p is the share of the 2ⁿ sign
    patterns whose sum is at least as far from 0 as the observed one, so it cannot fall below 2/2ⁿ. The test
    is exact for equal arms whatever the distribution; the interval is exact when the differences are
    distributed symmetrically around their mean, which rare collapses are not: read failures apart.

    The interval needs no search: a mean δ is rejected from below when fewer than α2ⁿ⁻¹ subsets of the pairs
    have a mean ≤ δ, so its ends are order statistics of the means of all subsets.

    Beyond 20 pairs the 2ⁿ patterns are sampled with a fixed generator; counting the observed pattern as one
    of the sample keeps the test valid (never too many false alarms), at the price of p ≥ 2e-5.

    Args:
        differences: (n,) arm minus baseline, in the metric's own unit.
        confidence: Of the interval; the p-value does not depend on it.

    Raises:
        ValueError: A difference is not finite.

    Example:
        >>> fisher = sign_flip([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
        >>> round(fisher.p * 2**15)
        1726

    Source: Fisher 1935, The Design of Experiments § 21 (the numbers above are Darwin's maize); Hartigan 1969,
    JASA 64 (subset means); Phipson & Smyth 2010 (sampled patterns).
    """
    # Sorted, so that not even the rounding of a sum depends on the order in which trials ended.
    values = np.sort(np.asarray(differences, dtype=np.float64))
    if not np.isfinite(values).all():
        raise ValueError("paired differences must be finite; a run without a value belongs to the failures")
    n = len(values)
    if n == 0:
        return SignFlip(1.0, None, None, True)
    enumerated = n <= LARGEST_ENUMERATION
    sums, sizes = _all_subsets(values) if enumerated else _random_subsets(values)
    # Ties count as extreme; differences of accuracies tie often, and rounding must not break the tie.
    tie = 1e-10 * float(np.abs(values).sum())
    below = 1 + int((sums <= tie).sum())
    above = 1 + int((sums >= -tie).sum())
    patterns = len(sums) + 1
    p = min(1.0, 2 * min(below, above) / patterns)
    rank = math.floor((1 - confidence) / 2 * patterns * (1 + 1e-12))
    if rank < 1:
        return SignFlip(p, None, None, enumerated)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / sizes
    empty = sizes == 0
    low = np.partition(np.where(empty, -np.inf, means), rank - 1)[rank - 1]
    high = np.partition(np.where(empty, np.inf, means), len(means) - rank)[len(means) - rank]
    return SignFlip(p, float(low), float(high), enumerated)


def _all_subsets(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sum and size of every subset but the empty one: flipping a subset's signs is one of the 2ⁿ patterns."""
    sums, sizes = np.zeros(1), np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
        sizes = np.concatenate([sizes, sizes + 1])
    return sums[1:], sizes[1:]


def _random_subsets(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    draws = np.random.default_rng(20_240_101)
    sums, sizes = [], []
    left = MONTE_CARLO_FLIPS
    while left:
        rows = min(left, 10_000)
        chosen = draws.integers(0, 2, size=(rows, len(values)), dtype=np.int8).astype(np.float64)
        sums.append(chosen @ values)
        sizes.append(chosen.sum(axis=1))
        left -= rows
    return np.concatenate(sums), np.concatenate(sizes)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the order given: rejecting those ≤ α keeps any false alarm at ≤ α.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]

    Source: Holm 1979, Scandinavian Journal of Statistics 6.
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)


def smallest_pairs(tests: int, alpha: float = 0.05) -> int:
    """The fewest pairs with which one of `tests` Holm-corrected exact tests can reject at all.

    Neither exact test can give less than 2/2ⁿ, and Holm asks α/tests of the smallest p.

    Example:
        >>> smallest_pairs(5), smallest_pairs(7), smallest_pairs(12)
        (8, 9, 9)
    """
    n = 1
    while 2 / 2**n > alpha / max(tests, 1):
        n += 1
    return n
