"""The finding about an output that tells hardly one row from another.

A bias learns the mean, and an objective can have its optimum at a constant: so the loss may fall meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.decay import of_decay
from rectifier.diagnosis.training.history.outputs import OutputHistory
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import (
    BoolArray,
    Cause,
    CauseKind,
    CollapsedOutput,
    ConstantOptimum,
    Finding,
    FloatArray,
    IntArray,
    Process,
    Rule,
    Yardstick,
)


@dataclass(frozen=True)
class _Collapse:
    """The readings at the end that tell hardly one row from another.

    Attributes:
        at: Their positions among all readings.
        against: What their spread is too small for.
        reference: (K,) that, for all readings.
        features: Whether what goes into the layer tells rows apart as little; None where it is not known.
    """

    at: IntArray
    against: Yardstick
    reference: FloatArray
    features: bool | None


def judge_collapse(
    outputs: Sequence[OutputHistory],
    histories: Sequence[SiteHistory],
    progress: Progress,
    process: Process,
    *,
    alone: bool,
) -> list[Finding]:
    """Outputs whose spread between rows is below 1% of what it was, or of the targets', for 100 steps and more.

    Args:
        outputs: Of one model.
        histories: Its sites.
        progress: Of its training.
        process: The training.
        alone: Whether no other model trains at the same time. Where one does, targets are part of a game, and only an
            output without any is judged.
    """
    found = []
    for history in outputs:
        collapse = _collapse(history, alone=alone)
        if collapse is None:
            continue
        steps, spread, rows = history.ints("steps"), history.floats("spread"), history.ints("rows")
        since = int(steps[collapse.at[0]])
        cause = _cause(history, collapse, histories, progress, process, since)
        stalled = progress.state == "none"
        found.append(
            Finding(
                rule=Rule.COLLAPSED_OUTPUT,
                severity="serious" if stalled else "warning",
                site=history.parameter,
                cause=cause,
                since=since,
                consequence=progress.consequence,
                loss=progress.loss,
                remedies=remedies.for_output(cause),
                evidence=CollapsedOutput(
                    output=history.output.weight,
                    units=history.output.units,
                    rows=int(np.median(rows[collapse.at])),
                    spread=float(np.median(spread[collapse.at])),
                    against=collapse.against,
                    reference=float(np.median(collapse.reference[collapse.at])),
                    features_collapsed=collapse.features,
                    first_step=since,
                    last_step=int(steps[collapse.at[-1]]),
                    readings=len(collapse.at),
                ),
            )
        )
    return found


def _collapse(history: OutputHistory, *, alone: bool) -> _Collapse | None:
    spread, usable = history.floats("spread"), history.usable
    if (at := _with_targets(history)) is not None:
        return _Collapse(at, Yardstick.BEFORE, _dropped(spread, usable)[1], features=True)
    if history.targets_kept and not alone:
        return None
    if (history.ints("classes") >= 0).any():
        return _below_classes(history)
    if history.targets_kept and history.comparable and model_causes.of_loss(history.output) is None:
        return _below_targets(history)
    share, shares = _share(spread, history.floats("square"), usable), history.floats("features_square")
    features = _share(history.floats("features_spread"), shares, usable)
    low, before = _dropped(spread, usable)
    # What is normalised afterwards may shrink as a whole, and tells rows apart as well as ever.
    low &= _dropped(share, usable)[0]
    known = np.isfinite(features) & usable
    lost = _dropped(features, known)[0]
    at = _long_enough(history, low & (lost | ~known), usable)
    if at is None:
        return None
    return _Collapse(at, Yardstick.BEFORE, before, bool(lost[at].any()) if known[at].any() else None)


def _with_targets(history: OutputHistory) -> IntArray | None:
    """Where an output collapses together with its targets: no data do that, so the model makes them itself."""
    known = history.usable & np.isfinite(history.floats("target_spread"))
    low = _dropped(history.floats("spread"), known)[0] & _dropped(history.floats("target_spread"), known)[0]
    # What shrinks as a whole tells rows apart as well as ever.
    share = _share(history.floats("target_spread"), history.floats("target_square"), known)
    return _long_enough(history, low & _dropped(share, known, limit.ALIKE_SHARE)[0], known)


def _below_targets(history: OutputHistory) -> _Collapse | None:
    spread, targets = history.floats("spread"), history.floats("target_spread")
    telling = history.usable & np.isfinite(targets) & ~history.right_constant()
    at = _long_enough(history, spread < limit.COLLAPSED_SHARE * targets, telling)
    if at is None:
        return None
    whole = len(at) == int(telling.sum())
    first, last = spread[at[: limit.LEAST_OBSERVATIONS]], spread[at[-limit.LEAST_OBSERVATIONS :]]
    if whole and np.median(last) > limit.GROWING_SPREAD * np.median(first):
        # It began small and grows: the training has only begun.
        return None
    return _Collapse(at, Yardstick.TARGETS, targets, _features_lost(history, at))


def _below_classes(history: OutputHistory) -> _Collapse | None:
    spread = history.floats("spread")
    telling = history.usable & (history.ints("classes") > 1)
    telling &= history.floats("class_entropy") >= limit.LEAST_ENTROPY
    low, before = _dropped(spread, telling)
    at = _long_enough(history, low & (spread < limit.COLLAPSED_LOGITS), telling)
    if at is not None:
        return _Collapse(at, Yardstick.BEFORE, before, _features_lost(history, at))
    # What never told rows apart has no better before.
    square = history.floats("square")
    at = _long_enough(history, spread <= limit.ROUNDING_SHARE * square, telling)
    return None if at is None else _Collapse(at, Yardstick.SIZE, square, _features_lost(history, at))


def _features_lost(history: OutputHistory, at: IntArray) -> bool | None:
    share = _share(history.floats("features_spread"), history.floats("features_square"), history.usable)
    known = np.isfinite(share)
    lost = _dropped(share, known)[0] | (share <= limit.ROUNDING_SHARE)
    return bool(lost[at].any()) if known[at].any() else None


def _share(spread: FloatArray, square: FloatArray, usable: BoolArray) -> FloatArray:
    """What of a mean square differs between rows; 0 of what is 0 everywhere."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(square > 0, spread / square, 0.0)
    return np.where(usable & np.isfinite(spread) & np.isfinite(square), share, np.nan)


