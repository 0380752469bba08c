"""What heads a report: that nothing was found, and what could not be judged, with the reasons.

Without findings, what could not be judged is no proof of health: a report is then not headed as if it were one.
"""

from collections.abc import Sequence

from rectifier._formatting import counted, listed
from rectifier.records import Diagnosis, Judged, NotJudged, Preflight, Unjudged
from rectifier.report.sentences.recorded import why_units_unknown, why_unseen

_MOST_NAMED = 3
NO_ACTIVATION = "No activation was seen; parameters, outputs and the loss were judged."


def heading(judged: Judged) -> str:
    """What heads a report in which nothing is alarming, without its last sign.

    Args:
        judged: A diagnosis, a check or an inspection.

    Example:
        >>> heading(Diagnosis(findings=(), layers=()))
        'No problems found'
        >>> unseen = NotJudged(kind=Unjudged.UNSEEN, what="torch.where")
        >>> heading(Diagnosis(findings=(), layers=(), not_judged=(unseen,)))
        'No problems found in what could be judged; not judged: torch.where'
    """
    nothing = "No other problems found" if judged.suppressed else "No problems found"
    left = not_judged(judged)
    return f"{nothing} in what could be judged; not judged: {left}" if left else nothing


def not_judged(judged: Judged) -> str:
    """What could not be judged, in a few words: `2 layers and torch.where`; empty where all could."""
    parts = judged.not_judged if isinstance(judged, Diagnosis) else ()
    if isinstance(judged, Diagnosis) and judged.nothing_observed:
        return "the training, of which nothing was observed"
    layers = sum(one.kind is Unjudged.UNITS_UNKNOWN for one in parts)
    if isinstance(judged, Preflight):
        layers = sum(layer.units is None for layer in judged.layers)
    unseen = [one.what for one in parts if one.kind is Unjudged.UNSEEN]
    told = [f"the units of {counted(layers, 'layer')}"] if layers else []
    return listed([*told, *unseen[:_MOST_NAMED], *_rest(len(unseen) - _MOST_NAMED)])


def _rest(number: int) -> list[str]:
    return [f"{number:,} more that were not observed"] if number > 0 else []


def why_not_judged(one: NotJudged) -> str:
    """Why something could not be judged, for the middle of a sentence."""
    if one.axis is not None:
        return why_units_unknown(one.axis)
    if one.unseen is not None:
        return why_unseen(one.unseen)
    return "neither activations nor parameters were observed" if one.kind is Unjudged.NOTHING_OBSERVED else "unknown"


def layers_not_judged(parts: Sequence[NotJudged]) -> tuple[str, ...]:
    """One line for each reason, with the layers whose units are unknown for it: what stands under their table.

    Example:
        >>> from rectifier.records import AxisSource, UnitAxis
        >>> axis = UnitAxis(axis=None, ndim=3, source=AxisSource.OPERATION, operation="Transpose")
        >>> layers_not_judged([NotJudged(kind=Unjudged.UNITS_UNKNOWN, what=name, axis=axis) for name in ("a", "b")])
        ('? a and b: the units are unknown, because Transpose before it may have moved the axis.',)
    """
    by_reason: dict[str, list[str]] = {}
    for one in parts:
        if one.kind is Unjudged.UNITS_UNKNOWN:
            by_reason.setdefault(why_not_judged(one), []).append(one.what)
    return tuple(
        f"? {listed(labels, _MOST_NAMED)}: the units are unknown, because {reason}."
        for reason, labels in by_reason.items()
    )
