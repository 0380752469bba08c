"""What is told while an explanation is at work."""

from dataclasses import dataclass

from rectifier.comparison.explain.judgement.failure import Failing
from rectifier.comparison.explain.trials.trial import Shown
from rectifier.records import Experiment


@dataclass(frozen=True, slots=True)
class Step:
    """A trial has ended.

    Attributes:
        done: Trials that have ended.
        experiment: The one that ended last; None where it was the unchanged run.
        shown: What that one showed.
        failing: What is explained; None as long as that is not known.
        most: Trials that may come at most, from now on.
        stop_after: Steps of each of these; None for the script's own end.
    """

    done: int
    experiment: Experiment | None
    shown: Shown
    failing: Failing | None = None
    most: int | None = None
    stop_after: int | None = None
