"""How numbers are written in findings."""

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.history import SiteHistory
from rectifier.records import IntArray


def percent(share: float) -> str:
    """`0.037 %`, `15 %`, `4,200 %`: two significant digits, never a 0 for what is more."""
    value = 100 * share
    if value >= 100_000:
        return f"{value:.1e} %"
    return f"{value:,.0f} %" if value >= 10 else f"{value:.2g} %"


def times(factor: float) -> str:
    """`40 times`, `0.8 times`."""
    return f"{factor:.0f} times" if 10 <= factor < 100_000 else f"{factor:.2g} times"


def longest_gap(history: SiteHistory, last_fired: IntArray) -> int:
    """The most steps between a last firing and the next observation, which is when the silence was first seen."""
    steps = history.steps()
    after = np.searchsorted(steps, last_fired, side="right")
    seen = steps[np.minimum(after, len(steps) - 1)]
    return int((seen - last_fired).max())


def died_at(history: SiteHistory, last_fired: IntArray) -> str:
    """`at steps 3 to 40 (median 7; known to within 8 steps)`."""
    low, high, gap = int(last_fired.min()), int(last_fired.max()), longest_gap(history, last_fired)
    middle = int(np.sort(last_fired)[(len(last_fired) - 1) // 2])
    remarks = [f"median {middle:,}"] if low < middle < high else []
    remarks += [f"known to within {gap:,} steps"] if gap > 1 else []
    when = f"at step {low:,}" if low == high else f"at steps {low:,} to {high:,}"
    return f"{when} ({'; '.join(remarks)})" if remarks else when


def none_has_fired(history: SiteHistory, blocked_since: int) -> str:
    """Since when a whole layer is silent: `has fired after step 40 (known to within 8 steps)`."""
    if blocked_since < 0:
        first = int(history.steps()[0])
        return "has ever fired" if first == 0 else f"has fired since step {first:,}, the first observed"
    gap = longest_gap(history, np.array([blocked_since]))
    return f"has fired after step {blocked_since:,}" + (f" (known to within {gap:,} steps)" if gap > 1 else "")


def update_words(size: float, factor: float, earlier: int) -> str:
    """How large an update was: `4 % of their norm, 40 times the median of the steps before`.

    Args:
        size: ‖Δw‖/‖w‖.
        factor: Times its running median.
        earlier: Observed updates that the median is taken over.
    """
    text = f"{percent(size)} of their norm"
    if earlier < limit.LEAST_OBSERVATIONS:
        return text
    return (
        f"{text}, as the steps before it did"
        if factor < 2
        else f"{text}, {times(factor)} the median of the steps before"
    )


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
