"""What to type about an established cause, with the measured numbers and the user's own line."""

from rectifier.records import Applied, Change, Explanation, RemedyId, Sight, SightKind
from rectifier.report.sentences.fixes import SCRIPT

_LESS_DECAY = 0.01
"""The default of torch's AdamW."""
_GUARDS = (
    ("ctc_loss", "torch.nn.functional.ctc_loss(..., zero_infinity=True)"),
    ("softmax", "leave at least one element of each row unmasked"),
    ("log", "clamp its argument from below: torch.log(x.clamp_min(1e-6))"),
    ("sqrt", "add a small number under the root: torch.sqrt(x + 1e-12)"),
    ("norm", "add a small number under the root: torch.sqrt(x.square().sum(-1) + 1e-12)"),
    ("div", "add a small number to the denominator: a / (b + 1e-8)"),
    ("reciprocal", "add a small number to the denominator: 1 / (b + 1e-8)"),
    ("exp", "clamp its argument from above: torch.exp(x.clamp(max=20))"),
    ("pow", "clamp its argument from below: x.clamp_min(1e-6)"),
    ("acos", "clamp its argument: x.clamp(-1 + 1e-6, 1 - 1e-6)"),
    ("asin", "clamp its argument: x.clamp(-1 + 1e-6, 1 - 1e-6)"),
    ("var", "skip batches of one sample: their variance is undefined"),
    ("std", "skip batches of one sample: their standard deviation is undefined"),
)  # fmt: skip
"""Part of an operation's name -> its usual guard; the first match counts."""


def with_numbers(remedy: RemedyId, explanation: Explanation) -> str | None:
    """The line to type, with the measured numbers; None if only the general line is known.

    Args:
        remedy: What to do.
        explanation: The explanation, with its experiments and sights.
    """
    cause = explanation.cause
    if cause is None or cause.intervention is None:
        return None
    applied = next(
        (
            one.applied
            for one in explanation.experiments
            if one.intervention == cause.intervention and one.applied is not None and one.applied.times
        ),
        None,
    )
    match remedy:
        case RemedyId.GUARD_OPERATION:
            return _guard(explanation.sights)
        case RemedyId.INIT_GAIN if cause.intervention.change is Change.WEIGHTS_GLOROT:
            return "torch.nn.init.xavier_normal_(layer.weight)"
    if applied is None:
        return None
    if cause.intervention.change in _PUTS.get(remedy, ()):
        return _part(cause.intervention.change, applied.detail)
    if remedy is RemedyId.RAISE_LEARNING_RATE and cause.intervention.change is Change.CLIPPING_OFF:
        return _clipping(applied)
    return _setting(remedy, cause.intervention.change, applied)


_PUTS = {
    RemedyId.LEAKY_ACTIVATION: (Change.LEAKY_ACTIVATION,),
    RemedyId.CHANGE_ACTIVATION: (Change.LEAKY_ACTIVATION, Change.BOUNDED_ACTIVATION, Change.UNSATURATED_ACTIVATION),
    RemedyId.BOUNDED_ACTIVATION: (Change.BOUNDED_ACTIVATION,),
    RemedyId.LINEAR_OUTPUT: (Change.LINEAR_OUTPUT,),
    RemedyId.CHANGE_NORMALISATION: (Change.NORMALISATION_OFF,),
    RemedyId.WEAKEN_LOSS_TERM: (Change.LOSS_TERM_OFF,),
    RemedyId.ZERO_BIAS: (Change.ZERO_BIAS,),
}
"""Remedies that put something in the place of a part of the model or of the loss -> the changes that did it."""
_NEW = {
    Change.LEAKY_ACTIVATION: "leaky_relu:0.1",
    Change.UNSATURATED_ACTIVATION: "leaky_relu:0.1",
    Change.BOUNDED_ACTIVATION: "tanh",
}
_MOST_PARTS = 3