def _dropped(
    values: FloatArray, known: BoolArray, share: float = limit.COLLAPSED_SHARE
) -> tuple[BoolArray, FloatArray]:
    """(K,) whether a value is below 1% of the largest before it, the first one among them, and that largest."""
    largest = np.maximum.accumulate(np.where(known & np.isfinite(values), values, 0.0))
    low: BoolArray = known & (values < share * largest)
    return low, largest


def _long_enough(history: OutputHistory, low: BoolArray, telling: BoolArray) -> IntArray | None:
    """Positions of the telling readings at the end that are all low, where they are enough and last 100 steps."""
    at = np.flatnonzero(telling)
    high = np.flatnonzero(~low[at])
    at = at[high[-1] + 1 :] if len(high) else at
    if len(at) < limit.LEAST_OBSERVATIONS:
        return None
    steps = history.ints("steps")
    return at if int(steps[at[-1]] - steps[at[0]]) + 1 >= limit.STALLED_STEPS else None


def _cause(
    history: OutputHistory,
    collapse: _Collapse,
    histories: Sequence[SiteHistory],
    progress: Progress,
    process: Process,
    since: int,
) -> Cause:
    return (
        model_causes.of_loss(history.output)
        or model_causes.of_inputs(history.snapshot)
        or of_decay(process, history.output.model)
        or _objective(history, collapse, progress)
        or model_causes.of_large_update(histories, since)
        or Cause()
    )


def _objective(history: OutputHistory, collapse: _Collapse, progress: Progress) -> Cause | None:
    """No targets, or some that collapsed too, and a loss that fell far: a constant is what it asks for.

    A squared error that keeps no targets falls to their variance at most. A loss at or below 0 has no such floor.
    """
    start, end = progress.start, progress.end
    if _with_targets(history) is not None:
        costs = history.costs[np.isfinite(history.costs)]
        start, end = (float(costs[0]), float(costs[-1])) if len(costs) else (start, end)
    elif history.targets_kept or collapse.features is not True:
        return None
    if not np.isfinite([start, end]).all() or end >= start:
        return None
    if end > max(0.0, limit.OPTIMUM_REACHED * start):
        return None
    return Cause(kind=CauseKind.OBJECTIVE, facts=ConstantOptimum(loss_before=start, loss_after=end))
