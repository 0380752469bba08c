"""What is said of a whole network that has become a constant, or that tells hardly one sample from another."""

from rectifier._formatting import counted, listed, percent
from rectifier.records import (
    AlikeFromTheStart,
    AlikeSince,
    Cause,
    CauseKind,
    Consequence,
    ConstantOutput,
    Finding,
    InputOffset,
    InputScale,
    LargeUpdate,
    SilentLayer,
)
from rectifier.report.sentences.findings.advice import model, units
from rectifier.report.sentences.findings.causes import UNKNOWN, of_death, of_model
from rectifier.report.sentences.findings.words import Texts, input_scale, loss_words, no_progress, none_has_fired


def silent_layer(finding: Finding, evidence: SilentLayer) -> Texts:
    """`constant-network`, of a training."""
    label, below = evidence.silent_site.label, evidence.sites_below_without_gradient
    proof = []
    if below:
        proof.append(f"the gradient is exactly 0 at {_each(below)} below it")
    if evidence.largest_varying_fraction is not None:
        most = evidence.largest_varying_fraction
        few = "no unit fires" if most == 0 else f"at most {percent(most)} of the units fire"
        proof.append(f"at {_each(evidence.sites_above_constant)} above it {few} on some samples and not on others")
    return Texts(
        title=f"everything above {label} computes from a constant",
        detail=f"None of its {counted(evidence.silent_units, 'unit')} {none_has_fired(evidence.silence)}; "
        f"{listed(proof)}. Below it nothing learns any more; above it only what gives every sample the same "
        f"answer.{no_progress(finding)}",
        cause=f"{label} is silent as a whole{'' if evidence.sure else ', as far as so few samples can tell'}: "
        f"{of_death(finding.cause)}",
        to_do=units.for_dead_units(finding.cause),
    )


def _each(number: int) -> str:
    return "the activation" if number == 1 else f"each of the {number} activations"


def constant_output(finding: Finding, evidence: ConstantOutput) -> Texts:
    """`constant-predictor`."""
    assert finding.site is not None
    stalled = finding.consequence is Consequence.NO_PROGRESS
    still = "Training does not progress" if stalled else "The loss has stopped falling"
    return Texts(
        title=f"{finding.site.label} gives every sample almost the same output",
        detail=f"At each of the last {evidence.observed_steps} sampled steps the variance between samples was at most "
        f"{evidence.largest_variation:.1e} of its output's mean square. {still}: {loss_words(finding.loss)}.",
        cause=_why_alike(finding.cause),
        to_do=model.for_alike(finding.cause),
        name_first=True,
    )


def _why_alike(cause: Cause) -> str:
    match cause.facts:
        case InputOffset() as facts:
            return (
                f"input offset: the mean of the inputs is {facts.input_offset:.3g} times what differs between them "
                "(γ), so all samples look alike from the first layer on"
            )
        case InputScale() as facts:
            return input_scale(facts.input_rms)
        case AlikeFromTheStart() as facts:
            began = "initialisation, depth and width" if cause.kind is CauseKind.INITIAL_WEIGHTS else UNKNOWN
            return f"{began}: {_from_the_start(facts)}"
        case LargeUpdate() as facts:
            assert facts.layer is not None
            return (
                f"the weights moved too far: at step {facts.update_step:,} an update moved those that feed "
                f"{facts.layer.label} by {percent(facts.update)} of their norm; from step {facts.onset:,} on samples "
                "look alike"
            )
        case AlikeSince() as facts:
            return f"{UNKNOWN}: it came with training, at step {facts.onset:,}"
    return of_model(cause)


def _from_the_start(facts: AlikeFromTheStart) -> str:
    depth = counted(facts.sites, "activation")
    through = depth if facts.narrowest_width is None else f"{depth}, narrowest width {facts.narrowest_width}"
    what = (
        f"{facts.variation_at_start:.1e} of the output differed between samples"
        if facts.way is None
        else f"{facts.way.sensitivity:.1e} times the differences between samples came through, and "
        f"{facts.way.gradient_at_start:.1e} of the gradient went back"
    )
    return f"at step {facts.first_step:,}, the first sampled, {what} ({through})"
