"""Which failure is explained, when it is certain, and whether a trial has it."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rectifier.comparison.explain.judgement.knowledge import OTHER_LOSS, SLOWER
from rectifier.comparison.explain.trials.trial import Shown
from rectifier.diagnosis import thresholds as limit
from rectifier.errors import CannotExplain
from rectifier.records import Change, Consequence, Finding, Rule, TrainingSetup, rank

_BECAUSE = re.compile(
    r"\s*loss\s+(?:(?P<how>stays\s+at|is|at|above|>)\s*)(?P<level>nan|inf|[0-9.]+(?:e[-+]?\d+)?)\s*", re.IGNORECASE
)
_STUCK = (Consequence.NO_PROGRESS, Consequence.NOT_RECOVERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A failure, so that trials can be asked whether they have it.

    Attributes:
        rule: The rule that speaks; None where the loss alone tells it.
        least: Severity from which on the rule counts, as `rank` has it.
        level: Loss at or above which it has failed; None where the rule tells it. NaN for a loss that is not finite.
        findings: Of the run that failed, most serious first, those of its rule in front.
        progressed: Whether that run trained all the same: then a cure need not lower the loss.
        crashed: Whether that run ended by an error, or with a code of its own, so that a trial may, too.
        learned_little: Whether it is that what is set up wrongly kept the model from learning. How it was set up at the
            first step no change takes back; that the model learns after it is the cure.
    """

    rule: Rule | None
    least: int = 1
    level: float | None = None
    findings: tuple[Finding, ...] = ()
    progressed: bool = False
    crashed: bool = False
    learned_little: bool = False

    def speaks(self, findings: tuple[Finding, ...]) -> bool:
        """Whether its rule is among these findings."""
        return any(
            one.rule is self.rule
            and rank(one.severity) >= self.least
            and not (self.learned_little and not _little(one))
            for one in findings
        )

    def seen_in(self, shown: Shown) -> bool:
        """Whether a trial has this failure, or one that is as bad."""
        if self.level is not None:
            end = shown.loss_end
            return math.isnan(end) or (not math.isnan(self.level) and end >= (1 - limit.PLATEAU_FRACTION) * self.level)
        if (shown.crashed and not self.crashed) or self.speaks(shown.findings):
            return True
        if self.rule is Rule.NON_FINITE and len(shown.losses) and math.isnan(shown.loss_end):
            return True
        # Another name of the same misfortune is no cure.
        return any(
            one.severity == "serious" or (one.severity == "warning" and one.consequence in _STUCK)
            for one in shown.findings
            if not self._only_slow(one)
        )

    def _only_slow(self, one: Finding) -> bool:
        """Whether a training that stays finite has only not got far yet: it is ended soon after it did not before."""
        return self.rule is Rule.NON_FINITE and one.rule is Rule.STANDING_STILL and one.severity == "warning"


def read_because(text: str) -> float:
    """The loss that a user calls a failure: `loss stays at 2.3`, `loss is nan`.

    Raises:
        CannotExplain: It says anything else.

    Example:
        >>> read_because("loss stays at 2.3")
        2.3
    """
    match = _BECAUSE.fullmatch(text)
    try:
        level = float(match["level"]) if match else None
    except ValueError:
        level = None
    if level is None or level == 0:
        raise CannotExplain(
            f'--because {text!r} names no loss. Write --because "loss stays at 2.3", or --because "loss is nan"; '
            "To explain a finding of the run, use --finding RULE."
        )
    return level if math.isfinite(level) else math.nan


def failure_of(shown: Shown, *, finding: Rule | None = None, because: str | None = None) -> Failing | None:
    """What is to be explained of a run: the most serious finding that is a warning at least, or what the user names.

    Args:
        shown: The unchanged run.
        finding: The rule that is meant.
        because: The failure in the user's words, as `read_because` takes it.

    Returns:
        None where there is nothing to explain.

    Raises:
        CannotExplain: `because` cannot be read.
    """
    # Where that cannot be told, a cure has to show it.
    consequences = {one.consequence for one in shown.findings}
    progressed = Consequence.PROGRESS in consequences and consequences.isdisjoint(_STUCK)
    progressed = progressed and math.isfinite(shown.loss_end)
    if because is not None:
        failing = Failing(rule=None, level=read_because(because), findings=shown.findings)
        return failing if failing.seen_in(shown) else None
    if finding is not None:
        named = [one for one in shown.findings if one.rule is finding]
    else:
        named = [one for one in shown.findings if one.severity != "info"][:1]
    if not named:
        return None
    rest = [one for one in shown.findings if one not in named]
    least = max(rank(one.severity) for one in named) if finding is not None else 1
    return Failing(
        rule=named[0].rule,
        least=min(least, 1),
        findings=(*named, *rest),
        progressed=progressed,
        crashed=shown.crashed,
        learned_little=_little(named[0]),
    )


