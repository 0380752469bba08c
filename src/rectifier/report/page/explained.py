"""What the templates show of an explanation."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rectifier.records import Conclusion, Experiment, Explanation, SavedExplanation, Sight
from rectifier.report.figures.explanation import by_change, change_curves
from rectifier.report.page.shown import Shown
from rectifier.report.sentences.explanation.experiments import edited
from rectifier.report.sentences.explanation.remedies import Line, fix_of
from rectifier.report.sentences.explanation.sights import sight_text

MOST_SIGHTS = 12
_PILLS = {
    Conclusion.ESTABLISHED: ("good", "established"),
    Conclusion.THIS_RUN: ("good", "established for this run"),
    Conclusion.OBSERVED: ("info", "observed"),
}


@dataclass(frozen=True)
class Explained:
    """An explanation as a section of a page.

    Attributes:
        explanation: With its texts.
        saved: As it was kept, with the same texts.
        script: Digest of the script of the run that the page is about; None for a page of its own.
    """

    explanation: Explanation
    saved: SavedExplanation
    script: str | None = None

    @property
    def pill(self) -> tuple[str, str]:
        """Class and words of the verdict's mark."""
        return _PILLS.get(self.explanation.conclusion, ("warning", "not established"))

    @property
    def heading(self) -> str:
        """What heads the section."""
        failed = self.explanation.conclusion is not Conclusion.NOTHING_TO_EXPLAIN
        return "Why it fails" if failed else "Explanation"

    @property
    def command(self) -> str:
        """What was explained."""
        return shlex.join(self.saved.command)

    @property
    def warning(self) -> str:
        """What keeps the explanation from being about this run."""
        return edited(self.saved, self.script)

    @cached_property
    def charts(self) -> Sequence[Shown]:
        """One for each change that found something to change."""
        return [Shown(title, figure) for title, figure in change_curves(self.explanation)]

    @cached_property
    def rows(self) -> list[list[Experiment]]:
        """All trials, by change."""
        return by_change(self.explanation)

    @property
    def fixes(self) -> list[Line]:
        """What to do, the first thing first."""
        pairs = zip(self.explanation.remedies, self.explanation.fixes, strict=True)
        return [replace(fix_of(remedy, self.explanation), text=text) for remedy, text in pairs]

    @property
    def sights(self) -> list[tuple[Sight, str]]:
        """What the microscope saw, what speaks for the cause first; the line stands below the sentence."""
        cause = self.explanation.cause
        kind = None if cause is None else cause.kind
        shown = sorted(self.explanation.sights, key=lambda sight: sight.cause_kind is not kind)[:MOST_SIGHTS]
        return [(sight, sight_text(replace(sight, place="", expression=""))) for sight in shown]

    @property
    def seconds(self) -> float:
        """What all trials took, one after the other; those that ran unchanged in full are not kept."""
        trials = (*self.explanation.experiments, *self.explanation.control.trials)
        return sum(one.seconds for one in trials)
