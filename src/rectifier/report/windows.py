"""Windows of counters, as figures read them."""

from collections.abc import Sequence

import numpy as np

from rectifier._formatting import counted
from rectifier.records import FloatArray, IntArray, Process, SiteWindow
from rectifier.records.training.thinning import FULL_STEPS


def edges(ends: IntArray) -> list[float]:
    """The borders of windows that end at these steps: a cell covers the steps since the window before."""
    return [-0.5, *(float(end) + 0.5 for end in ends)]


def last_windows(process: Process) -> dict[int, SiteWindow]:
    """Each site's last window in which anything was counted."""
    return {window.site: window for snapshot in process.snapshots for window in snapshot.windows if window.visits}


def rates(window: SiteWindow, units: IntArray | slice = slice(None)) -> FloatArray:
    """The share of counted samples on which each unit fired; one of those seen, where light sampling alone saw it."""
    fired = window.fired[units]
    lightly = (fired == 0) & (window.last_fired[units] >= window.steps[0])
    return np.where(lightly, 1 / max(window.seen, 1), fired / window.visits)


def samples_told(windows: Sequence[SiteWindow]) -> str:
    """On how many samples windows rest."""
    low, high = (pick(window.visits for window in windows) for pick in (min, max))
    return counted(high, "counted sample") if low == high else f"{low:,} to {high:,} counted samples"


def thinning_told(process: Process) -> str:
    """What a long run, or one of a large network, does not keep: sentences after a space, or nothing."""
    told = ""
    every = max((process.series(name).every for name in process.series_names), default=1)
    if every > 1:
        told += (
            f" From step {FULL_STEPS:,} on the losses and other numbers are thinned, at the end to one of {every} "
            "steps; the highest, the lowest and those that are not finite are kept between them."
        )
    if process.snapshots and process.snapshots[-1].sparse:
        told += " The network is so large that its units' counters are kept only each time the number of steps doubles."
    return told
