"""Texts about NaN and infinity."""

from rectifier._formatting import counted, percent
from rectifier.records import (
    Cause,
    CauseKind,
    Finding,
    GrowsOverCalls,
    HugeOutput,
    InputScale,
    LargeUpdate,
    LossBefore,
    NearOverflow,
    NotFinite,
    NotFiniteAtStart,
    Origin,
    Place,
    SingleSamples,
    SmallEpsilon,
    TargetScale,
)
from rectifier.report.sentences.findings import advice
from rectifier.report.sentences.findings.advice import finite
from rectifier.report.sentences.findings.causes import UNKNOWN
from rectifier.report.sentences.findings.words import Texts, input_scale, update_words

_ONLY_THE_LAYER = f"{UNKNOWN}: the layer is known, the operation is not"


def not_finite(finding: Finding, evidence: NotFinite) -> Texts:
    """`non-finite`, of a training."""
    last = evidence.last_finite_loss
    before = "" if last is None else f" The last finite loss before it was {last:.4g}."
    what = _what(finding, evidence)
    harmless, unreliable = finding.severity == "info", finding.severity == "serious"
    return Texts(
        title=f"{what} contained NaN or infinity at step {evidence.step:,}",
        detail=f"{_how_first(evidence) if unreliable else _harmless(evidence)}{_scaler(evidence)}{before}",
        cause=_why(finding.cause, evidence),
        to_do=advice.UNTOUCHED if harmless else _advice(finding, evidence),
    )


def _what(finding: Finding, evidence: NotFinite) -> str:
    where = "" if finding.site is None else finding.site.label
    return {
        Origin.PARAMETER: f"the weight {where}",
        Origin.INPUT: "the input",
        Origin.TARGET: "the targets",
        Origin.ACTIVATION: f"the output of {where}",
        Origin.OUTPUT: "the model's output",
        Origin.LOSS: "the loss",
        Origin.GRADIENT: f"the gradient of {where}",
    }[evidence.origin]


def _how_first(evidence: NotFinite) -> str:
    rest = "Later numbers of this run are unreliable; units are judged by the steps before."
    match evidence.origin:
        case Origin.INPUT:
            samples = f"{evidence.input_samples:,} of {evidence.input_samples_counted:,} observed samples contained it."
            return f"{samples} {rest}"
        case Origin.TARGET:
            return f"The model's output was finite before it. {rest}"
        case Origin.PARAMETER:
            number = evidence.parameters_affected
            many = f"{counted(number, 'parameter')} {'contains' if number == 1 else 'contain'} it."
            return f"Losses and activations before it were finite. {many} {rest}"
        case Origin.GRADIENT:
            many = f"The gradient of {counted(evidence.gradients_affected, 'parameter')} contained it."
            return f"The loss and all observed activations of that step were finite. {many} {rest}"
        case Origin.ACTIVATION | Origin.OUTPUT:
            return f"All activations observed before it were finite. {rest}"
    if evidence.activations_observed:
        return f"All observed activations of that step were finite: it arose after the last of them. {rest}"
    return f"The activations of that step were not observed. {rest}"


def _harmless(evidence: NotFinite) -> str:
    share = percent(evidence.losses / max(evidence.known_losses, evidence.losses))
    return (
        f"The loss was not finite at {evidence.losses:,} of {evidence.known_losses:,} steps ({share}). All weights and "
        "activations stayed finite, and training progresses."
    )


def _scaler(evidence: NotFinite) -> str:
    if not evidence.steps_skipped:
        return ""
    steps = evidence.steps_skipped + evidence.steps_taken
    share = percent(evidence.steps_skipped / steps)
    return f" The gradient scaler skipped {evidence.steps_skipped:,} of {steps:,} steps ({share})."


def _advice(finding: Finding, evidence: NotFinite) -> advice.Advice:
    kind = finding.cause.kind
    if kind is CauseKind.LOSS_NOT_FINITE:
        return finite.NON_FINITE_LOSS
    if kind is CauseKind.UNKNOWN and evidence.origin is Origin.LOSS:
        return finite.NON_FINITE_LOSS if evidence.activations_observed else finite.NON_FINITE_UNSEEN
    return finite.NOT_FINITE.get(kind, finite.NON_FINITE)


