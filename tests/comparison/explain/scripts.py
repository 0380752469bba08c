"""A script that fails as a test says it, without a process: a function of a change and a seed."""

import zlib
from dataclasses import dataclass, field

import numpy as np

from rectifier.comparison.explain.engine import Engine
from rectifier.comparison.explain.trials.trial import Shown
from rectifier.records import (
    Applied,
    Cause,
    CauseKind,
    Change,
    ChangedPart,
    Consequence,
    Finding,
    Rule,
)


def stuck(rule=Rule.STANDING_STILL, kind=CauseKind.UNKNOWN, *, severity="serious", remedies=(), **more):
    return Finding(
        rule=rule, severity=severity, cause=Cause(kind=kind), consequence=Consequence.NO_PROGRESS,
        remedies=remedies, **more,
    )  # fmt: skip


@dataclass
class Script:
    """Fails unless a change cures it.

    `cures`: changes that take the failure away. `idle`: changes that find nothing to change. `survives`: seeds on which
    it does not fail. `cures_at`: change -> seeds on which it cures. `onset`: first step at which the rule speaks.
    """

    findings: tuple = (stuck(),)
    cures: tuple = ()
    idle: tuple = ()
    survives: tuple = ()
    cures_at: dict = field(default_factory=dict)
    sights: tuple = ()
    onset: int = 40
    steps: int = 700
    puts_off: tuple = ()
    reach: bool = True
    level: float = 2.3
    detail: str = "so"
    parts: tuple[ChangedPart, ...] = ()
    asked: list = field(default_factory=list)
    place: str = ""
    ends: dict = field(default_factory=dict)
    "Change -> the loss that it leads to."
    nothing: tuple = ()
    "Changes that say they changed something, and do not."

    def __call__(self, ask):
        self.asked.append(ask)
        change, steps = ask.intervention.change, ask.stop_after or self.steps
        seed = ask.seed if self.reach and ask.seed is not None else 0
        cured = seed in self.survives or change in self.cures or seed in self.cures_at.get(change, ())
        onset = self.onset * (3 if change in self.puts_off else 1)
        if change in self.puts_off and steps <= 2 * onset:
            cured = True
        draws = np.random.default_rng(
            1_000 * seed + (0 if change in self.nothing or change is Change.NONE else _number(str(ask.intervention)))
        )
        end = self.ends.get(change, 0.1) if cured else self.level
        losses = end + 1e-5 * np.exp(-np.arange(steps)) + draws.uniform(0, 1e-4, steps)
        found = () if cured or steps <= onset else self.findings
        if ask.intervention.change is Change.NONE and not cured:
            history = tuple((step, self.findings if step >= self.onset else ()) for step in range(9, steps, 10))
        else:
            history = ()
        applied = None
        if change is not Change.NONE:
            times = 0 if change in self.idle else 1
            applied = Applied(change=change, times=times, detail=self.detail, place=self.place, parts=self.parts)
        return Shown(
            findings=found, history=history, losses=losses, steps=steps, applied=applied,
            sights=self.sights if ask.microscope else (),
        )  # fmt: skip


def explain(script, **more):
    return Engine(run=script, **more).explain()


def _number(text):
    """The same in every process, and never 0: that is the unchanged script's."""
    return 1 + zlib.crc32(text.encode()) % 998
