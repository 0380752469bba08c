"""What is said of gradients: vanishing, exploding, shrinking, infinite, and exploding in time."""

from rectifier._formatting import percent
from rectifier.records import (
    CauseKind,
    Consequence,
    Finding,
    GradientSpike,
    GradientWay,
    InfiniteGradient,
    LearningRateThere,
    Rule,
    WayAtStart,
)
from rectifier.report.sentences.findings.advice import finite, gradients
from rectifier.report.sentences.findings.causes import UNKNOWN
from rectifier.report.sentences.findings.words import Texts, loss_words, no_progress, times


def gradient_way(finding: Finding, evidence: GradientWay) -> Texts:
    """`vanishing-gradient`, `exploding-gradient` and `shrinking-gradient`: the gradient's way down."""
    write = {Rule.VANISHING_GRADIENT: _vanishing, Rule.EXPLODING_GRADIENT: _exploding}.get(finding.rule, _shrinking)
    return write(finding, evidence)


def _vanishing(finding: Finding, evidence: GradientWay) -> Texts:
    update = evidence.first_layer_update
    still = (
        loss_words(finding.loss)
        if update is None
        else f"the first layer's weights move by {update:.1g} of their norm a step (median)"
    )
    share = evidence.delta_first_over_last
    left = f"{share:.1e} of it" if share else "none of it"
    return Texts(
        title=f"the gradient vanishes: {left} is left {_way(evidence)}",
        detail=f"‖∂L/∂z‖ per sample changes to {_per_layer(evidence)}; and {still}.",
        cause=f"{_began(finding, evidence)} (torch.nn.Linear's default initialisation gives 0.41 per ReLU layer)",
        to_do=gradients.for_vanishing(finding.cause, evidence.activation),
    )


def _exploding(finding: Finding, evidence: GradientWay) -> Texts:
    return Texts(
        title=f"the gradient explodes: it grows {evidence.delta_first_over_last:,.3g} times {_way(evidence)}",
        detail=f"‖∂L/∂z‖ per sample changes to {_per_layer(evidence)}. {_so_far(finding)}",
        cause=_began(finding, evidence),
        to_do=gradients.for_exploding(finding.cause),
    )


def _shrinking(finding: Finding, evidence: GradientWay) -> Texts:
    stalled = finding.consequence is Consequence.NO_PROGRESS
    then = "By itself that is no cause for alarm." if stalled else _so_far(finding)
    return Texts(
        title=f"the gradient shrinks to {evidence.factor_per_layer:.2g} times its size per layer {_way(evidence)}",
        detail=f"‖∂L/∂z‖ per sample at the first activation is {evidence.delta_first_over_last:.2g} times that at the "
        f"last. {then}",
        cause="not asked: torch.nn.Linear's default initialisation alone gives 0.41 per ReLU layer",
        to_do=gradients.SHRINKING,
    )


def _way(evidence: GradientWay) -> str:
    return f"from {evidence.last.label} down to {evidence.first.label}"


def _per_layer(evidence: GradientWay) -> str:
    return (
        f"{evidence.factor_per_layer:.2g} times its size per layer ({evidence.sites} activations, "
        f"{evidence.observed_steps} observed steps){_place(evidence)}"
    )


def _place(evidence: GradientWay) -> str:
    if evidence.place_below is None or evidence.place_above is None or evidence.factor_there is None:
        return ""
    return (
        f", most of it between {evidence.place_above.label} and {evidence.place_below.label}: "
        f"{evidence.factor_there:.2g} times"
    )


def _began(finding: Finding, evidence: GradientWay) -> str:
    early, facts = evidence.delta_first_over_last_at_start, finding.cause.facts
    if isinstance(facts, WayAtStart):
        return (
            f"initialisation and depth: at the first sampled step {facts.sensitivity:.1e} times the differences "
            f"between samples came through, and {facts.gradient_at_start:.1e} of the gradient"
        )
    if finding.cause.kind is CauseKind.INITIAL_WEIGHTS:
        return f"initialisation and depth: at the first observed steps it was {early:.2g} already"
    return f"{UNKNOWN}: at the first observed steps it was {early:.2g}, so it came with training"


def _so_far(finding: Finding) -> str:
    if finding.consequence is Consequence.PROGRESS:
        return f"Training progresses all the same: {loss_words(finding.loss)}."
    return no_progress(finding).strip() or "Whether training progresses could not be told."


def infinite_gradient(finding: Finding, evidence: InfiniteGradient) -> Texts:
    """`exploding-gradient`: gradients that overflowed."""
    assert finding.site is not None
    return Texts(
        title=f"an infinite gradient at {finding.site.label} at step {evidence.step:,}",
        detail=f"{evidence.steps:,} of {evidence.observed_steps:,} observed steps had one, at most "
        f"{evidence.longest_run:,} in a row.",
        cause="initial weights: at the first sampled step the gradient grew beyond measure on its way down already"
        if finding.cause.kind is CauseKind.INITIAL_WEIGHTS
        else f"{UNKNOWN}: a loss scale that begins too high does this, and so does an explosion",
        to_do=gradients.EXPLODING if finding.cause.kind is CauseKind.INITIAL_WEIGHTS else finite.INFINITE_GRADIENT,
    )


def gradient_spike(finding: Finding, evidence: GradientSpike) -> Texts:
    """`exploding-gradient`: one step far above all before it."""
    what = (
        "the gradient's norm before clipping"
        if evidence.measured_at is None
        else f"‖∂L/∂z‖ at {evidence.measured_at.label}"
    )
    several = (
        f" It was so at {evidence.spikes:,} steps, first at step {evidence.first_step:,}."
        if evidence.spikes > 1
        else ""
    )
    facts = finding.cause.facts
    rate = facts.learning_rate if isinstance(facts, LearningRateThere) else None
    told = "" if rate is None else f"; the learning rate was {rate:.3g}"
    return Texts(
        title=f"the gradient exploded at step {evidence.step:,}: {times(evidence.gradient_over_median)} its running "
        "median",
        detail=f"There {what} was {evidence.gradient_norm:.3g}, and one update moved the weights that feed "
        f"{evidence.layer.label} by {percent(evidence.update)} of their norm."
        f"{several}{_what_followed(finding, evidence)}",
        cause=f"the weights moved too far for the gradient they met{told}; a single bad batch does the same",
        to_do=gradients.SPIKE,
    )


def _what_followed(finding: Finding, evidence: GradientSpike) -> str:
    if finding.consequence is Consequence.UNKNOWN:
        return " Whether the loss came back could not be told."
    if finding.consequence is Consequence.NO_PROGRESS:
        return no_progress(finding)
    assert finding.loss is not None
    back = "came back" if finding.consequence is Consequence.RECOVERED else "has not come back"
    return f" The loss {back}: {evidence.loss_before:.4g} before it, {finding.loss.loss_end:.4g} at the end."
