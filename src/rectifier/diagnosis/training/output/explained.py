"""How much of what the best constant answer costs a model has saved: of squared errors that is R²."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.outputs import OutputHistory, whole_entropy
from rectifier.records import FloatArray


def explained_by(outputs: Sequence[OutputHistory]) -> float | None:
    """Share saved at the end, of a model with one output whose loss and targets are known; None of any other.

    Args:
        outputs: Of one model.
    """
    known = [share for one in outputs if (share := explained(one)) is not None]
    return known[0] if len(known) == 1 else None


def learned_well(outputs: Sequence[OutputHistory]) -> bool:
    """Whether a model has saved nearly all that the best constant answer costs.

    Args:
        outputs: Of it.
    """
    saved = explained_by(outputs)
    return saved is not None and saved >= limit.LEARNED_WELL


def explained(output: OutputHistory) -> float | None:
    """The same of one output: 0 for the best constant, 1 for a cost of 0, below 0 for worse than a constant.

    Each reading is measured by the targets of its own batch; the median of the late ones counts.

    Args:
        output: It.
    """
    shares = shares_of(output)
    known = ~np.isnan(shares)
    if known.sum() < limit.LEAST_OBSERVATIONS:
        return None
    return float(np.median(shares[output.late(known)]))


def knows_something(outputs: Sequence[OutputHistory]) -> bool:
    """Whether a model has surely saved a little, as it does of targets that are mostly noise.

    Batches differ by more than that, so each reading is measured by its own targets: the mean of the last half.

    Args:
        outputs: Of one model.
    """
    for one in outputs:
        shares = shares_of(one)
        shares = shares[~np.isnan(shares)]
        shares = shares[len(shares) // 2 :]
        if len(shares) < 2 * limit.LEAST_OBSERVATIONS:
            continue
        error = float(shares.std(ddof=1)) / len(shares) ** 0.5
        if float(shares.mean()) > max(limit.LEAST_SAVED, limit.NOISE_ERRORS * error):
            return True
    return False


def first_costs(output: OutputHistory) -> tuple[float, float] | None:
    """What the very first answers cost, and the best constant then; None where that was not read at the first step.

    Args:
        output: It.
    """
    costs, constants = output.costs, constants_of(output)
    known = np.flatnonzero(np.isfinite(costs) & np.isfinite(constants))
    if not len(known) or int(output.ints("steps")[known[0]]) > 0:
        return None
    return float(costs[known[0]]), float(constants[known[0]])


def shares_of(output: OutputHistory) -> FloatArray:
    """(K,) share saved at each reading, of what can be saved; NaN where it is not known."""
    # Earlier records have no targets' own entropy.
    least = np.nan_to_num(output.maybe("target_entropy"))
    costs, constants = output.costs - least, constants_of(output) - least
    with np.errstate(divide="ignore", invalid="ignore"):
        shares: FloatArray = np.where(constants > 0, 1 - costs / constants, np.nan)
    return shares


def constants_of(output: OutputHistory) -> FloatArray:
    """(K,) what the best constant answer costs at each reading; NaN where that is not known, or a constant is right."""
    unknown = np.full(len(output.ints("rows")), np.nan)
    if output.targets_move:
        return unknown
    rows = np.maximum(output.ints("rows"), 2).astype(float)
    classes = output.ints("classes")
    if (classes > 1).any():
        # Of all readings together: a batch has too few rows of each class, or is sorted.
        costs = output.maybe("pooled_entropy")
        costs = np.where(np.isnan(costs), whole_entropy(output.floats("class_entropy"), classes, rows), costs)
        return np.where((classes >= 1) & (costs >= limit.LEAST_ENTROPY), costs, np.nan)
    shares = output.maybe("share_entropy")
    if np.isfinite(shares).any():
        return np.where(output.largest_entropy >= limit.LEAST_ENTROPY, shares, np.nan)
    spreads = output.floats("target_spread") * rows / (rows - 1)
    right = output.right_constant() | (output.ints("rows") < limit.LEAST_OUTPUT_ROWS)
    return np.where(right, np.nan, spreads)
