"""Observations of the microscope in words, and the choice of those that a reader needs."""

from rectifier._formatting import counted, percent
from rectifier.records import CauseKind, Explanation, Rule, Sight, SightKind

_OF_INPUTS = (CauseKind.INPUT_SCALE, CauseKind.INPUT_CONSTANT, CauseKind.INPUT_NOT_FINITE)
_PHASES = {"forward": "in the forward pass", "backward": "in the backward pass", "optimizer": "in the optimizer's step"}


def telling(explanation: Explanation) -> list[Sight]:
    """The sights that belong to the explanation: those of its cause, and the first non-finite value.

    Args:
        explanation: If it has no cause, sights that may lead to one are included.
    """
    kinds = {cause.kind for cause in explanation.causes[:1]} - {CauseKind.UNKNOWN}
    rule = "" if explanation.failure is None else explanation.failure.rule
    found = []
    for sight in explanation.sights:
        first = sight.kind is SightKind.FIRST_NONFINITE and rule == Rule.NON_FINITE
        inputs = sight.kind is SightKind.INPUTS and not kinds.isdisjoint(_OF_INPUTS)
        leads_on = not kinds and sight.kind in (SightKind.GRADIENT_LOST, SightKind.GRADIENT_CUT)
        if sight.cause_kind in kinds or first or inputs or leads_on:
            found.append(sight)
    return sorted(found, key=lambda sight: sight.cause_kind not in kinds)


def sight_text(sight: Sight) -> str:
    """One sight in one sentence."""
    where = "" if not sight.place else f", {sight.place}"
    written = "" if not sight.expression else f": {sight.expression}"
    return f"{_said(sight)} at step {sight.step:,}{where}{written}{_numbers(sight)}"


def _said(sight: Sight) -> str:
    phase = _PHASES.get(sight.phase, "")
    match sight.kind:
        case SightKind.FIRST_NONFINITE:
            return f"The first non-finite value came from {sight.operation} {phase}".rstrip()
        case SightKind.GRADIENT_LOST:
            return f"The gradient ends at {sight.operation}"
        case SightKind.GRADIENT_CUT:
            return f"The graph ends at {sight.operation}"
        case SightKind.MOVED_BY:
            share = percent(sight.numbers.get("share", 0.0))
            if sight.operation == "weight_decay":
                return f"Weight decay makes up {share} of gradient plus weight decay"
            if sight.operation == "momentum":
                return f"Momentum makes up {share} of gradient plus momentum"
            return f"The loss term {sight.operation} contributes {share} of the gradient"
        case SightKind.PARAMETERS_IDLE:
            return f"{sight.operation} does not change"
        case SightKind.INPUTS:
            return f"{sight.operation} received {counted(int(sight.numbers.get('rows', 0)), 'row')}"


def _numbers(sight: Sight) -> str:
    numbers = sight.numbers
    match sight.kind:
        case SightKind.FIRST_NONFINITE:
            said = []
            if "input_min" in numbers and "input_max" in numbers:
                said.append(f"input from {numbers['input_min']:.3g} to {numbers['input_max']:.3g}")
            if numbers.get("input_zeros"):
                said.append(f"{numbers['input_zeros']:.0f} of {numbers.get('input_numbers', 0):.0f} exactly 0")
            if numbers.get("input_not_finite"):
                said.append(f"{numbers['input_not_finite']:.0f} of {numbers.get('input_numbers', 0):.0f} not finite")
            return _listed(said)
        case SightKind.GRADIENT_LOST:
            without, below = numbers.get("parameters_without", 0), numbers.get("parameters_below", 0)
            return _listed([f"{without:.0f} of {below:.0f} parameters below it get none"])
        case SightKind.GRADIENT_CUT:
            return _listed([f"{counted(int(numbers.get('parameters', 0)), 'parameter')} without a gradient"])
        case SightKind.INPUTS:
            said = [f"median offset {numbers.get('offset', 0):.3g}, median scale {numbers.get('scale', 0):.3g}"]
            if numbers.get("not_finite"):
                said = [f"{numbers['not_finite']:.0f} values not finite"]
            elif numbers.get("distinct_rows") == 1:
                said = ["all rows are equal"]
            return _listed(said)
    return ""


def _listed(said: list[str]) -> str:
    return f" ({', '.join(said)})" if said else ""