def _little(finding: Finding) -> bool:
    """Whether a model that is set up wrongly is known to have learned little."""
    evidence = finding.evidence
    if not isinstance(evidence, TrainingSetup) or evidence.explained is None:
        return False
    return evidence.explained < limit.LITTLE_EXPLAINED


def onset_of(failing: Failing, shown: Shown) -> int | None:
    """First step from which on the failure is certain; None where that is not known.

    Args:
        failing: The failure.
        shown: The unchanged run.
    """
    if failing.level is not None:
        if not math.isnan(failing.level):
            return None
        bad = np.flatnonzero(~np.isfinite(shown.losses))
        return int(bad[0]) if len(bad) else None
    onset = None
    for step, findings in reversed(shown.history):
        if not failing.speaks(findings):
            break
        onset = step
    return onset


@dataclass(slots=True)
class Certain:
    """Tells of the unchanged script at work whether its failure is certain: it need not run to its end then.

    Short scripts do, so that what is found of them does not hang on the moment at which they were looked at.

    Attributes:
        finding: The rule that is meant; None for the most serious finding.
        now: Gives the time in seconds.
    """

    finding: Rule | None
    now: Callable[[], float] = time.monotonic
    _began: float | None = None
    _rule: Rule | None = None
    _since: int = 0

    def __call__(self, shown: Shown) -> bool:
        """Whether enough was seen of it."""
        if self._began is None:
            self._began = self.now()
        failing = failure_of(shown, finding=self.finding)
        rule = None if failing is None or failing.findings[0].severity != "serious" else failing.rule
        if rule is None or rule is not self._rule:
            self._rule, self._since = rule, shown.steps
            return False
        long = self.now() - self._began >= limit.EXPLAIN_SHORT
        return long and shown.steps >= max(limit.EXPLAIN_CERTAIN * self._since, limit.EXPLAIN_LEAST_STEPS)


def looked_at(failing: Failing, shown: Shown) -> tuple[int, int]:
    """The steps that the microscope looks at: around the first one that went wrong.

    Args:
        failing: The failure.
        shown: The unchanged run.
    """
    bad = np.flatnonzero(~np.isfinite(shown.losses))
    since = next((one.since for one in failing.findings if one.rule is failing.rule and one.since), None)
    if failing.rule is Rule.NON_FINITE and len(bad):
        # The numbers that made this loss may have been made by the step before.
        last = int(bad[0]) if since is None else min(int(bad[0]), since)
    else:
        last = 1 if since is None else since
    return max(0, last - 1), last + 1


def better(change: Change, trial: Shown, base: Shown, failing: Failing) -> bool | None:
    """Whether a trial did better by its loss than the run that failed, at the same step.

    Args:
        change: What was changed: after some changes the loss is another one.
        trial: With the change.
        base: Without.
        failing: The failure.

    Returns:
        None where the two cannot be compared.
    """
    if change in OTHER_LOSS:
        return None
    n = min(len(trial.losses), len(base.losses))
    end, before = trial.loss_at(n), base.loss_at(n)
    if math.isnan(end):
        # A trial that trained nothing did not do better.
        return False if len(base.losses) else None
    if math.isnan(before):
        return True
    room = limit.PLATEAU_FRACTION * abs(before)
    if failing.progressed and change is Change.STANDARDISE_INPUTS and _fell(trial, n) >= _fell(base, n) / 2:
        # A loss of derivatives by the inputs is another one then; that it falls alike is all that can be asked for.
        return True
    # What only makes a training slower shows each symptom later.
    return end <= before + room if failing.progressed and change not in SLOWER else end < before - room


def _fell(shown: Shown, steps: int) -> float:
    """Share of its first loss that a training has lost after so many steps."""
    first = abs(float(shown.losses[0])) if len(shown.losses) else 0.0
    return (float(shown.losses[0]) - shown.loss_at(steps)) / first if first else 0.0


def gain_of(change: Change, trial: Shown, base: Shown) -> float | None:
    """Share of a failing run's loss that a change took away, at the same step; None where the two cannot be compared.

    Args:
        change: What was changed.
        trial: With the change.
        base: Without.
    """
    n = min(len(trial.losses), len(base.losses))
    end, before = trial.loss_at(n), base.loss_at(n)
    if change in OTHER_LOSS or not math.isfinite(end) or not math.isfinite(before) or before <= 0:
        return None
    return (before - end) / before
