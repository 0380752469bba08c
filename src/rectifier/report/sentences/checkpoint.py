"""What is said of the rows of a checkpoint's weights, and of what cannot be told of them."""

from collections.abc import Sequence

from rectifier._formatting import counted, listed
from rectifier.records import (
    BrokenRows,
    Finding,
    LayerInspection,
    NotTold,
    ParameterRef,
    Reach,
    Remark,
    RowsByWeights,
    RowsThatCannotFire,
    SilentInputs,
    SilentRows,
    SilentSpan,
    SilentWeights,
    Table,
    Untold,
    Why,
)
from rectifier.report.sentences.findings import advice
from rectifier.report.sentences.findings.advice import units
from rectifier.report.sentences.findings.causes import UNKNOWN
from rectifier.report.sentences.findings.words import Texts, capital


def broken_rows(finding: Finding, evidence: BrokenRows) -> Texts:
    """`non-finite`, of a checkpoint."""
    weights = listed([weight.label for weight in evidence.weights])
    return Texts(
        title=f"{counted(evidence.rows, 'row')} of {counted(len(evidence.weights), 'weight')} hold NaN or infinity",
        detail=f"In {weights}. Whatever these reach is not finite, too.",
        cause=UNKNOWN,
        to_do=advice.EARLIER_CHECKPOINT,
    )


def silent_weights(finding: Finding, evidence: SilentWeights) -> Texts:
    """`silent-rows`: weights of which no row has a gradient."""
    last, before = _label(finding), [weight.label for weight in evidence.before]
    detail = [f"{capital(_for_steps(evidence.span))}: {counted(evidence.counts.rows, 'row')} of {last}."]
    if before:
        detail.append(f"Also {listed(before)}.")
    return Texts(
        title=f"{len(before) + 1} of {evidence.read} weights have no gradient in any row, the last of them {last}"
        if before
        else f"{last}: no row has a gradient",
        detail=" ".join([*detail, *_by_weights(evidence.by_weights)]),
        cause=f"Gradient comes from the end of a network: in a chain of layers it stops at {last}, and those before "
        "have none because of it."
        if before
        else f"{UNKNOWN}: dead units, or a part of the network that the loss does not reach",
        to_do=units.FOR_SILENT_ROWS,
        name_first=True,
    )


def silent_rows(finding: Finding, evidence: SilentRows) -> Texts:
    """`silent-rows`: some rows of a weight."""
    detail = [] if evidence.span is None else [f"{capital(_for_steps(evidence.span))}."]
    if evidence.counts.unmoved:
        still = counted(evidence.counts.unmoved, "row")
        detail.append(f"{still} did not move by one bit since the earlier checkpoint.")
    if evidence.table is Table.NO_BIAS:
        detail.append("It has no bias: if it is a table that is looked up, unused rows are normal.")
    if evidence.table is Table.NO_NAME:
        detail.append("Its name is not known: in a table that is looked up, unused rows are normal.")
    what = "did not move" if evidence.span is None else "without gradient"
    return Texts(
        title=f"{_label(finding)}: {evidence.idle} of {counted(evidence.counts.rows, 'row')} {what}",
        detail=" ".join([*detail, *_by_weights(evidence.by_weights)]),
        cause=UNKNOWN,
        to_do=units.LEAVE_ALONE if finding.severity == "info" else units.FOR_SILENT_ROWS,
        name_first=True,
    )


def silent_inputs(finding: Finding, evidence: SilentInputs) -> Texts:
    """`no-input`."""
    return Texts(
        title=f"{_label(finding)}: no row has a gradient, but its biases have",
        detail=f"{capital(_for_steps(evidence.span))}.",
        cause="What comes into this layer is 0: the units below it are silent.",
        name_first=True,
    )


