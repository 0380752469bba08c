"""Texts about parameters that are not trained, and weights that shrank or grew."""

from rectifier._formatting import counted, listed, percent
from rectifier.records import (
    Cause,
    CauseKind,
    CustomFunctions,
    DecayOfWeights,
    ExplainedBy,
    Finding,
    FlatOperations,
    Lack,
    LargeUpdate,
    LostOverCalls,
    UntrainedParameters,
    WeightNorms,
    ZeroAtStart,
)
from rectifier.report.sentences.findings import advice
from rectifier.report.sentences.findings.advice import Advice
from rectifier.report.sentences.findings.causes import UNKNOWN, lost_over_calls
from rectifier.report.sentences.findings.words import Texts, no_progress, times

_ADVICE: dict[CauseKind, Advice] = {
    CauseKind.GRAPH_CUT: (
        "Keep the path from the forward to the loss differentiable: no detach(), no .item(), no torch.no_grad(), no "
        "torch.tensor() around a computed value.",
    ),
    CauseKind.DOWNSTREAM_CONSTANT: (
        "Check how the loss uses their output: a softmax over one element, a mask, a factor of 0.",
    ),
    CauseKind.INITIAL_WEIGHTS: ("Initialise these weights at random, with a small standard deviation, instead of 0.",),
    CauseKind.INPUT_CONSTANT: ("Check the data: the inputs of the model are all 0.",),
    CauseKind.RECURRENCE: advice.LOST_OVER_CALLS,
    CauseKind.NOT_REGISTERED: (
        "Put the modules in a torch.nn.ModuleList or ModuleDict, and wrap bare tensors in torch.nn.Parameter: "
        "model.parameters() then lists them.",
    ),
    CauseKind.NOT_IN_OPTIMIZER: (
        "Pass all parameters to the optimizer, and create it after the model is complete.",
        "If these are meant to stay fixed, call requires_grad_(False) on them: their gradients are then not computed.",
    ),
    CauseKind.OPTIMIZER_NOT_STEPPED: (
        "Call optimizer.step() after each backward pass; scheduler.step() does not replace it.",
    ),
    CauseKind.LEARNING_RATE_ZERO: ("Check the schedule: is it stepped per epoch or per batch, and where does it end?",),
    CauseKind.LEARNING_RATE_LOW: ("Raise the learning rate, or keep the weights in float32.",),
    CauseKind.UNKNOWN: (
        "Check that the forward uses these parameters and that the loss uses the result.",
        "If they are meant to stay fixed, call requires_grad_(False) on them.",
    ),
}

_ADVICE_ON_NORMS: dict[CauseKind, Advice] = {
    CauseKind.WEIGHT_DECAY: ("Divide weight_decay by 10; repeat until the weights keep their norm.",),
    CauseKind.LEARNING_RATE: advice.FIRST_FOR_UPDATE,
    CauseKind.UNKNOWN: (
        "Check weight_decay and the penalty terms of the loss: something other than the data moves these weights.",
    ),
}

_MOST_PLACES = 6
"""Places that one sentence lists."""

_TITLES = {
    Lack.NO_GRADIENT: "{} never got a gradient",
    Lack.ZERO_GRADIENT: "{} got only zero gradients",
    Lack.NO_CHANGE: "{} never changed, although gradients arrived",
    Lack.STOPPED: "{} stopped changing",
}


def untrained(finding: Finding, evidence: UntrainedParameters) -> Texts:
    """`untrained`."""
    many = counted(evidence.parameters, "parameter")
    where = places(evidence.places, evidence.model)
    holds = "The parameter holds" if evidence.parameters == 1 else "The parameters hold"
    share = f"{counted(evidence.elements, 'element')}, {percent(evidence.elements_fraction)} of all trainable ones"
    everything = " Nothing trains in this run." if evidence.everything else ""
    return Texts(
        title=f"{where}: {_TITLES[evidence.lack].format(many)}",
        detail=f"{_seen(evidence)} {holds} {share}.{everything}{no_progress(finding)}",
        cause=_why(finding.cause, evidence),
        to_do=_advised(finding, evidence),
        name_first=True,
    )


