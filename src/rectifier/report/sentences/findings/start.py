"""What is said of how a network begins: in a training, and in a check before it."""

from rectifier._formatting import counted, percent
from rectifier.records import (
    AlikeAtStart,
    BornDeadNetwork,
    CauseKind,
    Finding,
    FlatOutput,
    HardlyVaryingOutput,
    NoGradientAtAll,
    PoorSignal,
    PoorStart,
    SamplesAlike,
    Signal,
)
from rectifier.report.sentences.findings.advice import gradients, model, units
from rectifier.report.sentences.findings.causes import UNKNOWN, of_model
from rectifier.report.sentences.findings.words import Texts, no_progress


def poor_start(finding: Finding, evidence: PoorStart) -> Texts:
    """`poor-initialisation`, of a training."""
    vanished = evidence.signal is Signal.VANISHES
    return Texts(
        title=f"the signal {'vanished' if vanished else 'exploded'} both ways at the start",
        detail=f"At step {evidence.first_step:,}, the first sampled, {evidence.sensitivity:.1e} times the differences "
        f"between samples arrived at {evidence.last.label}, and {evidence.gradient_first_over_last:.1e} of the "
        f"gradient at {evidence.first.label}.{no_progress(finding)}",
        cause=f"initialisation and depth: {evidence.sites} activations",
        to_do=gradients.VANISHING if vanished else gradients.EXPLODING,
    )


def alike_at_start(finding: Finding, evidence: AlikeAtStart) -> Texts:
    """`poor-initialisation`, of a training: rows look alike to the last layer."""
    layer = f"at the input of {evidence.output.removesuffix('.weight')}" if evidence.output else "at the last layer"
    initial = finding.cause.kind is CauseKind.INITIAL_WEIGHTS
    return Texts(
        title=f"samples look alike {layer} from the start: their mean cosine is {evidence.cosine:.4f}",
        detail=f"On {evidence.rows:,} rows at the first step; at the end it is {evidence.cosine_at_end:.4f}."
        f"{no_progress(finding)}",
        cause="initialisation and depth" if initial else of_model(finding.cause),
        to_do=model.CONSTANT_PREDICTOR[CauseKind.INITIAL_WEIGHTS] if initial else model.for_model(finding.cause),
    )


def poor_signal(finding: Finding, evidence: PoorSignal) -> Texts:
    """`poor-initialisation`, of a check: signal and gradient vanish or explode both."""
    vanishes = evidence.signal is Signal.VANISHES
    alike = ""
    if evidence.alike:
        alike = f"; the mean cosine between two samples is {evidence.similarity:.4f} at {evidence.last.label}"
    return Texts(
        title=f"the signal {'vanishes' if vanishes else 'explodes'} both ways at initialisation",
        detail=f"Of the differences between samples {evidence.sensitivity:.1e} times their size arrives at "
        f"{evidence.last.label}, and {evidence.gradient_first_over_last:.1e} of the gradient at "
        f"{evidence.first.label}: {evidence.factor_per_layer:.2g} times per layer{alike}.",
        cause=f"initialisation and depth: {evidence.sites} activations "
        "(torch.nn.Linear's default initialisation gives 0.41 per ReLU layer)",
        to_do=gradients.VANISHING if vanishes else gradients.EXPLODING,
    )


def samples_alike(finding: Finding, evidence: SamplesAlike) -> Texts:
    """`poor-initialisation`, of a check: samples look alike."""
    assert finding.site is not None
    return Texts(
        title=f"samples look alike at {finding.site.label}: their mean cosine is {evidence.similarity:.4f}",
        detail=f"On {evidence.samples:,} samples. A mean that all share does this, too; what tells samples apart "
        "is not lost in it.",
        cause="an offset that the layers share: positive biases, an input that is not centred, depth",
        to_do=model.ALIKE_AT_START,
    )


def born_dead_network(finding: Finding, evidence: BornDeadNetwork) -> Texts:
    """`constant-network`, of a check: a layer is silent as a whole."""
    depth, narrowest = evidence.depth, evidence.narrowest_width
    return Texts(
        title=f"born dead: {evidence.silent_site.label} is silent as a whole, and the network's output is a constant",
        detail=f"None of its {evidence.units:,} units fires on any of {evidence.samples:,} samples; the output does "
        "not vary at all. No training through this layer is possible.",
        cause=f"initialisation, depth {depth} and width: the narrowest layer has {counted(narrowest, 'unit')}",
        to_do=units.BORN_DEAD,
    )


def hardly_varying_output(finding: Finding, evidence: HardlyVaryingOutput) -> Texts:
    """`constant-network`, of a check: no layer is silent."""
    share = evidence.output_variance / evidence.output_mean_square
    return Texts(
        title="the network gives every sample almost the same answer",
        detail=f"Over {evidence.samples:,} samples the output's variance is {share:.1e} of its mean square.",
        cause=f"{UNKNOWN}: no layer is silent, and the differences between samples are not lost in the layers",
        to_do=model.CONSTANT_AT_START,
    )


def no_gradient_at_all(finding: Finding, evidence: NoGradientAtAll) -> Texts:
    """`no-gradient`."""
    return Texts(
        title="no parameter gets a gradient",
        detail=f"With {evidence.loss}, the gradient of each of {evidence.parameters:,} parameters is exactly 0 on "
        f"{evidence.samples:,} samples.",
        cause="a softmax over one unit is the constant 1"
        if finding.cause.kind is CauseKind.DOWNSTREAM_CONSTANT
        else f"{UNKNOWN}: the output, or the loss, does not depend on the weights here",
        to_do=model.NO_GRADIENT,
    )


def flat_output(finding: Finding, evidence: FlatOutput) -> Texts:
    """`output-activation`."""
    assert finding.site is not None
    return Texts(
        title=f"the network ends in {evidence.activation}",
        detail=f"{percent(evidence.output_zero_fraction)} of its outputs are exactly 0 on {evidence.samples:,} samples"
        "; where one is, it passes no gradient back, and an output that is 0 on all samples stays there.",
        cause=f"{finding.site.label} is the last operation",
        to_do=model.OUTPUT_ACTIVATION,
    )
