"""Keeping a number over training steps in a space that grows with the logarithm of their count.

Below `FULL_STEPS` everything is kept. From there on the steps fall into buckets that get twice as wide each time their
number doubles, and of each bucket the first value is kept: that is the *grid*, a function of the steps alone, so two
runs of the same steps keep the same. Between its values stay those that tell of an explosion, at their exact step: of
each 64 buckets the lowest, the highest, and the first 16 that are not finite.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rectifier.records.arrays import FloatArray, IntArray

FULL_STEPS = 16_384
"""Steps of a series, from the beginning, of which every value is kept."""
FULL_ROWS = 4_096
"""The same of what is measured at each activation, of which there are many."""
BUCKETS_A_BLOCK = 64
_MOST_BAD = 16


def spacing(steps: IntArray, full: int = FULL_STEPS) -> IntArray:
    """Width of the bucket that each step is in: 1 below `full`, else the largest power of two ≤ 2·step/full.

    Example:
        >>> spacing(np.array([0, 16_383, 16_384, 32_768, 1_000_000])).tolist()
        [1, 1, 2, 4, 64]
    """
    widths: IntArray = np.left_shift(1, np.frexp(steps // full)[1].astype(np.int64))
    return widths


def grid(steps: IntArray, widths: IntArray | int) -> NDArray[np.bool_]:
    """Which of ascending steps are the first of their bucket."""
    buckets = steps // widths
    first: NDArray[np.bool_] = np.concatenate([[True], buckets[1:] != buckets[:-1]])[: len(steps)]
    return first


def thinned(
    steps: IntArray, columns: Sequence[FloatArray], bad: NDArray[np.bool_], full: int = FULL_STEPS
) -> NDArray[np.bool_]:
    """Which values to keep. Thinning what is left together with what came later is as thinning all of it at once.

    Args:
        steps: (n,) ascending.
        columns: (n,) each; their extremes are kept, NaN is none.
        bad: (n,) what was not finite and must be told.
        full: Below this step everything is kept.

    Returns:
        (n,) mask; the last value is always kept.
    """
    widths = spacing(steps, full)
    keep: NDArray[np.bool_] = grid(steps, widths) | (widths == 1)
    keep[-1:] = True
    if keep.all():
        return keep
    blocks = steps // (BUCKETS_A_BLOCK * widths)
    starts = np.flatnonzero(np.concatenate([[True], blocks[1:] != blocks[:-1]]))
    number = np.repeat(np.arange(len(starts)), np.diff([*starts, len(steps)]))
    for column in columns:
        known = np.isfinite(column)
        rows = np.flatnonzero(known)
        # Sorted by block and, within, by value: the ends of each block are its extremes.
        order = rows[np.lexsort((column[known], number[known]))]
        edge = number[order][1:] != number[order][:-1]
        keep[order[:1]] = keep[order[-1:]] = True
        keep[order[1:][edge]] = keep[order[:-1][edge]] = True
    told = np.cumsum(bad)
    earlier = np.concatenate([[0], told])[starts][number]
    keep |= bad & (told - earlier <= _MOST_BAD)
    return keep