def _seen(evidence: UntrainedParameters) -> str:
    span = f"from step {evidence.first_step:,} to {evidence.last_step:,}"
    steps = f"of the {evidence.looks:,} sampled steps {span}"
    at_any, at_each = f"at any {steps}", f"at each {steps}"
    if evidence.last_step == evidence.first_step:
        span = at_any = at_each = f"in {evidence.backward_passes:,} backward passes"
    match evidence.lack:
        case Lack.NO_GRADIENT:
            return f"No gradient arrived {at_any}."
        case Lack.ZERO_GRADIENT:
            return f"The gradient was exactly 0 {at_each}, while the loss was not 0."
        case Lack.NO_CHANGE:
            return f"Gradients arrived, but no value changed {span}."
        case Lack.STOPPED:
            return (
                f"The last change was before step {evidence.last_changed:,}. From there to step "
                f"{evidence.last_step:,} no value changed, although gradients arrived."
            )


def _advised(finding: Finding, evidence: UntrainedParameters) -> Advice:
    if finding.severity == "info":
        return advice.EXPLAINED if finding.cause.kind is CauseKind.UPSTREAM else advice.UNTOUCHED
    if isinstance(finding.cause.facts, FlatOperations):
        name = finding.cause.facts.names[0].lower()
        return (
            f"Use a smooth function such as tanh instead, or a straight-through estimator: x + (torch.{name}(x) - "
            "x).detach() has that value, and the gradient of x.",
        )
    if isinstance(finding.cause.facts, CustomFunctions):
        return (
            f"Check what the backward() of {listed(finding.cause.facts.names)} returns; then how the loss uses the "
            "result: a mask, a factor of 0.",
        )
    if finding.cause.kind is CauseKind.OPTIMIZER_NOT_STEPPED and evidence.optimizer and evidence.optimizer_steps:
        return (
            f"In {evidence.optimizer}.step(), update the parameters in place, under torch.no_grad(): "
            "p.sub_(lr * p.grad), not p = p - lr * p.grad.",
        )
    told = _ADVICE.get(finding.cause.kind, advice.UNTOUCHED)
    if finding.cause.kind is CauseKind.GRAPH_CUT and evidence.connected and not evidence.runs:
        return (_ADVICE[CauseKind.UNKNOWN][0], *told)
    return told


_CAUSES = {
    CauseKind.INPUT_CONSTANT: "every input was 0",
    CauseKind.UPSTREAM: "a later layer passes no gradient: its own finding says why",
    CauseKind.DOWNSTREAM_CONSTANT: "the loss depends on them only through something constant: a factor of 0, a mask, "
    "a softmax over one element",
    CauseKind.NOT_REGISTERED: "a plain list, tuple or dictionary holds them, so model.parameters() does not list them "
    "and no optimizer has them",
    CauseKind.NOT_IN_OPTIMIZER: "no optimizer holds them",
}


