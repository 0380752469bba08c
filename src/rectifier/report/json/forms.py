"""Findings as JSON has them: codes for programs beside texts for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rectifier import records
from rectifier.records import CauseKind, Consequence, RemedyId, Rule, Severity, Unjudged, WhyUnseen
from rectifier.records.findings.finding import Number
from rectifier.report.sentences import describe, fixes
from rectifier.report.sentences.judged import why_not_judged
from rectifier.report.sentences.recorded import why_unseen
from rectifier.report.sentences.treated import treatment_text

SCHEMA_VERSION = 2
"""Changes when a field of any document goes or changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a finding is about.

    Attributes:
        path: Path of the module that applies the activation, "" for the model itself; of a checkpoint, the weight's
            name.
        call: Index of this call among those of the same module within one forward; null for a weight.
        model: Class name of the model; null for a weight.
        label: How a program knows it.
        name: How people call it, by what feeds it: `fc1 → relu`.
    """

    path: str
    call: int | None
    model: str | None
    label: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why it is so, as far as the evidence tells.

    Attributes:
        kind: Which of the known causes; `unknown` says so plainly.
        text: In one sentence with its numbers.
    """

    kind: CauseKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement, its evidence, its cause where the evidence carries one, and what to do.

    Attributes:
        rule: Which rule spoke.
        severity: info, warning or serious.
        site: What it is about; null for a statement about the whole network.
        title: One line.
        detail: One or two sentences: since when, on how many samples, with which bound.
        cause: Why.
        since: First step of what is told; null where it is about no step.
        consequence: What followed from it, as far as the loss tells.
        remedies: What to do, mildest first.
        advice: The same in words, and what to expect from it.
        fixes: Commands or lines to type for that.
        units: The units meant, by index; empty when the whole site or network is.
        numbers: The numbers that it rests on, by name.
        suppressed: The user's reason why it is known and no alarm; null where it is not suppressed.
    """

    rule: Rule
    severity: Severity
    site: Site | None
    title: str
    detail: str
    cause: Cause
    since: int | None
    consequence: Consequence
    remedies: tuple[RemedyId, ...]
    advice: str
    fixes: tuple[str, ...]
    units: tuple[int, ...]
    numbers: dict[str, Number]
    suppressed: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Something that looked like an activation and was not observed, with the reason.

    Attributes:
        why: As a code; `other` where an earlier version wrote it.
        reason: The same in words.
        calls: Number of calls in the autograd graph of one loss.
    """

    what: str
    why: WhyUnseen
    reason: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotJudged:
    """Something that could not be judged, with the reason: without findings it is then no proof of health.

    Attributes:
        kind: What lacks.
        what: `label` of the site, or what was not observed; "" for the whole training.
        why: As a code: why the unit axis is unknown, or why it was not observed; null for the whole training.
        reason: The same in words.
    """

    kind: Unjudged
    what: str
    why: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Treated:
    """One change to a model between two steps of its training.

    Attributes:
        step: The last optimizer step before it, counted from 0; −1 where none came before.
        name: Which treatment: `swap`, `rescale`, `recycle`, or `undo` of one of them.
        text: What was changed, in words.
        units: `label` of a site -> the units that were revived there; empty for other treatments.
    """

    step: int
    name: str
    text: str
    units: dict[str, tuple[int, ...]]


def form_of(finding: records.Finding, command: Sequence[str] = ()) -> Finding:
    """A finding as JSON has it; `command` is the user's script and its options, where they are known."""
    texts = describe(finding, command)
    return Finding(
        rule=finding.rule,
        severity=finding.severity,
        site=None if finding.site is None else _site(finding.site),
        title=texts.title,
        detail=texts.detail,
        cause=Cause(kind=finding.cause.kind, text=texts.cause),
        since=finding.since,
        consequence=finding.consequence,
        remedies=finding.remedies,
        advice=texts.advice,
        fixes=tuple(fixes.fix_text(fix.kind, command) for fix in finding.fixes),
        units=finding.units,
        numbers=finding.numbers,
        suppressed=finding.suppressed,
    )


def layer_of(layer: records.LayerSummary) -> dict[str, Any]:
    """A row of the table of layers as JSON has it."""
    return {**records.to_builtins(layer), "site": layer.site.key, "name": layer.site.label}


def unseen_of(unseen: records.Unseen) -> Unseen:
    """What was not observed, as JSON has it."""
    return Unseen(what=unseen.what, why=unseen.why, reason=why_unseen(unseen), calls=unseen.calls)


def not_judged_of(one: records.NotJudged) -> NotJudged:
    """What could not be judged, as JSON has it."""
    code = None
    if one.axis is not None:
        code = str(one.axis.source)
    elif one.unseen is not None:
        code = str(one.unseen.why)
    return NotJudged(
        kind=one.kind, what=one.what if one.site is None else one.site.key, why=code, reason=why_not_judged(one)
    )


def treated_of(treated: records.Treated) -> Treated:
    """A treatment as JSON has it."""
    return Treated(step=treated.step, name=treated.name, text=treatment_text(treated), units=treated.units)


def _site(site: records.SiteRef | records.ParameterRef) -> Site:
    if isinstance(site, records.ParameterRef):
        return Site(path=site.name, call=None, model=None, label=site.key, name=site.label)
    return Site(path=site.path, call=site.call, model=site.model, label=site.key, name=site.label)
