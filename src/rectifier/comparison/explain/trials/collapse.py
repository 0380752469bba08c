"""Whether a training reached its optimum at a constant: the loss fell, and no output tells rows apart any more.

Only where the loss has no targets: with targets a constant is never their optimum, unless they are constant. And
whether a training forgets each class for the next one, because the data come sorted.
"""

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.records import FloatArray, OutputWindow, Process


def constant_optimum(process: Process) -> bool:
    """Whether the objective itself asks for a constant, as far as a run shows it.

    Args:
        process: Of the unchanged run.
    """
    shares = []
    for number in range(len(process.outputs)):
        windows = [window for snapshot in process.snapshots for window in snapshot.outputs if window.output == number]
        if not windows or any(_has_targets(window) for window in windows):
            return False
        share = np.concatenate([_share(window) for window in windows])
        share = share[np.isfinite(share)]
        if len(share) < limit.LEAST_OBSERVATIONS:
            return False
        shares.append(share)
    loss = process.series("loss").values
    if not shares or not len(loss) or not np.isfinite(loss).all():
        return False
    many = max(1, len(loss) // 10)
    first, last = float(loss[0]), float(np.median(loss[-many:]))
    ends = [float(np.median(one[-limit.LEAST_OBSERVATIONS :])) for one in shares]
    # Something told rows apart at first: the training has taken that away.
    lost = any(end < one.max() / limit.LOST_DISTINCTION for end, one in zip(ends, shares, strict=True))
    return last < first - limit.PLATEAU_FRACTION * abs(first) and max(ends) < limit.COLLAPSED_SHARE and lost


def sorted_by_class(process: Process) -> bool:
    """Whether most batches hold targets of one class, and others hold more: the data come sorted.

    Args:
        process: Of the unchanged run.
    """
    windows = [window for snapshot in process.snapshots for window in snapshot.outputs]
    if not windows:
        return False
    classes = np.concatenate([np.asarray(window.classes) for window in windows])
    rows = np.concatenate([np.asarray(window.rows) for window in windows])
    classes = classes[(classes >= 1) & (rows >= limit.LEAST_OUTPUT_ROWS)]
    return len(classes) >= limit.LEAST_OBSERVATIONS and float(np.median(classes)) == 1 and int(classes.max()) > 1


def _has_targets(window: OutputWindow) -> bool:
    return bool(np.isfinite(window.target_spread).any() or (np.asarray(window.classes) >= 0).any())


def _share(window: OutputWindow) -> FloatArray:
    """Share of an output's mean square that differs between rows."""
    square = np.asarray(window.square, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        share: FloatArray = np.where(square > 0, np.asarray(window.spread, dtype=float) / square, 0.0)
    return share
