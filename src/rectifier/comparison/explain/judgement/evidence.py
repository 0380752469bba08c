"""Which causes the evidence speaks for before anything is changed, best first."""

from collections.abc import Iterable, Sequence

from rectifier.comparison.explain.judgement.failure import Failing
from rectifier.comparison.explain.judgement.knowledge import STRUCTURAL, mendable
from rectifier.comparison.explain.trials.trial import Shown
from rectifier.diagnosis import thresholds as limit
from rectifier.records import CauseKind, DeadUnits, Finding, Rule, Sight, SightKind, SilentLayer, SiteRef

_NO_CAUSE = (CauseKind.UNKNOWN, CauseKind.UPSTREAM, CauseKind.FROZEN)
_OF_GRADIENT = frozenset({Rule.UNTRAINED, Rule.STARVED, Rule.NO_GRADIENT, Rule.STANDING_STILL, Rule.VANISHING_GRADIENT})
"""Failures that a lost or cut gradient can be behind. Elsewhere a `detach()` is nothing but the script's own way."""


_OF_FLATNESS = frozenset({Rule.SATURATED, Rule.CONSTANT_PREDICTOR, Rule.COLLAPSED_OUTPUT, Rule.DEAD_UNITS})
"""Failures that inputs of another scale than weights are made for can be behind."""


def kinds_of(failing: Failing, sights: Sequence[Sight]) -> list[CauseKind]:
    """Causes that evidence speaks for.

    What the failure's own finding sees as it is comes first, then what was measured of numbers and inputs, then what is
    inferred. What was seen and no change can confirm comes last.

    Args:
        failing: The failure, with the findings of its run.
        sights: What the microscope saw.
    """
    own = [one.cause.kind for one in failing.findings if one.rule is failing.rule]
    rest = [one.cause.kind for one in failing.findings if one.severity != "info"]
    seen = [sight.cause_kind for sight in _weighty(failing, sights)]
    measured = [
        sight.cause_kind
        for sight in _weighty(failing, sights)
        if sight.kind in (SightKind.FIRST_NONFINITE, SightKind.INPUTS)
    ]
    order = [
        *(kind for kind in own if kind in STRUCTURAL),
        *measured,
        *own,
        *(kind for kind in seen if mendable(kind)),
        *rest,
        *seen,
        *([CauseKind.RECURRENCE] if any(map(_of_many_calls, failing.findings[:1])) else ()),
        *([CauseKind.INPUT_SCALE] if failing.rule in _OF_FLATNESS and any(map(_off_scale, sights)) else ()),
        *([CauseKind.NARROW_LAYER] if any(map(narrow, failing.findings)) else ()),
    ]
    return [kind for kind in dict.fromkeys(order) if kind not in _NO_CAUSE]


def suspected(failing: Failing, sights: Sequence[Sight], base: Shown) -> list[CauseKind]:
    """The same with what the first run shows of its outputs and its batches.

    Args:
        failing: The failure.
        sights: What the microscope saw.
        base: The first run.
    """
    kinds = kinds_of(failing, sights)
    if kinds and kinds[0] in STRUCTURAL:
        return kinds
    if base.constant_optimum:
        # What a training was asked for it reached: no change of the way there is a cure.
        kinds.insert(0, CauseKind.OBJECTIVE)
    if base.sorted_by_class:
        # Whatever makes it forget more slowly helps, and is not the cause.
        kinds.insert(0, CauseKind.DATA_ORDER)
    return list(dict.fromkeys(kinds))


def _weighty(failing: Failing, sights: Iterable[Sight]) -> list[Sight]:
    """What was seen and can be behind this failure."""
    return [
        sight
        for sight in sights
        if (sight.kind is SightKind.FIRST_NONFINITE and _not_finite(failing))
        or sight.kind in (SightKind.INPUTS, SightKind.PARAMETERS_IDLE)
        or (sight.kind is SightKind.MOVED_BY and sight.numbers.get("share", 0.0) >= limit.EXPLAIN_MOST_OF_IT)
        or (
            sight.kind in (SightKind.GRADIENT_LOST, SightKind.GRADIENT_CUT)
            and (failing.rule is None or failing.rule in _OF_GRADIENT)
        )
        # Whatever goes through a normalisation over one number comes out the same.
        or (sight.cause_kind is CauseKind.NORMALISATION and failing.rule in _OF_FLATNESS)
    ]


def _of_many_calls(finding: Finding) -> bool:
    """Whether it is about a layer that one forward calls again and again."""
    return isinstance(finding.site, SiteRef) and finding.site.call >= limit.EXPLAIN_CALLS


def _off_scale(sight: Sight) -> bool:
    """Whether a model was given inputs that are large, or whose mean outweighs what differs between rows."""
    if sight.kind is not SightKind.INPUTS or sight.numbers.get("integers"):
        return False
    offset, scale = sight.numbers.get("offset", 0.0), sight.numbers.get("scale", 0.0)
    return sight.numbers.get("rms", 0.0) > limit.LARGE_INPUT or offset > limit.LARGE_OFFSET * scale > 0


def narrow(finding: Finding) -> str:
    """A layer that is silent as a whole and has so few units that chance does it; "" where there is none."""
    match finding.evidence:
        case DeadUnits(units=units, dead=dead) if dead == units <= limit.NARROW_LAYER:
            return f"{finding.site}, {units} units"
        case SilentLayer(silent_site=site, silent_units=units) if units <= limit.NARROW_LAYER:
            return f"{site}, {units} units"
    return ""


def _not_finite(failing: Failing) -> bool:
    return failing.rule is None or failing.rule is Rule.NON_FINITE
