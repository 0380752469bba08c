"""What questions and trials must keep to that are read from a file. No torch."""

import math
import re
from pathlib import PurePath
from typing import Annotated

from msgspec import Meta

from rectifier.catalogue import parse
from rectifier.comparison.question import COMPETITORS, Question, is_change, swaps
from rectifier.records import Intervention, Trial

MOST_SEEDS = 10_000
"""Trainings per arm, at most: more take years."""
_MOST_ARMS = 1_000

Seconds = Annotated[float, Meta(ge=0)]


def check_question(question: Question) -> Question:
    """The question itself.

    Raises:
        ValueError: It was asked by no command.
        RectifierError: An arm is not known.
    """
    if not question.command:
        raise ValueError("there is no command")
    if not 1 <= question.seeds <= MOST_SEEDS or len(question.arms) > _MOST_ARMS:
        raise ValueError(f"{question.seeds} seeds of {len(question.arms)} arms")
    if len(set(question.arms)) < len(question.arms):
        raise ValueError("an arm comes twice")
    for arm in question.arms:
        if is_change(arm):
            Intervention.parse(arm)
        elif arm not in COMPETITORS and swaps(arm):
            parse(arm)
    interim = question.planned_analyses
    if list(interim) != sorted(set(interim)) or interim[0] < 1 or interim[-1] != question.seeds:
        raise ValueError(f"analyses at {interim} of {question.seeds} seeds")
    if question.margin is not None and not 0 < question.margin < math.inf:
        raise ValueError(f"a margin of {question.margin}")
    if question.threads < 1 or (question.max_steps is not None and question.max_steps < 1):
        raise ValueError(f"{question.threads} threads and {question.max_steps} steps")
    if question.pattern is not None:
        try:
            re.compile(question.pattern)
        except re.error as error:
            raise ValueError(f"the pattern {question.pattern!r}: {error}") from None
    return question


def check_trial(trial: Trial) -> Trial:
    """The trial itself.

    Raises:
        ValueError: No training ended so.
    """
    if not 0 <= trial.seed < MOST_SEEDS:
        raise ValueError(f"seed {trial.seed}")
    for name, value, most in (
        ("metric", trial.metric, math.inf),
        ("dead_fraction", trial.dead_fraction, 1.0),
        ("seconds", trial.seconds, math.inf),
    ):
        if value is not None and not (math.isfinite(value) and abs(value) <= most):
            raise ValueError(f"`{name}` is {value}")
    if trial.run is not None and (PurePath(trial.run).is_absolute() or ".." in PurePath(trial.run).parts):
        raise ValueError(f"its run {trial.run!r} lies outside of the comparison's folder")
    return trial