def rows_that_cannot_fire(finding: Finding, evidence: RowsThatCannotFire) -> Texts:
    """`likely-dead-by-weights`."""
    detail = []
    if evidence.blocked:
        detail.append(
            f"{counted(evidence.blocked, 'row')} with no positive weight and no positive bias: behind a ReLU they "
            "are dead for certain if their inputs are ≥ 0, as after another ReLU; with inputs of both signs nothing is "
            "proven."
        )
    if evidence.reach is not None:
        detail.append(_reach(evidence.reach))
    if evidence.without_optimizer:
        detail.append("No optimizer state says whether they still learn.")
    hit = evidence.blocked + evidence.out_of_reach
    return Texts(
        title=f"{_label(finding)}: {hit} of {counted(evidence.rows, 'row')} likely dead by their weights",
        detail=" ".join(detail),
        cause=f"{UNKNOWN}: a checkpoint shows where the weights are, not how they came there",
        to_do=units.LEAVE_ALONE if finding.severity == "info" else units.FOR_SILENT_ROWS,
        name_first=True,
    )


def _label(finding: Finding) -> str:
    assert finding.site is not None
    return finding.site.label


def _reach(reach: Reach) -> str:
    low, high = f"{reach.least_rms:.2g}", f"{reach.largest_rms:.2g}"
    span = low if low == high else f"{low} to {high}"
    return (
        f"{counted(reach.beyond, 'row')} whose bias lies so far below 0 that no input fires them whose root mean "
        f"square is below {span} (−b / ‖w‖√n; normalised inputs have 1)."
    )


def _by_weights(found: RowsByWeights | None) -> list[str]:
    if found is None:
        return []
    said = []
    if found.blocked_too:
        said.append(
            f"{found.blocked_too} of these rows have no positive weight and no positive bias: behind a ReLU, inputs "
            "≥ 0 never fire them."
        )
    if found.reach is not None:
        said.append(f"Of these, {_reach(found.reach)}")
    return said


def _for_steps(span: SilentSpan) -> str:
    """`3 rows never had a gradient, 2 had none for about 500 steps (478 to 531)`."""
    parts = []
    if span.never:
        taken = f" in {span.steps_taken:,} steps" if span.steps_taken else ""
        parts.append(f"{counted(span.never, 'row')} never had a gradient{taken}")
    if span.once:
        count = f"{span.once:,}" if parts else counted(span.once, "row")
        parts.append(f"{count} had none for {_steps(span)}")
    return listed(parts)


def _steps(span: SilentSpan) -> str:
    if span.likeliest_steps is None:
        return f"at least {span.least_steps:,} steps"
    about = f"about {span.likeliest_steps:,} steps"
    if span.most_steps is None:
        return f"{about} (at least {span.least_steps:,})"
    return f"{about} ({span.least_steps:,} to {span.most_steps:,})"


def remark(layer: LayerInspection) -> str:
    """The label of a weight's row; "" where there is nothing to remark."""
    if layer.remark is None:
        return ""
    if layer.remark is Remark.FROZEN_AT_TIMES:
        return f"took {layer.steps_taken:,} of {layer.steps_of:,} steps, frozen in the others"
    return _REMARKS[layer.remark]


_REMARKS = {
    Remark.EMBEDDING: "embedding",
    Remark.FROZEN: "frozen",
    Remark.NOT_IN_OPTIMIZER: "not in the optimizer",
    Remark.DID_NOT_MOVE: "did not move: frozen?",
}


def untold(found: Untold) -> str:
    """What could not be told, and why, in one sentence."""
    if (note := _note(found.why)) is not None:
        return note
    if found.why.kind is NotTold.NO_OPTIMIZER:
        return (
            "No optimizer state: for how long a row has had no gradient cannot be told. Save "
            "optimizer.state_dict() beside the weights."
        )
    if found.why.kind is NotTold.FROZEN:
        return (
            f"Frozen, or never reached by a gradient (the optimizer holds nothing for them): {_names(found.weights)}."
        )
    if found.why.kind is NotTold.DECAY_MOVES:
        return "Weight decay moves rows without gradient, too: that a row moved is no sign of life."
    return f"{_names(found.weights)}: {why_untold(found.why)}."


