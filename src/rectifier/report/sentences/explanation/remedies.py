"""What to do about an established cause: in general, or with the measured numbers and the user's own line."""

from collections.abc import Sequence
from dataclasses import dataclass

from rectifier.records import Applied, Change, ChangedPart, Explanation, FixKind, RemedyId, Sight, SightKind
from rectifier.report.sentences.fixes import Command, Text, Tool, fix_text, typed

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


@dataclass(frozen=True)
class Line:
    """What to do, in one line.

    Attributes:
        text: What.
        typed: Whether it is typed as it stands, and no sentence.
    """

    text: str
    typed: bool


_LINES: dict[RemedyId, Text] = {
    RemedyId.LOWER_LEARNING_RATE: "lower the learning rate to a third, a tenth or a hundredth",
    RemedyId.RAISE_LEARNING_RATE: "multiply the learning rate by 3",
    RemedyId.MEND_SCHEDULE: "check the learning-rate schedule",
    RemedyId.CLIP_GRADIENT: fix_text(FixKind.CLIP_NORM),
    RemedyId.LARGER_EPS: fix_text(FixKind.LARGER_EPSILON),
    RemedyId.INIT_GAIN: "torch.nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')",
    RemedyId.INIT_RANDOM: fix_text(FixKind.DRAW_WEIGHTS),
    RemedyId.ZERO_BIAS: "torch.nn.init.zeros_(layer.bias)",
    RemedyId.MORE_UNITS: "make the layer wider",
    RemedyId.FEWER_LAYERS: "use fewer layers",
    RemedyId.LEAKY_ACTIVATION: Command(Tool.RUN, "--swap relu=leaky_relu:0.1"),
    RemedyId.BOUNDED_ACTIVATION: "use a bounded activation: torch.nn.Tanh()",
    RemedyId.CHANGE_ACTIVATION: "use an activation that has the derivative: torch.nn.Tanh()",
    RemedyId.LINEAR_OUTPUT: "remove the last activation",
    RemedyId.CHANGE_NORMALISATION: "remove the normalisation, or use another one",
    RemedyId.DROP_LAST_BATCH: fix_text(FixKind.DROP_LAST),
    RemedyId.STANDARDISE_INPUTS: "inputs = (inputs - inputs.mean(0)) / inputs.std(0)",
    RemedyId.CHECK_INPUTS: "check the inputs",
    RemedyId.STANDARDISE_TARGETS: "targets = (targets - targets.mean()) / targets.std()",
    RemedyId.WEAKEN_LOSS_TERM: "lower the weight of this loss term",
    RemedyId.LOWER_WEIGHT_DECAY: "weight_decay=0.01, or less",
    RemedyId.GUARD_OPERATION: "guard this operation: add a small number to its argument, or clamp it",
    RemedyId.FLOAT32: "keep weights and optimizer in float32",
    RemedyId.RECONNECT_GRAPH: "keep the path to the loss differentiable: no detach(), .item(), argmax or no_grad()",
    RemedyId.ADD_TO_OPTIMIZER: "create the optimizer after the model is complete, with all its parameters: "
    f"{fix_text(FixKind.ADD_TO_OPTIMIZER)}",
    RemedyId.REGISTER_PARAMETERS: fix_text(FixKind.REGISTER_PARAMETERS),
    RemedyId.STEP_OPTIMIZER: fix_text(FixKind.STEP_OPTIMIZER),
    RemedyId.TRAIN_MODE: fix_text(FixKind.TRAIN_MODE),
    RemedyId.CHANGE_OBJECTIVE: "check how the loss uses this output",
    RemedyId.RESET_CODES: "from time to time, reset entries that are never selected to random inputs",
    RemedyId.STOP_GRADIENT: "stop the gradient in one branch: z.detach()",
}