def _why(cause: Cause, evidence: UntrainedParameters) -> str:  # noqa: PLR0912 - one case for each kind
    match cause.kind:
        case CauseKind.GRAPH_CUT:
            cuts = "detach, no_grad, item or argmax cuts the graph"
            if evidence.runs:
                return f"the forward uses them, but the loss is not connected to them: {cuts}"
            if evidence.connected:
                first = "the loss is not connected to the first weights of the model"
                return f"{first}: {cuts}, or the forward does not use them"
            return f"the loss is connected to nothing that an optimizer holds: {cuts}"
        case CauseKind.NOT_IN_OPTIMIZER if evidence.lack is Lack.NO_GRADIENT:
            return (
                "the optimizer holds these parameters, but the loss depends on others, which no optimizer holds: the "
                "model, or a layer of it, was copied, converted or replaced after the optimizer was created"
            )
        case CauseKind.RECURRENCE if isinstance(cause.facts, LostOverCalls):
            return lost_over_calls(cause.facts)
        case CauseKind.DOWNSTREAM_CONSTANT if isinstance(cause.facts, FlatOperations):
            names = [f"torch.{name.lower()}" for name in cause.facts.names]
            have = "has a derivative" if len(names) == 1 else "have derivatives"
            return f"{listed(names)} {have} of 0, so no gradient reaches these parameters"
        case CauseKind.DOWNSTREAM_CONSTANT if isinstance(cause.facts, CustomFunctions):
            functions = "autograd function" if len(cause.facts.names) == 1 else "autograd functions"
            return (
                f"the custom {functions} {listed(cause.facts.names)} may return zeros from backward(); or the loss "
                "depends on these parameters only through a constant"
            )
        case CauseKind.INITIAL_WEIGHTS:
            assert isinstance(cause.facts, ZeroAtStart)
            zero = listed_places(cause.facts.zero_weights)
            return f"these weights were exactly 0 at the start and pass no gradient: {zero}"
        case CauseKind.OPTIMIZER_NOT_STEPPED if evidence.optimizer and evidence.optimizer_steps:
            return (
                f"{evidence.optimizer}.step() ran at {evidence.optimizer_steps:,} sampled steps and changed none of "
                "these parameters, although learning rate times gradient is too large to be rounded away"
            )
        case CauseKind.OPTIMIZER_NOT_STEPPED:
            name = f"{evidence.optimizer}.step()" if evidence.optimizer else "optimizer.step()"
            passes = max(evidence.backward_passes, evidence.last_step - evidence.first_step)
            return f"{name} was never called in {passes:,} backward passes"
        case CauseKind.LEARNING_RATE_ZERO:
            how = "a schedule set it" if evidence.scheduled else "at this rate nothing moves"
            return f"the learning rate is {evidence.learning_rate:.3g}: {how}"
        case CauseKind.LEARNING_RATE_LOW:
            return (
                f"a learning rate of {evidence.learning_rate:.3g} makes updates too small for the number format: they "
                "are rounded away"
            )
        case CauseKind.UPSTREAM if evidence.lack is Lack.NO_CHANGE:
            return (
                f"other parameters change at the learning rate of {evidence.learning_rate:.3g}, but these gradients "
                "vanish: they are too small to change any value"
            )
        case CauseKind.UNKNOWN if evidence.lack is Lack.NO_GRADIENT:
            meant = "no optimizer holds them and no loss was connected to them, which may be intended"
            unused = "the forward does not use them, or the loss is not connected to them"
            return f"{UNKNOWN}: {unused if evidence.held else meant}"
    return _CAUSES.get(cause.kind, UNKNOWN)


def weight_norms(finding: Finding, evidence: WeightNorms) -> Texts:
    """`weight-norm`."""
    what = "grew far beyond their initial norm" if evidence.grew else "shrank towards 0"
    went = "fell"
    if evidence.grew:
        went = f"grew {times(evidence.norm_last / evidence.norm_first)}"
    return Texts(
        title=f"{places(evidence.places, evidence.model)}: {evidence.weights} of {evidence.of_weights} weights {what}",
        detail=f"From step {evidence.first_step:,} to {evidence.last_step:,} the norm of {evidence.most} {went}, from "
        f"{evidence.norm_first:.3g} to {evidence.norm_last:.3g}.{no_progress(finding)}",
        cause=_why_norm(finding.cause),
        to_do=_ADVICE_ON_NORMS[finding.cause.kind],
        name_first=True,
    )


def _why_norm(cause: Cause) -> str:
    match cause.facts:
        case DecayOfWeights() as facts:
            beside = ""
            if facts.gradient_norm is not None:
                beside = (
                    f"; at step {facts.looked_step:,} its pull was about {facts.decay_norm:.2g}, that of the gradient "
                    f"{facts.gradient_norm:.2g}"
                )
            return (
                f"weight decay of {facts.weight_decay:.3g} at a learning rate of {facts.learning_rate:.3g} changed "
                f"these weights, not the loss{beside}"
            )
        case LargeUpdate() as facts:
            assert facts.layer is not None
            return (
                f"the weights moved too far: at step {facts.update_step:,} an update moved those that feed "
                f"{facts.layer.label} by {percent(facts.update)} of their norm"
            )
    return UNKNOWN


def explained(facts: ExplainedBy) -> str:
    """A cause that another finding explains."""
    return f"follows from the finding {facts.explained_by}"


def places(paths: tuple[str, ...], model: str) -> str:
    """Where parameters are: `encoder, head.bias`; the model's name for all of it, and before what reads like a count.

    Example:
        >>> places(("0", "2", "head.bias"), "Sequential")
        'Sequential.0, Sequential.2 and head.bias'
    """
    if paths in (("",), ()):
        return model or "tensors that no module holds"
    return listed_places(
        tuple(f"{model}.{path}" if model and path.replace(".", "").isdigit() else path for path in paths)
    )


def listed_places(paths: tuple[str, ...]) -> str:
    """The first ones, and how many more there are."""
    return listed(paths, _MOST_PLACES)
