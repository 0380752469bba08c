"""Weights that their decay shrank, and how far decay alone can shrink them."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.model_causes import last_counts
from rectifier.records import Cause, CauseKind, FloatArray, ParameterCounts, Process, WeightsDecayed


def of_decay(process: Process, model: str) -> Cause | None:
    """Weights that shrank, and that their decay moved more than the loss at the last look.

    Args:
        process: The training.
        model: Name of the model.
    """
    own = [index for index, one in enumerate(process.parameters) if one.model == model and len(one.shape) > 1]
    return decay_of_weights(last_counts(process.snapshots), own)


def decay_of_weights(counts: ParameterCounts | None, weights: Sequence[int]) -> Cause | None:
    """The same of some weights.

    Args:
        counts: What is known of all parameters.
        weights: Positions among them.
    """
    own = [] if counts is None else [weight for weight in weights if weight < len(counts.gradient)]
    if counts is None or not own:
        return None
    first, last = counts.weight_first[own], counts.weight_last[own]
    decay, gradient = counts.weight_decay[own], counts.gradient[own]
    known = np.isfinite(first) & np.isfinite(last) & np.isfinite(decay) & np.isfinite(gradient) & (first > 0)
    if not known.any():
        return None
    shrunk = float(np.median(last[known] / first[known]))
    with np.errstate(divide="ignore", invalid="ignore"):
        over = decay[known] * last[known] / gradient[known]
    # Of a weight that is exactly 0 now nothing is left to compare; decay has to be strong enough to take it there.
    to_zero = decay_of_run(counts, own)[known] >= limit.DECAY_SHARE * limit.TO_ZERO
    over[(last[known] == 0) & to_zero] = np.inf
    over = over[~np.isnan(over)]
    if not len(over) or shrunk > limit.SHRUNK_WEIGHTS or float(np.median(over)) < 1.0:
        return None
    return Cause(
        kind=CauseKind.WEIGHT_DECAY,
        facts=WeightsDecayed(
            weights=int(known.sum()),
            shrunk_to=shrunk,
            decay_over_gradient=float(np.median(over)),
            weight_decay=float(decay[known].max()),
        ),
    )


def decay_of_run(counts: ParameterCounts, weights: Sequence[int]) -> FloatArray:
    """Natural logarithm of the factor by which decay alone shrinks each of some weights; NaN where a rate is not known.

    Args:
        counts: What is known of all parameters.
        weights: Positions among them.
    """
    sums = np.array([1.0, *(adds_up(one.momentum) for one in counts.optimizers)])
    held = np.clip(counts.optimizer[weights] + 1, 0, len(sums) - 1)
    steps = counts.last_compared[weights] - counts.first_compared[weights]
    shrunk: FloatArray = counts.learning_rate[weights] * counts.weight_decay[weights] * sums[held] * steps
    return shrunk


def adds_up(momentum: float | None) -> float:
    """How many equal steps momentum makes of one, gradients and decay alike: the most that a step can grow by.

    Args:
        momentum: Of an optimizer; None without.
    """
    return 1 / (1 - min(momentum or 0.0, limit.LARGE_MOMENTUM))
