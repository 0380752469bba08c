"""What the experiments of an explanation show: which change is a cause, which only a remedy, and what stays unknown."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rectifier.comparison.explain.judgement.cures import Cure
from rectifier.comparison.explain.judgement.evidence import narrow
from rectifier.comparison.explain.judgement.failure import Failing
from rectifier.comparison.explain.judgement.knowledge import (
    MENDED_BY,
    REMOVES,
    STRUCTURAL,
    UNCOMPARED,
    place_among,
    rank_of,
    removed_by,
    supports,
)
from rectifier.diagnosis import thresholds as limit
from rectifier.records import (
    CauseKind,
    Change,
    Conclusion,
    EstablishedCause,
    Experiment,
    Intervention,
    RemedyId,
    Sight,
    SightKind,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that a verdict rests on.

    Attributes:
        failing: What is explained.
        kinds: Causes that evidence speaks for, best first.
        cures: In the order of their trials.
        experiments: All trials with a change.
        chaotic: Whether a change of no meaning takes the failure away.
        this_run: Whether no other seed says anything.
        unfinished: Whether time was up.
    """

    failing: Failing
    kinds: Sequence[CauseKind]
    cures: Sequence[Cure] = ()
    experiments: Sequence[Experiment] = ()
    sights: Sequence[Sight] = ()
    chaotic: bool = False
    this_run: bool = False
    unfinished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an explanation ended, with causes and remedies, the first one first."""

    conclusion: Conclusion
    causes: tuple[EstablishedCause, ...] = ()
    remedies: tuple[RemedyId, ...] = ()


def conclude(evidence: Evidence) -> Verdict:
    """Weigh the experiments.

    A general change (a leaky slope, a clipped gradient) cures much that it did not cause: it is named as a cause only
    where the evidence speaks for it, or where all else was tried and nothing else helps.
    """
    holding = [cure for cure in evidence.cures if cure.holds and _counts(cure, evidence.kinds)]
    best = max((cure.gain for cure in holding if cure.gain is not None), default=0.0)
    cures = sorted(holding, key=lambda cure: _order(cure, evidence.kinds, best))
    causes = [] if evidence.chaotic else _established(cures, evidence)
    if causes:
        ended = Conclusion.THIS_RUN if evidence.this_run else Conclusion.ESTABLISHED
    else:
        causes = list(_shown(evidence))
        ended = _without_cure(evidence, causes)
    if not causes:
        causes = [EstablishedCause(kind=CauseKind.UNKNOWN)]
    return Verdict(
        conclusion=ended, causes=tuple(causes), remedies=tuple(dict.fromkeys(_remedies(causes, cures, evidence)))
    )


def _order(cure: Cure, kinds: Sequence[CauseKind], best: float) -> tuple[int, bool, int, bool, int]:
    change = cure.intervention.change
    for place, kind in enumerate(kinds):
        if supports(kind, cure.intervention):
            return place, False, place_among(kind, change), False, rank_of(change)
    # What only eases the failure, where another change takes it away, is not what it comes from.
    eases = cure.gain is not None and cure.gain < limit.EXPLAIN_EASES * best
    return len(kinds), eases, 0, REMOVES[change].general, rank_of(change)


def _counts(cure: Cure, kinds: Sequence[CauseKind]) -> bool:
    """Whether a cure says anything: one of what is asked for does only where that was seen at work."""
    change = cure.intervention.change
    return change not in UNCOMPARED or any(supports(kind, cure.intervention) for kind in kinds)


def _established(cures: Sequence[Cure], evidence: Evidence) -> list[EstablishedCause]:
    """The causes that experiments show, best first."""
    own = [
        cure
        for cure in cures
        if not REMOVES[cure.intervention.change].general
        or any(supports(kind, cure.intervention) for kind in evidence.kinds)
    ]
    if not own and not evidence.unfinished and not any(_shown(evidence)):
        own = list(cures)
    found: dict[CauseKind, EstablishedCause] = {}
    for cure in own:
        kind = removed_by(cure.intervention, evidence.kinds)
        found.setdefault(
            kind,
            EstablishedCause(
                kind=kind,
                detail=_detail(kind, cure, evidence),
                place=_place(kind, cure.intervention, evidence.sights) or _changed_at(cure.intervention, evidence),
                intervention=cure.intervention,
                established=True,
            ),
        )
    return list(found.values())


def _detail(kind: CauseKind, cure: Cure, evidence: Evidence) -> str:
    """What exactly it is: as it was seen, else as the change that takes it away tells it."""
    if cure.intervention.change is Change.GUARD_OPERATION:
        for sight in evidence.sights:
            if sight.kind is SightKind.FIRST_NONFINITE and sight.place == cure.intervention.value and sight.expression:
                return f"{sight.operation}: {sight.expression}"
    if kind is CauseKind.NARROW_LAYER:
        for finding in evidence.failing.findings:
            if layer := narrow(finding):
                return layer
    return cure.detail


def _shown(evidence: Evidence) -> Iterator[EstablishedCause]:
    """Causes that stand without a cure: what is seen as it is, and what no experiment has refuted."""
    for kind in evidence.kinds:
        if kind in STRUCTURAL or not _refuted(kind, evidence):
            yield EstablishedCause(kind=kind, place=_place(kind, None, evidence.sights))


def _refuted(kind: CauseKind, evidence: Evidence) -> bool:
    """Whether something that would take this cause away was changed, and the failure came all the same."""
    own = [
        one
        for one in evidence.experiments
        if one.seed is None and not one.error and supports(kind, one.intervention) and not one.idle
    ]
    return bool(own) and all(one.unhelpful for one in own)


def _without_cure(evidence: Evidence, causes: Sequence[EstablishedCause]) -> Conclusion:
    if evidence.chaotic:
        return Conclusion.CHAOTIC
    if causes and causes[0].kind in STRUCTURAL:
        return Conclusion.OBSERVED
    return Conclusion.UNFINISHED if evidence.unfinished else Conclusion.NO_SINGLE_CHANGE


def _place(kind: CauseKind, intervention: Intervention | None, sights: Iterable[Sight]) -> str:
    """The user's own line that belongs to a cause."""
    value = None if intervention is None else intervention.value
    if isinstance(value, str):
        return value
    return next((sight.place for sight in sights if sight.cause_kind is kind and sight.place), "")


def _changed_at(intervention: Intervention, evidence: Evidence) -> str:
    """The user's own line that gives what was changed."""
    own = (one.applied for one in evidence.experiments if one.intervention == intervention)
    return next((applied.place for applied in own if applied is not None and applied.place), "")


def _remedies(causes: Sequence[EstablishedCause], cures: Sequence[Cure], evidence: Evidence) -> Iterator[RemedyId]:
    """What to do: first what takes the first cause away, as the finding that names it says it; then what else helps."""
    first = causes[0].kind
    findings = [one for one in evidence.failing.findings if one.cause.kind is first]
    intervention = causes[0].intervention
    if intervention is not None:
        remedy = REMOVES[intervention.change].remedy
        # A finding that names the same cause may know better how it is mended: registered, rather than added.
        if remedy is not None and removed_by(intervention, ()) is first:
            yield remedy
    for one in findings:
        yield from one.remedies
    yield from MENDED_BY.get(first, ())
    for cause in causes[1:]:
        if cause.established:
            yield from MENDED_BY.get(cause.kind, ())
    if not evidence.chaotic:
        for cure in cures:
            remedy = REMOVES[cure.intervention.change].remedy
            if remedy is not None:
                yield remedy