def _why(cause: Cause, evidence: NotFinite) -> str:
    match cause.facts:
        case InputScale() as facts:
            return f"{input_scale(facts.input_rms)}; {_ONLY_THE_LAYER}"
        case TargetScale() as facts:
            return f"target scale: a root mean square of {facts.target_rms:,.4g} makes the gradients large"
        case LargeUpdate() as facts:
            return _update(facts)
        case GrowsOverCalls() as facts:
            return (
                f"recurrence: the mean output of {facts.module or 'one activation'} grew from {facts.first_call:.2g} "
                f"to {facts.last_call:.2g} over its {facts.calls} calls within one forward"
            )
        case SmallEpsilon() as facts:
            return (
                f"the optimizer produced it from finite gradients: half precision rounds its eps of "
                f"{facts.epsilon:.2g} to 0, and the update divides by it"
            )
        case NearOverflow() as facts:
            return (
                f"half precision (float16) holds at most 65,504, and outputs of {facts.layer.label} had reached "
                f"{facts.largest_output:,.0f}"
            )
        case SingleSamples() as facts:
            return (
                f"a batch of one sample has no variance: {facts.batches_of_one:,} of {facts.batches:,} observed "
                "batches had one sample, and NaN or infinity began at the first of them"
            )
        case HugeOutput() as facts:
            size = f"the first outputs had a root mean square of {facts.output_rms:.3g}"
            if facts.calls:
                return f"recurrence: {size}; each loss uses {facts.weight} {counted(facts.calls, 'time')} in a row"
            return f"initial weights: {size}"
        case LossBefore() as facts:
            return (
                "an operation of this forward pass, or of the backward pass before it: nothing had grown, and the "
                f"loss was at {percent(facts.loss_over_start)} of its initial value"
            )
    return {
        CauseKind.INPUT_NOT_FINITE: "the data contain it",
        CauseKind.INITIAL_WEIGHTS: "the weights contained it before the first step: they were never initialised",
        CauseKind.NUMERICAL_OPERATION: "an operation of the forward pass: inputs and weights were finite"
        if evidence.origin in (Origin.ACTIVATION, Origin.OUTPUT)
        else "an operation's derivative: a root, norm, logarithm or division at 0",
        CauseKind.PRECISION: "half precision (float16) holds at most 65,504, and the loss is larger",
        CauseKind.LOSS_NOT_FINITE: "the loss function on this batch: its inputs were finite",
    }.get(cause.kind, _ONLY_THE_LAYER if evidence.origin is Origin.ACTIVATION else UNKNOWN)


def _update(facts: LargeUpdate) -> str:
    assert facts.layer is not None
    assert facts.update_over_median is not None
    size = update_words(facts.update, facts.update_over_median, median_known=facts.median_known)
    text = (
        f"the weights moved too far: at step {facts.update_step:,} an update moved those that feed "
        f"{facts.layer.label} by {size}"
    )
    return text if facts.input_rms is None else f"{input_scale(facts.input_rms)}; {text}"


def not_finite_at_start(finding: Finding, evidence: NotFiniteAtStart) -> Texts:
    """`non-finite`, of a check."""
    where = {Place.INPUT: "the input", Place.OUTPUT: "the network's output"}.get(evidence.place)
    if where is None:
        assert finding.site is not None
        where = f"the output of {finding.site.label}"
    why = {
        Place.INPUT: "the batch contains it",
        Place.SITE: _ONLY_THE_LAYER,
        Place.OUTPUT: "every activation is finite: it comes from what follows the last of them",
    }[evidence.place]
    return Texts(
        title=f"{where} contains NaN or infinity before any training",
        detail="Nothing else can be judged.",
        cause=why,
        to_do=finite.NON_FINITE_AT_START,
    )
