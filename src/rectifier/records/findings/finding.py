"""What the diagnosis says, with its evidence: facts only. `rectifier.report.sentences` writes the English."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum, StrEnum
from typing import Any

from rectifier.records.notebook import InNotebook
from rectifier.records.rules import CauseKind, Consequence, FixKind, RemedyId, Rule, Severity, rank
from rectifier.records.training.site import ParameterRef, SiteRef, UnitAxis, Unseen

Number = float | int | str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a finding rests on; each rule has a record of its own."""


@dataclass(frozen=True, slots=True)
class CauseFacts:
    """What shows a cause; each that is told with numbers has a record of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why it is so, as far as the evidence tells.

    Attributes:
        kind: Which of the known causes; `unknown` says so plainly.
        facts: The numbers that show it; None where the finding's own evidence has them all.
        text: In one sentence with its numbers; findings that public functions return have it.
    """

    kind: CauseKind = CauseKind.UNKNOWN
    facts: CauseFacts | None = None
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What to type.

    Attributes:
        kind: Which command or line.
        text: As it is typed, `train.py` standing for the user's script; as `Cause.text`.
    """

    kind: FixKind
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSize:
    """On how many samples a statement about silence rests.

    Attributes:
        least_samples: Distinct samples of the silence, the fewest of any unit; visits where they are not told apart.
        firing_bound: 95% upper bound on the firing rate of each unit; None where only visits are known.
        whole_data: Whether the silence covers every sample that the training showed.
        sequences: Whether a sample is a sequence of tokens; a unit is silent on it where it fires on none of them.
    """

    least_samples: int
    firing_bound: float | None
    whole_data: bool
    sequences: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LossPath:
    """How the loss moved: medians over the plateaus at both ends, and over how many steps."""

    loss_start: float | None
    loss_end: float | None
    loss_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement about a training, its evidence, its cause where the evidence carries one, and what to do.

    `title`, `detail`, `advice`, and the texts of `cause` and `fixes` are written at the edge: findings that public
    functions return have them, and `rectifier.describe` returns them. Inside they are empty, and nothing is decided
    by them.

    Attributes:
        rule: Which rule spoke.
        severity: info, warning or serious (definitions: dead units alone are information).
        evidence: The facts that it rests on, a record of its own for each rule; `numbers` has them by name.
        site: The place in the model, the weight of a checkpoint, or None for a statement about the whole network.
        cause: Why, `CauseKind.UNKNOWN` where the evidence does not carry a cause.
        since: First step of what is told; None where it is about no step.
        sample: On how many samples it rests, where it is about silence.
        consequence: What followed from it.
        loss: How the loss moved, where the consequence was asked for.
        remedies: What to do, mildest first.
        fixes: What to type for that.
        units: The units meant, by index; empty when the whole site or network is.
        suppressed: The user's reason why this finding is known and no alarm, None where it was not suppressed.
        title: One line.
        detail: One or two sentences: since when, on how many samples, with which bound.
        advice: What to do, mildest first, and what to expect from it.
    """

    rule: Rule
    severity: Severity
    evidence: Evidence = field(default_factory=Evidence)
    site: SiteRef | ParameterRef | None = None
    cause: Cause = field(default_factory=Cause)
    since: int | None = None
    sample: SampleSize | None = None
    consequence: Consequence = Consequence.NOT_ASKED
    loss: LossPath | None = None
    remedies: tuple[RemedyId, ...] = ()
    fixes: tuple[Fix, ...] = ()
    units: tuple[int, ...] = ()
    suppressed: str | None = None
    title: str = field(default="", compare=False)
    detail: str = field(default="", compare=False)
    advice: str = field(default="", compare=False)

    @property
    def numbers(self) -> dict[str, Number]:
        """Every number and name that it rests on, its cause's and its sample's, too."""
        parts = (self.evidence, self.sample, self.loss, self.cause.facts)
        return dict(pair for part in parts if part is not None for pair in _numbers_of(part))

    @property
    def command(self) -> str | None:
        """What to type first, None where nothing is."""
        return self.fixes[0].text if self.fixes else None


