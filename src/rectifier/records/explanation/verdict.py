"""Why a training fails."""

from dataclasses import dataclass, field
from enum import StrEnum

from rectifier.records.explanation.change import Intervention
from rectifier.records.explanation.experiment import Control, Experiment
from rectifier.records.explanation.sight import Sight
from rectifier.records.notebook import InNotebook
from rectifier.records.rules import CauseKind, RemedyId


@dataclass(frozen=True, slots=True, kw_only=True)
class EstablishedCause:
    """A cause with what shows it.

    Attributes:
        kind: Which.
        detail: What exactly, in words.
        place: The user's own line; "" where it is unknown.
        intervention: The change that takes the failure away; None where no change can, and other evidence shows it.
        established: Whether an experiment showed it.
        text: All of that in one sentence, for the reader; filled at the edge.
    """

    kind: CauseKind
    detail: str = ""
    place: str = ""
    intervention: Intervention | None = None
    established: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedFailure:
    """What is explained.

    Attributes:
        rule: Name of the finding's rule; "" where the loss alone tells it.
        onset: First step at which it is certain; None where that is not known.
        steps: Steps after which trials are ended; None for the script's own end.
        loss_end: Median of the last losses of the run that failed.
        asked: What the user said it is, "" where nothing.
    """

    rule: str = ""
    onset: int | None = None
    steps: int | None = None
    loss_end: float | None = None
    asked: str = ""


class Conclusion(StrEnum):
    """How an explanation ended."""

    NOTHING_TO_EXPLAIN = "nothing_to_explain"
    ESTABLISHED = "established"
    THIS_RUN = "established_for_this_run"
    """No other seed reaches what it draws, or no other seed fails."""
    OBSERVED = "observed"
    """No change from outside can mend it; what was seen shows it."""
    CHAOTIC = "chaotic"
    """A change of no meaning takes the failure away, so that no cure proves anything."""
    NO_SINGLE_CHANGE = "no_single_change"
    NOT_REPRODUCED = "not_reproduced"
    UNFINISHED = "unfinished"
    """Time was up, or it was stopped, before there was a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(InNotebook):
    """Why a training fails.

    Attributes:
        conclusion: How it ended.
        cause: The first of `causes`; None where none is shown.
        causes: All that are shown: first what the microscope measured, then what is nearest to the user's settings.
        established: Whether experiments showed the first cause.
        remedies: What to do, the first thing first.
        fixes: What to type for that; filled at the edge, as `title` and `details` are.
        experiments: All of them, in their order.
        control: What the unchanged script does.
        sights: What the microscope saw.
        failure: What is explained; None where there is nothing.
        notes: What the reader must know before believing it.
        title: The verdict in one line.
        details: What shows it, sentence by sentence.
    """

    conclusion: Conclusion
    cause: EstablishedCause | None = None
    causes: tuple[EstablishedCause, ...] = ()
    established: bool = False
    remedies: tuple[RemedyId, ...] = ()
    fixes: tuple[str, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    control: Control = field(default_factory=Control)
    sights: tuple[Sight, ...] = ()
    failure: ExplainedFailure | None = None
    notes: tuple[str, ...] = ()
    title: str = ""
    details: tuple[str, ...] = ()
