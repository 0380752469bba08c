"""How many steps a trial takes: as many as show that the failure comes, or that it stays away."""

import math
from typing import Any

from rectifier.comparison.explain.judgement import knowledge
from rectifier.comparison.explain.judgement.failure import Failing, onset_of
from rectifier.comparison.explain.trials.trial import Shown
from rectifier.diagnosis import thresholds as limit
from rectifier.records import Change


def steps_enough(onset: int | None, steps: int) -> int | None:
    """Optimizer steps after which a trial is ended: the failure would have come twice over; None for all of them.

    Args:
        onset: When it is certain.
        steps: Of the run that failed.
    """
    if onset is None:
        return None
    enough = max(limit.EXPLAIN_LEAST_STEPS, limit.EXPLAIN_ONSETS * onset + limit.EXPLAIN_MARGIN)
    return enough if enough < steps else None


def steps_certain(failing: Failing, base: Shown, stop: int | None, looked: int) -> int | None:
    """Steps after which the failure was certain in the first run, and the microscope has looked.

    Args:
        failing: The failure.
        base: The first run.
        stop: Steps of a trial; None for all of them.
        looked: Last step that the microscope looks at.
    """
    onset = onset_of(failing, base)
    if onset is None:
        return stop
    soon = max(onset, looked) + limit.EXPLAIN_MARGIN
    return soon if soon < (base.steps if stop is None else stop) else stop


def steps_with(change: Change, base: Shown, stop: int | None) -> int | None:
    """Steps of a trial with a change: as many more as this change may put the failure off.

    Args:
        change: Which.
        base: The first run.
        stop: Steps of a trial; None for all of them.
    """
    if stop is None:
        return None
    stop *= knowledge.SLOWER.get(change, 1)
    return None if stop >= base.steps and not base.stopped else stop


def steps_outliving(unchanged: Shown, stop: int | None) -> int | None:
    """Steps after which a change has outlived the failure of another seed.

    Args:
        unchanged: The unchanged script with that seed.
        stop: Steps of a trial; None for all of them.
    """
    if stop is None:
        return None
    return min(stop, max(limit.EXPLAIN_LEAST_STEPS, math.ceil(limit.EXPLAIN_SURE * unchanged.steps)))


def until_failed(failing: Failing, base: Shown, stop: int | None) -> dict[str, Any]:
    """What an `Ask` needs to end a trial that has failed for good: long after the failure was certain unchanged.

    Args:
        failing: The failure.
        base: The first run.
        stop: Steps of the trial; None for all of them.
    """
    onset = onset_of(failing, base)
    steps = max(limit.EXPLAIN_SURE * (onset or 0), limit.EXPLAIN_SURE_SHARE * (stop or base.steps))
    return {"enough": lambda shown: shown.steps >= steps and failing.seen_in(shown), "least": int(steps)}