def _numbers_of(fact: Any) -> Iterator[tuple[str, Number]]:
    for one in fields(fact):
        value = getattr(fact, one.name)
        if value is None:
            continue
        if isinstance(value, SiteRef | ParameterRef):
            yield one.name, value.label
        elif is_dataclass(value):
            yield from _numbers_of(value)
        elif isinstance(value, tuple):
            yield one.name, len(value)
        else:
            if isinstance(value, Enum):
                value = str(value)
            yield one.name, int(value) if isinstance(value, bool) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSummary:
    """One row of the layer table: a site's state at the end of what was observed.

    Attributes:
        units: None where the unit axis is unknown; the unit counts below are then None, too.
        dead: Units that meet the definition of dead, sample size included.
        suspected: Units that were silent throughout, on too few samples for the definition.
        rare: Units that fired on less than 1% of the samples, but did fire.
        stuck: Units whose pre-activation was negative throughout, whatever the activation. Equal to
            dead + suspected under ReLU; under Leaky ReLU, PReLU or ELU such units still learn.
        firing_fraction: Mean over units of the share of samples on which they fired, last window.
        delta: Norm of ∂L/∂z per sample in the last window (median over its steps), None when no gradient came.
        dead_history: (step, share of units silent since before the window ended) for the charts.
        always_on: Units whose output stayed above f(0) at every position of the last samples counted, 3,000 at least.
        dormant: (τ, units whose mean absolute output is at most τ times the layer's mean) in the last window, for
            τ = 0, 0.025 and 0.1; empty for activations that can be negative, where that is not the definition.
    """

    site: SiteRef
    activation: str
    source: str | None
    units: int | None
    dead: int | None
    suspected: int | None
    rare: int | None
    stuck: int | None
    firing_fraction: float | None
    delta: float | None
    dead_history: tuple[tuple[int, float], ...] = ()
    always_on: int | None = None
    dormant: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Findings about one thing, most serious first.

    Attributes:
        findings: What is to be said.
        suppressed: Findings that the user knows of, each with the reason; no alarm, and not among `findings`.
    """

    findings: tuple[Finding, ...]
    suppressed: tuple[Finding, ...] = ()

    @property
    def worst(self) -> Severity | None:
        """The highest severity among the findings, None when there is none; what is suppressed does not count."""
        return self.findings[0].severity if self.findings else None

    def reaches(self, severity: Severity) -> bool:
        """Whether any finding is at least so severe."""
        return self.worst is not None and rank(self.worst) >= rank(severity)


def most_serious_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """In the order in which they are told; of one severity, in the order in which they were found."""
    return tuple(sorted(findings, key=lambda finding: -rank(finding.severity)))


class Unjudged(StrEnum):
    """Why something could not be judged."""

    UNITS_UNKNOWN = "units_unknown"
    """Which axis of an activation counts as its units is not known."""
    UNSEEN = "unseen"
    """It looked like an activation and was not observed."""
    NOTHING_OBSERVED = "nothing_observed"
    """Neither activations nor parameters were looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotJudged:
    """Something of a training that could not be judged: without findings it is then no proof of health.

    Attributes:
        kind: Why.
        what: Name of the site, or what was not observed; "" for the whole training.
        site: Which one it is.
        axis: Of a site: why its unit axis is unknown.
        unseen: Of what was not observed: why it was not.
    """

    kind: Unjudged
    what: str = ""
    site: SiteRef | None = None
    axis: UnitAxis | None = None
    unseen: Unseen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Judged, InNotebook):
    """All findings about one process of a run, most serious first, and the table they were drawn from.

    Attributes:
        layers: One row for each site.
        not_judged: What could not be judged.
    """

    layers: tuple[LayerSummary, ...]
    not_judged: tuple[NotJudged, ...] = ()

    @property
    def nothing_observed(self) -> bool:
        """Whether there was nothing to judge: neither activations nor parameters were looked at."""
        return any(one.kind is Unjudged.NOTHING_OBSERVED for one in self.not_judged)
