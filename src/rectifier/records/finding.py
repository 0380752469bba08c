"""What the diagnosis says, with its evidence."""

from dataclasses import dataclass, field
from typing import Literal

from rectifier.records.notebook import InNotebook

Severity = Literal["info", "warning", "serious"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "serious")
"""From the mildest on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement about a training, its evidence, its cause where the evidence carries one, and what to do.

    Attributes:
        name: Which rule spoke: `dead-units`, `vanishing-gradient` (`rectifier.diagnosis.rules` lists all).
        severity: info, warning or serious (definitions: dead units alone are information).
        site: Label of the site, None for a statement about the whole network.
        title: One line.
        detail: One or two sentences: since when, on how many samples, with which bound.
        cause: In one sentence with its numbers; `cause unknown` says so plainly.
        advice: What to do, mildest first, and what to expect from it.
        command: What to type for that, or None.
        units: The units meant, by index; empty when the whole site or network is.
        evidence: The numbers the statement rests on, by name.
        silenced: The user's reason why this finding is known and no alarm, None where it was not silenced.
    """

    name: str
    severity: Severity
    title: str
    detail: str
    site: str | None = None
    cause: str = "cause unknown"
    advice: str = ""
    command: str | None = None
    units: tuple[int, ...] = ()
    evidence: dict[str, float | int | str | None] = field(default_factory=dict)
    silenced: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSummary:
    """One row of the layer table: a site's state at the end of what was observed.

    Attributes:
        units: None where the unit axis is unknown; the unit counts below are then None, too.
        dead: Units that meet the definition of dead, sample size included.
        suspected: Units that were silent throughout, on too few samples for the definition.
        rare: Units that fired on less than 1 % of the samples, but did fire.
        stuck: Units whose pre-activation was negative throughout, whatever the activation. Equal to
            dead + suspected under ReLU; under Leaky ReLU, PReLU or ELU such units still learn.
        firing_fraction: Mean over units of the share of samples on which they fired, last window.
        delta: Norm of ∂L/∂z per sample in the last window (median over its steps), None when no gradient came.
        dead_history: (step, share of units silent since before the window ended) for the charts.
        always_on: Units whose output stayed above f(0) at every position of the last samples counted, 3,000 at least.
        dormant: (τ, units whose mean absolute output is at most τ times the layer's mean) in the last window, for
            τ = 0, 0.025 and 0.1; empty for activations that can be negative, where that is not the definition.
    """

    site: str
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
        silenced: Findings that the user knows of, each with the reason; no alarm, and not among `findings`.
    """

    findings: tuple[Finding, ...]
    silenced: tuple[Finding, ...] = ()

    @property
    def worst(self) -> Severity | None:
        """The highest severity among the findings, None when there is none; what is silenced does not count."""
        return self.findings[0].severity if self.findings else None

    def reaches(self, severity: Severity) -> bool:
        """Whether any finding is at least so severe."""
        return self.worst is not None and SEVERITIES.index(self.worst) >= SEVERITIES.index(severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Judged, InNotebook):
    """All findings about one process of a run, most serious first, and the table they were drawn from."""

    layers: tuple[LayerSummary, ...]