_SENTENCES = frozenset({
    RemedyId.LOWER_LEARNING_RATE, RemedyId.RAISE_LEARNING_RATE, RemedyId.MEND_SCHEDULE, RemedyId.MORE_UNITS,
    RemedyId.FEWER_LAYERS, RemedyId.BOUNDED_ACTIVATION, RemedyId.CHANGE_ACTIVATION, RemedyId.LINEAR_OUTPUT,
    RemedyId.CHANGE_NORMALISATION, RemedyId.CHECK_INPUTS, RemedyId.WEAKEN_LOSS_TERM, RemedyId.GUARD_OPERATION,
    RemedyId.FLOAT32, RemedyId.RECONNECT_GRAPH, RemedyId.CHANGE_OBJECTIVE, RemedyId.RESET_CODES,
    RemedyId.STOP_GRADIENT,
})  # fmt: skip
"""Remedies whose general line is a sentence; those of the others are typed."""


def fix_of(remedy: RemedyId, explanation: Explanation | None = None, script: Sequence[str] = ()) -> Line:
    """What to do, as a line to type where there is one.

    Args:
        remedy: What to do.
        explanation: The explanation, whose numbers are filled in; None for the general line.
        script: The user's script and its options; empty where they are not known.
    """
    own = None if explanation is None else _with_numbers(remedy, explanation, script)
    return own or Line(typed(_LINES[remedy], script), typed=remedy not in _SENTENCES)


def _with_numbers(remedy: RemedyId, explanation: Explanation, script: Sequence[str]) -> Line | None:
    """What to do, with the measured numbers; None if only the general line is known."""
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
            return Line("torch.nn.init.xavier_normal_(layer.weight)", typed=True)
    if applied is None:
        return None
    if cause.intervention.change in _PUTS.get(remedy, ()):
        return _in_place_of(cause.intervention.change, applied.parts, script)
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


def _in_place_of(change: Change, parts: Sequence[ChangedPart], script: Sequence[str]) -> Line | None:
    """What to type in the place of the parts that a change replaced; None if they are not known, or too many."""
    held = [part for part in parts if part.path]
    if change in _NEW:
        swaps = " ".join(f"--swap {name}={_NEW[change]}" for name in dict.fromkeys(part.name for part in held))
        return Line(Command(Tool.RUN, swaps).typed(script), typed=True) if held else None
    if not parts or len(parts) > _MOST_PARTS or not all(part.path or part.place for part in parts):
        return None
    if change is Change.LOSS_TERM_OFF:
        term = parts[0].name
        return Line(f"0.1 * {term if term.isidentifier() else f'({term})'} instead of {term}", typed=False)
    if change is Change.ZERO_BIAS:
        return Line(f"torch.nn.init.zeros_({_attribute(parts[0].path)})", typed=True) if len(parts) == 1 else None
    lines = [f"{_attribute(one.path)} = torch.nn.Identity()" if one.path else f"remove {one.name} in {one.place}"
             for one in parts]  # fmt: skip
    return Line("; ".join(lines), typed=len(held) == len(parts))


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


def _setting(remedy: RemedyId, change: Change, applied: Applied) -> Line | None:
    name, changes = _SETTINGS.get(remedy, ("", ()))
    if change not in changes or applied.before is None or applied.after is None:
        return None
    after = applied.after
    if remedy is RemedyId.LOWER_WEIGHT_DECAY and applied.before > _LESS_DECAY:
        after = _LESS_DECAY
    return Line(f"{name}={after:.3g} instead of {applied.before:.3g}", typed=False)


def _clipping(applied: Applied) -> Line | None:
    if applied.before is None or applied.after is None or not applied.parts:
        return None
    return Line(f"{applied.parts[0].name}={applied.after:.2g} instead of {applied.before:.3g}", typed=False)


def _guard(sights: tuple[Sight, ...]) -> Line | None:
    for sight in sights:
        if sight.kind is SightKind.FIRST_NONFINITE:
            name = sight.operation.lower()
            return next((Line(text, typed=False) for part, text in _GUARDS if part in name), None)
    return None
