"""Which causes the evidence speaks for before anything is changed, best first."""

from collections.abc import Iterable, Sequence

from rectifier.comparison.explain.failure import Failing
from rectifier.comparison.explain.knowledge import STRUCTURAL, mendable
from rectifier.diagnosis import thresholds as limit
from rectifier.records import CauseKind, DeadUnits, Evidence, Rule, Sight, SightKind, SilentLayer

_NO_CAUSE = (CauseKind.UNKNOWN, CauseKind.UPSTREAM, CauseKind.FROZEN)
_OF_GRADIENT = frozenset({Rule.UNTRAINED, Rule.STARVED, Rule.NO_GRADIENT, Rule.STANDING_STILL, Rule.VANISHING_GRADIENT})
"""Failures that a lost or cut gradient can be behind. Elsewhere a `detach()` is nothing but the script's own way."""


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
        *([CauseKind.NARROW_LAYER] if any(_narrow(one.evidence) for one in failing.findings) else ()),
    ]
    return [kind for kind in dict.fromkeys(order) if kind not in _NO_CAUSE]


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
    ]


def _narrow(evidence: Evidence | None) -> bool:
    """Whether a whole layer is silent that has so few units that chance does it."""
    match evidence:
        case DeadUnits(units=units, dead=dead):
            return dead == units <= limit.NARROW_LAYER
        case SilentLayer(silent_units=units):
            return units <= limit.NARROW_LAYER
    return False


def _not_finite(failing: Failing) -> bool:
    return failing.rule is None or failing.rule is Rule.NON_FINITE
