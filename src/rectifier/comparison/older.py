"""Rows of comparisons as earlier versions wrote them: the one place that knows those forms. No torch."""

import re
from dataclasses import replace
from typing import Any

from rectifier.comparison.question import EARLIER_NAMES, Question, renamed
from rectifier.comparison.weighing import Plan
from rectifier.records import Failure, FailureKind, Trial, decode, encode

FILE_NAME = "study.sqlite"

_NAMES = {earlier: now for now, earlier in EARLIER_NAMES.items()}

_WORDS = {
    "no progress": FailureKind.NO_PROGRESS,
    "constant output": FailureKind.CONSTANT_OUTPUT,
    "diverged": FailureKind.DIVERGED,
}
_SENTENCES = (
    (re.compile(r"exit code (137)"), FailureKind.KILLED),
    (re.compile(r"exit code (\d+)"), FailureKind.EXIT_CODE),
    (re.compile(r"stopped after (\S+) s"), FailureKind.TIMED_OUT),
    (re.compile(r"its record cannot be read: (.*)", re.DOTALL), FailureKind.UNREADABLE),
    (re.compile(r"(.*) is not finite", re.DOTALL), FailureKind.NOT_FINITE),
    (re.compile(r"(\w+: .*)", re.DOTALL), FailureKind.RAISED),
)

_MOTIONLESS = "constant-"
"""Began the fingerprint of a training in which nothing ever moved, before there was a field for that."""


def read_trial(line: bytes) -> Trial:
    """A trial as this version or an earlier one wrote it.

    Raises:
        ValueError: The line is no trial; the text names the field.
    """
    facts = decode(line, dict[str, Any])
    text = facts.get("failed")
    trial = decode(encode({**facts, "failed": None}) if isinstance(text, str) else line, Trial)
    if isinstance(text, str):
        trial = replace(trial, failed=failure_from(text))
    if trial.fingerprint is not None and trial.fingerprint.startswith(_MOTIONLESS):
        trial = replace(trial, fingerprint=trial.fingerprint.removeprefix(_MOTIONLESS), motionless=True)
    return replace(trial, arm=renamed(trial.arm, _NAMES))


def read_question(line: bytes) -> Question:
    """A question as this version or an earlier one wrote it.

    Raises:
        ValueError: The line is no question; the text names the field.
    """
    facts = decode(line, dict[str, Any])
    if "looks" in facts:
        facts["interim"] = facts.pop("looks")
    question = decode(encode(facts), Question)
    return replace(question, arms=tuple(renamed(arm, _NAMES) for arm in question.arms))


def read_plans(line: bytes) -> tuple[Plan, ...]:
    """Plans by which trainings were judged, as this version or an earlier one wrote them.

    Raises:
        ValueError: The line holds no plans; the text names the field.
    """
    return tuple(
        plan._replace(arms=tuple(sorted(renamed(arm, _NAMES) for arm in plan.arms)))
        for plan in decode(line, tuple[Plan, ...])
    )


def failure_from(text: str) -> Failure:
    """Version 0.1.0 kept why a training failed as a sentence.

    Example:
        >>> failure_from("exit code 3")
        Failure(kind=<FailureKind.EXIT_CODE: 'exit-code'>, detail='3')
    """
    if text in _WORDS:
        return Failure(_WORDS[text])
    for pattern, kind in _SENTENCES:
        if found := pattern.fullmatch(text):
            return Failure(kind, found[1])
    return Failure(FailureKind.OTHER, text)
