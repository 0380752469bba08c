"""Texts about a model's output, a loss that stands still, and linear networks."""

from rectifier._formatting import counted, percent
from rectifier.records import (
    Cause,
    CauseKind,
    CollapsedOutput,
    Consequence,
    ConstantOptimum,
    DeadOutput,
    EvalMode,
    Finding,
    LargeUpdate,
    LinearNetwork,
    StandingStill,
    TargetsOutOfReach,
    Yardstick,
)
from rectifier.report.sentences.findings.advice import model
from rectifier.report.sentences.findings.causes import of_model
from rectifier.report.sentences.findings.words import Texts, loss_words, no_progress


def collapsed_output(finding: Finding, evidence: CollapsedOutput) -> Texts:
    """`collapsed-output`."""
    against = {
        Yardstick.TARGETS: "that of the targets is",
        Yardstick.BEFORE: "it had been up to",
        Yardstick.CLASSES: "it had been up to",
        Yardstick.SIZE: "their mean square is",
    }[evidence.against]
    features = ""
    if evidence.features_collapsed is not None:
        differ = "hardly differ, either" if evidence.features_collapsed else "still differ"
        features = f" Between samples, the inputs of this layer {differ}."
    return Texts(
        title=f"{_name(evidence.output)} collapsed: it is almost the same for every sample",
        detail=f"Since step {evidence.first_step:,} the variance of its {counted(evidence.units, 'unit')} between "
        f"samples has been {evidence.spread:.2g}; {against} {evidence.reference:.2g} ({evidence.readings:,} readings "
        f"of {evidence.rows:,} samples, the last at step {evidence.last_step:,}).{features}{_loss(finding)}",
        cause=_why(finding.cause),
        to_do=model.for_model(finding.cause),
    )


def dead_output(finding: Finding, evidence: DeadOutput) -> Texts:
    """`dead-output`."""
    behind = "" if evidence.activation is None else f" behind {evidence.activation}"
    label = finding.site.label if finding.site is not None else _name(evidence.output)
    title = (
        f"{evidence.dead:,} of {counted(evidence.units, 'unit')} of the output{behind} never change, although their "
    )
    title += "targets do"
    if evidence.units == 1:
        title = f"the one unit of the output{behind} never changes, although its target does"
    return Texts(
        title=f"{label}: {title}",
        detail=f"Seen in {evidence.readings:,} readings from step {evidence.first_step:,} to step "
        f"{evidence.last_step:,}.{_loss(finding)}",
        cause=f"{evidence.activation} as the last activation: where it is flat, no gradient passes"
        if finding.cause.kind is CauseKind.OUTPUT_ACTIVATION
        else _why(finding.cause),
        to_do=model.for_model(finding.cause),
        name_first=True,
    )


def targets_out_of_reach(finding: Finding, evidence: TargetsOutOfReach) -> Texts:
    """`output-activation`, in a training."""
    bound = f"below {evidence.lowest:g}"
    if evidence.highest is not None:
        bound = f"outside {evidence.lowest:g} to {evidence.highest:g}"
    return Texts(
        title=f"{evidence.activation} at the output cannot reach {percent(evidence.share)} of the targets",
        detail=f"These targets lie {bound}, where {evidence.activation} has no value (median of "
        f"{counted(evidence.readings, 'reading')}).{_loss(finding)}",
        cause=f"{evidence.activation} as the last activation",
        to_do=model.for_model(finding.cause),
    )


def standing_still(finding: Finding, evidence: StandingStill) -> Texts:
    """`standing-still`."""
    told = [f"{_capital_loss(finding)}.", "Units fire and gradients arrive."]
    if evidence.best_constant is not None:
        what = "the class frequencies" if evidence.against is Yardstick.CLASSES else "the mean of the targets"
        told.append(f"The best constant answer, {what}, has a loss of {evidence.best_constant:.4g}.")
    if evidence.update is not None:
        told.append(
            f"A step moves the weights of a layer by at most {percent(evidence.update)} of their norm (median)."
        )
    where = "at that of the best constant answer" if evidence.at_best_constant else "where it began"
    title = f"training stands still: the loss stays {where}"
    if evidence.worse_than_constant and finding.consequence is not Consequence.NO_PROGRESS:
        title = "the model is worse than the best constant answer"
    return Texts(
        title=title,
        detail=" ".join(told),
        cause=_why(finding.cause),
        to_do=model.for_model(finding.cause),
    )


def linear_network(finding: Finding, evidence: LinearNetwork) -> Texts:
    """`no-activation`."""
    return Texts(
        title=f"{evidence.model} has {evidence.weights:,} layers, and no activation was observed",
        detail="Without an activation between them, several layers compute no more than one.",
        cause="no activation was applied at any sampled step",
        to_do=model.for_model(finding.cause),
        name_first=True,
    )


def eval_mode(finding: Finding, evidence: EvalMode) -> Texts:
    """`eval-mode`."""
    always = evidence.eval_steps == evidence.steps
    frozen = ""
    if evidence.batch_normalised:
        behind = counted(evidence.batch_normalised, "activation")
        frozen = f" The batch normalisation before {behind} does not update its statistics."
    return Texts(
        title=f"{evidence.model} trains in eval mode{'' if always else ' in part'}",
        detail=f"{evidence.eval_steps:,} of {counted(evidence.steps, 'observed loss', 'observed losses')} came from a "
        f"model in eval mode: dropout is off.{frozen}{no_progress(finding)}",
        cause="model.eval() was called without model.train() after it",
        to_do=model.EVAL_MODE if finding.severity == "info" else model.TRAIN_MODE,
        name_first=True,
    )


def _name(output: str) -> str:
    return f"the output of {output.removesuffix('.weight')}" if output else "the output"


def _loss(finding: Finding) -> str:
    if finding.consequence is Consequence.PROGRESS:
        return f" Meanwhile {loss_words(finding.loss)}."
    return no_progress(finding)


def _capital_loss(finding: Finding) -> str:
    words = loss_words(finding.loss)
    return words[:1].upper() + words[1:]


def _why(cause: Cause) -> str:
    match cause.facts:
        case ConstantOptimum() as facts:
            return (
                f"the objective: it uses no targets and fell from {facts.loss_before:.4g} to {facts.loss_after:.4g} "
                "while the features collapsed, so its optimum is a constant output"
            )
        case LargeUpdate() as facts:
            where = "" if facts.layer is None else f" that feed {facts.layer.label}"
            size = f"{percent(facts.update)} of their norm"
            return f"an update moved the weights{where} too far, by {size}, at step {facts.update_step:,}"
    return of_model(cause)
