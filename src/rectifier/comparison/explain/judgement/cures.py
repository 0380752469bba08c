"""Changes after which the failure did not come, and what they settle."""

from collections.abc import Sequence
from dataclasses import dataclass

from rectifier.comparison.explain.judgement import knowledge
from rectifier.records import CauseKind, Change, Intervention


@dataclass(frozen=True, slots=True, kw_only=True)
class Cure:
    """A change after which the failure did not come.

    Attributes:
        intervention: Which.
        held: Failing seeds on which it helped.
        failed: Failing seeds on which it did not; the first of these ends the search.
        detail: What it changed, as it said itself.
        gain: Share of the failing run's loss that it took away; None where the two cannot be compared.
    """

    intervention: Intervention
    held: int
    failed: int
    detail: str = ""
    gain: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it helped on every failing seed that was tried."""
        return self.held > 0 and not self.failed


def settled_by(cures: Sequence[Cure]) -> set[Change]:
    """Changes that would show again what is shown: a tenth of the learning rate, where a third of it helps."""
    removed = [knowledge.REMOVES[cure.intervention.change] for cure in cures if cure.holds]
    shown = {removes.cause for removes in removed if not removes.general}
    return {change for change, removes in knowledge.REMOVES.items() if removes.cause in shown}


def is_confirmed(kinds: Sequence[CauseKind], cures: Sequence[Cure]) -> bool:
    """Whether the first cause was seen as it is, and a change has taken it away."""
    first = kinds[0] if kinds else CauseKind.UNKNOWN
    return first in knowledge.STRUCTURAL and any(
        cure.holds and knowledge.supports(first, cure.intervention) for cure in cures
    )


def is_sure(kinds: Sequence[CauseKind], cures: Sequence[Cure]) -> bool:
    """Whether a change helps that evidence had spoken for."""
    return any(cure.holds and any(knowledge.supports(kind, cure.intervention) for kind in kinds) for cure in cures)


def is_rival(one: Intervention, kinds: Sequence[CauseKind]) -> bool:
    """Whether a change cures much that it did not cause, and no evidence speaks for it."""
    return knowledge.REMOVES[one.change].general and not any(knowledge.supports(kind, one) for kind in kinds)
