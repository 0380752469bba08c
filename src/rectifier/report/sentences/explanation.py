"""An explanation in words: the cause, its evidence, the changes that did not help, the remedy."""

from collections.abc import Iterator, Sequence

from rectifier._formatting import counted, listed
from rectifier.records import (
    CauseKind,
    Change,
    Conclusion,
    EstablishedCause,
    Experiment,
    Explanation,
    FixKind,
    Intervention,
    RemedyId,
)
from rectifier.report.sentences.findings.words import capital
from rectifier.report.sentences.fixes import command
from rectifier.report.sentences.mending import Line, with_numbers

_CAUSES: dict[CauseKind, str] = {
    CauseKind.LEARNING_RATE: "the learning rate is too large",
    CauseKind.LEARNING_RATE_LOW: "the learning rate is too small",
    CauseKind.LEARNING_RATE_ZERO: "the learning rate is 0",
    CauseKind.OPTIMIZER_STATE: "momentum or a tiny second moment makes the steps too large",
    CauseKind.INITIAL_WEIGHTS: "the initial weights",
    CauseKind.INITIAL_BIAS: "the initial biases",
    CauseKind.NARROW_LAYER: "a layer is too narrow",
    CauseKind.DEPTH: "the layers lose the signal or the gradient",
    CauseKind.ACTIVATION: "the flat or unbounded side of the activation",
    CauseKind.OUTPUT_ACTIVATION: "the output activation",
    CauseKind.RECURRENCE: "values grow from call to call within one forward pass",
    CauseKind.NORMALISATION: "the normalisation",
    CauseKind.BATCH_OF_ONE: "batches of one sample",
    CauseKind.INPUT_SCALE: "the offset or scale of the inputs",
    CauseKind.INPUT_CONSTANT: "the inputs do not vary",
    CauseKind.INPUT_NOT_FINITE: "the inputs are not finite",
    CauseKind.TARGET_SCALE: "the offset or scale of the targets",
    CauseKind.LOSS_TERM: "one term of the loss",
    CauseKind.WEIGHT_DECAY: "weight decay",
    CauseKind.NUMERICAL_OPERATION: "an operation produces NaN or infinity",
    CauseKind.LOSS_NOT_FINITE: "the loss is not finite on some batches",
    CauseKind.PRECISION: "the number format",
    CauseKind.GRAPH_CUT: "the loss is not connected to these parameters",
    CauseKind.NOT_IN_OPTIMIZER: "no optimizer holds these parameters",
    CauseKind.NOT_REGISTERED: "the model does not register these parameters",
    CauseKind.OPTIMIZER_NOT_STEPPED: "the optimizer takes no step",
    CauseKind.FROZEN: "requires_grad=False freezes these parameters",
    CauseKind.DOWNSTREAM_SATURATION: "a later operation is flat and passes no gradient",
    CauseKind.DOWNSTREAM_CONSTANT: "a later operation is constant and passes no gradient",
    CauseKind.ZERO_HIGHER_DERIVATIVE: "a term of the loss needs a derivative that the activation does not have",
    CauseKind.SELECTION: "entries that are never selected cannot learn",
    CauseKind.OBJECTIVE: "the loss has its optimum at this failure",
    CauseKind.LOSS_SHAPE: "outputs and targets have different shapes",
    CauseKind.GRADIENT_ACCUMULATION: "gradients are not cleared between steps",
    CauseKind.EVAL_MODE: "the model trains in eval mode",
    CauseKind.DATA_ORDER: "the order of the data",
    CauseKind.NO_ACTIVATION: "there is no activation between the layers",
    CauseKind.LOSS_SCALE: "the scale of the loss",
    CauseKind.UPSTREAM: "another finding explains it",
    CauseKind.UNKNOWN: "unknown",
}
_CHANGES: dict[Change, str] = {
    Change.LEARNING_RATE_THIRD: "a third of the learning rate",
    Change.LEARNING_RATE_TENTH: "a tenth of the learning rate",
    Change.LEARNING_RATE_HUNDREDTH: "a hundredth of the learning rate",
    Change.LEARNING_RATE_TRIPLE: "three times the learning rate",
    Change.WARM_UP: "warm-up",
    Change.CLIP_GRADIENT: "a clipped gradient",
    Change.CLIPPING_OFF: "no clipping of the gradient",
    Change.LARGER_EPS: "a larger eps",
    Change.MOMENTUM_OFF: "no momentum",
    Change.WEIGHT_DECAY_OFF: "no weight decay",
    Change.LOSS_TERM_OFF: "the loss without one term",
    Change.WEIGHTS_HE: "He initialisation",
    Change.WEIGHTS_GLOROT: "Glorot initialisation",
    Change.WEIGHTS_SMALL_RANDOM: "small random weights instead of 0",
    Change.ZERO_BIAS: "zero biases",
    Change.STANDARDISE_INPUTS: "standardised inputs",
    Change.STANDARDISE_TARGETS: "standardised targets",
    Change.LEAKY_ACTIVATION: "Leaky ReLU",
    Change.BOUNDED_ACTIVATION: "a bounded activation",
    Change.UNSATURATED_ACTIVATION: "Leaky ReLU instead of sigmoid or tanh",
    Change.LINEAR_OUTPUT: "a linear output",
    Change.NORMALISATION_OFF: "no normalisation",
    Change.FLOAT32: "float32",
    Change.ZERO_GRAD: "gradients cleared before each backward pass",
    Change.TRAIN_MODE: "train mode",
    Change.ADD_PARAMETERS: "all parameters in the optimizer",
    Change.STEP_OPTIMIZER: "a step after each backward pass",
    Change.SKIP_BATCHES_OF_ONE: "no batches of one",
    Change.SKIP_NONFINITE: "no non-finite batches",
    Change.GUARD_OPERATION: "a guarded operation",
    Change.RESTART: "another seed",
    Change.PLACEBO: "the learning rate × 1.001",
    Change.NONE: "nothing",
}
_LINES: dict[RemedyId, str] = {
    RemedyId.LOWER_LEARNING_RATE: "lower the learning rate to a third, a tenth or a hundredth",
    RemedyId.RAISE_LEARNING_RATE: "multiply the learning rate by 3",
    RemedyId.MEND_SCHEDULE: "check the learning-rate schedule",
    RemedyId.CLIP_GRADIENT: command(FixKind.CLIP_NORM),
    RemedyId.LARGER_EPS: command(FixKind.LARGER_EPSILON),
    RemedyId.INIT_GAIN: "torch.nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')",
    RemedyId.INIT_RANDOM: command(FixKind.DRAW_WEIGHTS),
    RemedyId.ZERO_BIAS: "torch.nn.init.zeros_(layer.bias)",
    RemedyId.MORE_UNITS: "make the layer wider",
    RemedyId.FEWER_LAYERS: "use fewer layers",
    RemedyId.LEAKY_ACTIVATION: "rectifier run --swap relu=leaky_relu:0.1 train.py",
    RemedyId.BOUNDED_ACTIVATION: "use a bounded activation: torch.nn.Tanh()",
    RemedyId.CHANGE_ACTIVATION: "use an activation that has the derivative: torch.nn.Tanh()",
    RemedyId.LINEAR_OUTPUT: "remove the last activation",
    RemedyId.CHANGE_NORMALISATION: "remove the normalisation, or use another one",
    RemedyId.DROP_LAST_BATCH: command(FixKind.DROP_LAST),
    RemedyId.STANDARDISE_INPUTS: "inputs = (inputs - inputs.mean(0)) / inputs.std(0)",
    RemedyId.CHECK_INPUTS: "check the inputs",
    RemedyId.STANDARDISE_TARGETS: "targets = (targets - targets.mean()) / targets.std()",
    RemedyId.WEAKEN_LOSS_TERM: "lower the weight of this loss term",
    RemedyId.LOWER_WEIGHT_DECAY: "weight_decay=0.01, or less",
    RemedyId.GUARD_OPERATION: "guard this operation: add a small number to its argument, or clamp it",
    RemedyId.FLOAT32: "keep weights and optimizer in float32",
    RemedyId.RECONNECT_GRAPH: "keep the path to the loss differentiable: no detach(), .item(), argmax or no_grad()",
    RemedyId.ADD_TO_OPTIMIZER: "create the optimizer after the model is complete, with all its parameters: "
    f"{command(FixKind.ADD_TO_OPTIMIZER)}",
    RemedyId.REGISTER_PARAMETERS: command(FixKind.REGISTER_PARAMETERS),
    RemedyId.STEP_OPTIMIZER: command(FixKind.STEP_OPTIMIZER),
    RemedyId.TRAIN_MODE: command(FixKind.TRAIN_MODE),
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


def change_words(experiment: Experiment) -> str:
    """A change, as a sentence names it."""
    applied = experiment.applied
    if experiment.intervention.change is Change.LOSS_TERM_OFF and applied is not None and applied.detail:
        return f"no {applied.detail} in the loss"
    return intervention_words(experiment.intervention)


def intervention_words(intervention: Intervention) -> str:
    """The same for a change that was not tried."""
    words = _CHANGES[intervention.change]
    return words if intervention.value is None else f"{words} ({intervention.value})"


def cause_text(cause: EstablishedCause) -> str:
    """A cause in words: `weight decay of 0.5 (AdamW, group 0)`."""
    words = _CAUSES[cause.kind]
    change = None if cause.intervention is None else cause.intervention.change
    # The detail of these changes repeats the cause.
    if not cause.detail or change in (Change.SKIP_BATCHES_OF_ONE, Change.SKIP_NONFINITE):
        return words
    # A detail that begins with the same words replaces them.
    return cause.detail if cause.detail.startswith(words) else f"{words} ({cause.detail})"


def fix_of(remedy: RemedyId, explanation: Explanation | None = None) -> Line:
    """What to do, as a line to type where there is one.

    Args:
        remedy: What to do.
        explanation: The explanation, whose numbers are filled in; None for the general line.
    """
    own = None if explanation is None else with_numbers(remedy, explanation)
    return own or Line(_LINES[remedy], typed=remedy not in _SENTENCES)


def headline(explanation: Explanation) -> str:
    """The verdict in one line."""
    failure = explanation.failure
    named = "" if failure is None else failure.rule or failure.asked
    match explanation.conclusion:
        case Conclusion.NOTHING_TO_EXPLAIN:
            return "Nothing to explain: this run has no warnings."
        case Conclusion.NOT_REPRODUCED:
            return "Not reproduced: the unchanged script ran twice and failed only once."
        case Conclusion.CHAOTIC:
            return f"No cause established for {named}: the run is chaotic, so any change may help by luck."
        case Conclusion.NO_SINGLE_CHANGE:
            tried = len({one.intervention for one in explanation.experiments if one.seed is None})
            return f"No cause established for {named}: none of {counted(tried, 'change')} prevents it."
    if explanation.cause is None or explanation.cause.kind is CauseKind.UNKNOWN:
        return f"Time ran out before a cause of {named} was found."
    text = cause_text(explanation.cause)
    if explanation.conclusion is Conclusion.ESTABLISHED:
        return f"Cause established: {text}."
    if explanation.conclusion is Conclusion.THIS_RUN:
        return f"Cause established for this run: {text}."
    if explanation.conclusion is Conclusion.OBSERVED:
        return f"Cause observed: {text}. No experiment confirmed it."
    return f"Time ran out. Likely cause: {text}."


def details(explanation: Explanation) -> Iterator[str]:
    """The evidence, one sentence each."""
    cause = explanation.cause
    if cause is not None and cause.intervention is not None:
        yield _without(explanation, cause)
    for other in explanation.causes[1:]:
        yield f"{'Also established' if other.established else 'Also likely'}: {cause_text(other)}."
    failed = _unhelpful(explanation.experiments)
    if failed:
        yield f"Did not help: {listed(failed)}."
    once = _helped_once(explanation)
    if once:
        yield f"Also without the failure, tried with this seed only: {listed(once)}."
    for one in explanation.experiments:
        if one.error and one.seed is None:
            yield f"{capital(change_words(one))} could not be tried: {one.error}"
    yield from controls(explanation)
    if cause is not None and not explanation.remedies and cause.kind in _IN_WORDS:
        yield f"What to do: {_IN_WORDS[cause.kind]}"


_IN_WORDS = {
    CauseKind.LOSS_SHAPE: "give output and targets the same shape: output.squeeze(-1), or targets.unsqueeze(-1).",
    CauseKind.DATA_ORDER: "shuffle the data: DataLoader(..., shuffle=True).",
    CauseKind.GRADIENT_ACCUMULATION: "call optimizer.zero_grad() before each backward pass.",
    CauseKind.EVAL_MODE: "call model.train() before the training loop.",
    CauseKind.NO_ACTIVATION: "put an activation between the layers: torch.nn.ReLU().",
}
"""What to do about causes that lie around the network, where no line of ours says it."""


def controls(explanation: Explanation) -> Iterator[str]:
    """What the unchanged script and the placebo did."""
    control = explanation.control
    if control.reads_input:
        yield "The script reads standard input; trials get none, so they may train on other data."
    if control.deterministic is False:
        yield "The script is not deterministic: two unchanged runs had different losses."
    if control.placebo_failed is not None:
        ended = "still fails" if control.placebo_failed else "does not fail: the run is chaotic"
        yield f"Control: with the learning rate × 1.001 and the same seed, the run {ended}."
    if control.seeds_reach is False:
        yield "Control: another seed changed nothing, so the result holds for this run only."
    elif len(control.seeds) > 1:
        yield f"Control: without a change, {len(control.failing)} of {counted(len(control.seeds), 'seed')} fail."


def _without(explanation: Explanation, cause: EstablishedCause) -> str:
    own = [one for one in explanation.experiments if one.intervention == cause.intervention]
    first = next(one for one in own if one.seed is None)
    seeds = [one for one in own if one.helped]
    before = explanation.failure.loss_end if explanation.failure is not None else None
    loss = (
        ""
        if first.loss_end is None or first.better is None
        else f": the loss is {first.loss_end:.3g} at step {first.steps:,}; the unchanged run ended at {_loss(before)}"
    )
    count = len({one.seed for one in seeds})
    return f"With {change_words(first)}, the run does not fail{loss} ({count} of {count} failing seeds)."


def _loss(value: float | None) -> str:
    return "a non-finite value" if value is None else f"{value:.3g}"


def _helped_once(explanation: Explanation) -> list[str]:
    """Changes that cure much that they did not cause, and were not tried on other seeds once the cause was known."""
    others = {one.intervention for one in explanation.experiments if one.seed is not None}
    found = [
        change_words(one)
        for one in explanation.experiments
        if one.helped
        and one.intervention not in others
        and one.intervention.change is not Change.PLACEBO
        and (one.applied is None or one.applied.times)
        and len(explanation.control.failing) > 1
    ]
    return list(dict.fromkeys(found))


def _unhelpful(experiments: Sequence[Experiment]) -> list[str]:
    """Changes that were applied and did not help."""
    helped = {one.intervention for one in experiments if one.helped}
    found = [
        change_words(one)
        for one in experiments
        if one.seed is None
        and one.intervention not in helped
        and one.intervention.change is not Change.PLACEBO
        and not one.error
        and (one.applied is None or one.applied.times)
    ]
    return list(dict.fromkeys(found))