def _note(why: Why) -> str | None:
    """What was not read or matched in a file; None for any other reason."""
    names = ", ".join(why.details)
    match why.kind:
        case NotTold.COPY_OF_WEIGHTS:
            return f"`{names}` is taken for a copy of the weights and was not looked at."
        case NotTold.WEIGHTS_NOT_PLAIN_NUMBERS:
            return f"Not stored as plain numbers, and not looked at: {names}."
        case NotTold.NOT_IN_EARLIER:
            return f"{names} is not in the earlier checkpoint."
        case NotTold.OTHER_IN_EARLIER:
            return f"{names} has another shape or type of number in the earlier checkpoint."
        case NotTold.OTHER_BIAS_IN_EARLIER:
            return f"The bias of {names} is another one in the earlier checkpoint."
    if why.kind not in _NAMELESS:
        return None
    nameless, entries, *held = (f"{number:,}" for number in why.numbers)
    text = f"{nameless} of the optimizer's {entries} entries could not be given a name: {_NAMELESS[why.kind]}"
    if not held:
        return text
    parameters, groups, weights = held
    return f"{text} (it holds {parameters} parameters in {groups} groups, the weights are {weights})."


_NAMELESS = {
    NotTold.NAMELESS_TOO_MANY_ORDERS: "too many orders of the weights may fit",
    NotTold.NAMELESS_NO_ORDER: "no order of the weights fits their shapes",
    NotTold.NAMELESS_SEVERAL_ORDERS: "more than one order of the weights fits",
    NotTold.NAMELESS_SORTED: (
        "a safetensors file sorts its weights by name, so that their order is lost, and several have the same shape. "
        "They are listed by number; pytorch_model.bin, or an optimizer made from model.named_parameters(), would keep "
        "the names."
    ),
}


def why_untold(why: Why) -> str:
    """Why nothing, or not more, can be told of a weight's rows."""
    numbers = why.numbers
    match why.kind:
        case NotTold.STATE_NOT_KNOWN:
            return f"state not known ({', '.join(why.details)})"
        case NotTold.MOMENTUM_OUTLIVES:
            return f"momentum (β₁ = {numbers[0]:g}) outlives the second moment (β₂ = {numbers[1]:g})"
        case NotTold.FORGETS_NOTHING:
            return f"a decay of {numbers[0]:g} forgets nothing"
        case NotTold.ROUNDED:
            return (
                f"a moment that falls by {numbers[0]:.1g} a step does not fall at all in numbers "
                f"with a spacing of {numbers[1]:.1g}"
            )
    return _REASONS[why.kind]


_REASONS = {
    NotTold.NO_STATE: "the optimizer keeps no state, as SGD without momentum",
    NotTold.NO_STATE_OF_THIS: "its optimizer keeps no state",
    NotTold.DECAY_OF_UNKNOWN_WEIGHTS: "weight decay acts on weights that are not known",
    NotTold.NOT_PLAIN_NUMBERS: "state not stored as plain numbers",
    NotTold.OTHER_SHAPE: "state of another shape",
    NotTold.NO_MOMENT: "the optimizer keeps no moment",
    NotTold.NOTHING_ABOVE_FLOOR: "no row has a moment above what rounding or weight decay explain",
    NotTold.FORGETS_AT_ONCE: "the optimizer forgets every gradient at once (momentum 0)",
    NotTold.COUPLED_DECAY: (
        "weight decay is (or may be) part of the gradient, which keeps the moments up; rows without any other "
        "gradient may not show"
    ),
}


def _names(weights: Sequence[ParameterRef]) -> str:
    names = [weight.label for weight in weights]
    return listed(names, most=len(names) if len(names) <= 4 else 3)