def _part(change: Change, detail: str) -> str | None:
    """What to type in the place of a part that a change names: `sigmoid of net.4`, `penalty (fit.py:3)`."""
    parts = detail.split(", ")
    if change in _NEW:
        old = dict.fromkeys(part.partition(" ")[0] for part in parts if " of " in part)
        swaps = " ".join(f"--swap {name}={_NEW[change]}" for name in old)
        return f"rectifier run {swaps} {SCRIPT}" if old else None
    if change is Change.LOSS_TERM_OFF:
        term, _, place = detail.rpartition(" (")
        return f"0.1 * {term if term.isidentifier() else f'({term})'} instead of {term}" if term and place else None
    if change is Change.ZERO_BIAS:
        return f"torch.nn.init.zeros_({_attribute(detail)})" if len(parts) == 1 and "." in detail else None
    lines = []
    for part in parts:
        name, of, path = part.partition(" of ")
        if of:
            lines.append(f"{_attribute(path)} = torch.nn.Identity()")
        elif " at " in part:
            lines.append(f"remove {name.replace(' at ', ' in ')}")
    return "; ".join(lines) if lines and len(lines) == len(parts) <= _MOST_PARTS else None


def _attribute(path: str) -> str:
    """How Python reaches a part of `model`: `net.4` as `model.net[4]`."""
    return "model" + "".join(f"[{name}]" if name.isdigit() else f".{name}" for name in path.split("."))


def place_of(explanation: Explanation) -> str:
    """What to change: the user's own line, or the names of the parameters; "" if unknown."""
    cause = explanation.cause
    if cause is None:
        return ""
    for one in explanation.experiments:
        if one.intervention == cause.intervention and one.applied is not None and one.applied.place:
            return f"{one.applied.place}: {one.applied.expression}"
    if cause.intervention is not None and cause.intervention.change in _OF_PARAMETERS:
        return cause.detail
    return cause.place


_OF_PARAMETERS = (
    Change.WEIGHTS_HE, Change.WEIGHTS_GLOROT, Change.WEIGHTS_SMALL_RANDOM, Change.ZERO_BIAS, Change.ADD_PARAMETERS,
    Change.LEAKY_ACTIVATION, Change.UNSATURATED_ACTIVATION, Change.BOUNDED_ACTIVATION,
)  # fmt: skip
"""Changes whose detail names the parts of the model that they changed."""
_SETTINGS = {
    RemedyId.LOWER_LEARNING_RATE: ("lr", (Change.LEARNING_RATE_THIRD, Change.LEARNING_RATE_TENTH,
                                          Change.LEARNING_RATE_HUNDREDTH)),
    RemedyId.RAISE_LEARNING_RATE: ("lr", (Change.LEARNING_RATE_TRIPLE,)),
    RemedyId.LARGER_EPS: ("eps", (Change.LARGER_EPS,)),
    RemedyId.LOWER_WEIGHT_DECAY: ("weight_decay", (Change.WEIGHT_DECAY_OFF,)),
}  # fmt: skip


def _setting(remedy: RemedyId, change: Change, applied: Applied) -> str | None:
    name, changes = _SETTINGS.get(remedy, ("", ()))
    if change not in changes or applied.before is None or applied.after is None:
        return None
    after = applied.after
    if remedy is RemedyId.LOWER_WEIGHT_DECAY and applied.before > _LESS_DECAY:
        after = _LESS_DECAY
    return f"{name}={after:.3g} instead of {applied.before:.3g}"


def _clipping(applied: Applied) -> str | None:
    if applied.before is None or applied.after is None:
        return None
    name = "clip_value" if " value " in applied.detail else "max_norm"
    return f"{name}={applied.after:.2g} instead of {applied.before:.3g}"


def _guard(sights: tuple[Sight, ...]) -> str | None:
    for sight in sights:
        if sight.kind is SightKind.FIRST_NONFINITE:
            name = sight.operation.lower()
            return next((text for part, text in _GUARDS if part in name), None)
    return None
