"""When units and layers fell silent, and how well that is known."""

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import BoolArray, Deaths, IntArray, WholeSilence


def deaths_of(history: SiteHistory, units: BoolArray) -> Deaths:
    """Since when these units are silent.

    Args:
        history: Their site.
        units: (U,) which are meant.
    """
    assert history.states is not None
    died = np.sort(history.states.last_fired[units & ~history.states.born])
    born, first = int((history.states.born & units).sum()), int(history.steps()[0])
    if not len(died):
        return Deaths(born_dead=born, died=0, first_observed_step=first)
    return Deaths(
        born_dead=born,
        died=len(died),
        first_observed_step=first,
        died_first_step=int(died[0]),
        died_median_step=int(died[(len(died) - 1) // 2]),
        died_last_step=int(died[-1]),
        died_known_within_steps=longest_gap(history, died),
        died_at_once=died_together(history, units),
    )


def whole_silence(history: SiteHistory, last_fired: int) -> WholeSilence:
    """Since when a layer is silent as a whole.

    Args:
        history: The layer.
        last_fired: Last observed step at which any of its units fired; -1 for never.
    """
    return WholeSilence(
        last_fired=last_fired,
        known_within_steps=longest_gap(history, np.array([last_fired])),
        first_observed_step=int(history.steps()[0]),
    )


def longest_gap(history: SiteHistory, last_fired: IntArray) -> int:
    """The most steps between a last firing and the next observation, which is when the silence was first seen."""
    steps = history.steps()
    after = np.searchsorted(steps, last_fired, side="right")
    seen = steps[np.minimum(after, len(steps) - 1)]
    return int((seen - last_fired).max())


def died_together(history: SiteHistory, silent: BoolArray) -> bool:
    """Whether almost a whole layer of several units fell silent between two observations."""
    assert history.states is not None
    died = history.states.last_fired[silent & ~history.states.born]
    if len(silent) < 2 or len(died) < limit.TOGETHER_FRACTION * len(silent):
        return False
    return bool((died == died.max()).sum() >= limit.TOGETHER_FRACTION * len(silent))
