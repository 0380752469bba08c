"""Why units died, in one sentence with its numbers."""

import math

from rectifier._formatting import counted, percent
from rectifier.records import (
    BornDead,
    BornDeadOrEarlier,
    Cause,
    CauseKind,
    ConstantInputs,
    Drift,
    InputOffset,
    InputScale,
    LargeBias,
    LargeFirstLoss,
    LossOperations,
    LostOverCalls,
    MostlyFlatAtStart,
    SilentBelow,
    SmallUpdates,
    TargetOffset,
    TargetScale,
    UpdateAtDeath,
    WeightsDecayed,
    ZeroWeights,
)
from rectifier.report.sentences.findings.words import input_scale, none_has_fired, times, update_words

UNKNOWN = "cause unknown"


def of_death(cause: Cause) -> str:
    """Why units died."""
    match cause.facts:
        case SilentBelow() as facts:
            return (
                f"upstream death: none of the {facts.upstream_units:,} units of {facts.upstream.label} below "
                f"{none_has_fired(facts.silence)}"
            )
        case BornDeadOrEarlier() as facts:
            return (
                f"{UNKNOWN}: {facts.born_dead_or_earlier} of {facts.silent} never fired since step "
                f"{facts.first_observed:,}, the first observation; they were born dead, or died before it"
            )
        case BornDead() as facts:
            return _born(facts)
        case UpdateAtDeath() as facts:
            return _update(cause.kind, facts)
        case Drift() as facts:
            return _drift(facts)
    if cause.kind is CauseKind.OUTPUT_ACTIVATION:
        return "the last activation: where it is flat, an output gets no gradient"
    return of_model(cause)


def _born(facts: BornDead) -> str:
    text = (
        f"born dead: {facts.never_fired} of {facts.silent} never fired since the first observation (activation "
        f"{facts.depth} from the input, narrowest width up to it {facts.narrowest_width})"
    )
    if facts.gains:
        text += f"; gain per layer {facts.smallest_gain:.2g}"
        text += f" to {facts.largest_gain:.2g}" if facts.gains > 1 else ""
    return text


def _update(kind: CauseKind, facts: UpdateAtDeath) -> str:
    if facts.at_once:
        gone = "the layer fell silent at once"
    else:
        gone = "half of them had gone" if facts.silent > 1 else "it went"
    size = update_words(facts.update, facts.update_over_median, median_known=facts.median_known)
    text = f"around step {facts.update_step:,}, when {gone}, one step moved the weights by {size}{_driven(facts)}"
    if kind is CauseKind.UNKNOWN:
        return f"{UNKNOWN}: {text}"
    text = f"killed by an update: {text}"
    if facts.input_rms is None:
        return text
    mostly = ""
    if facts.input_offset is not None:
        mostly = f", most of it their mean (γ = {facts.input_offset:.2g} times what differs between samples)"
    return f"{input_scale(facts.input_rms)}{mostly}; {text}"


def _driven(facts: UpdateAtDeath) -> str:
    parts = []
    if facts.learning_rate is not None:
        parts.append(f"the learning rate was {facts.learning_rate:.3g}")
    if facts.gradient_over_median is not None:
        parts.append(f"‖∂L/∂z‖ {times(facts.gradient_over_median)} its median until then")
    if facts.gradient_spike_step is not None:
        parts.append(f"it had spiked at step {facts.gradient_spike_step:,}, and momentum carries that on")
    return f"; {', '.join(parts)}" if parts else ""


def _drift(facts: Drift) -> str:
    text = (
        f"drift: their mean pre-activation fell from {facts.pre_activation_first:.2g} in the first window to "
        f"{facts.pre_activation_last:.2g} in the last (medians)"
    )
    if facts.moved_by_bias is None:
        return text
    return (
        f"{text}; the bias moved it by {facts.moved_by_bias:+.2g}, "
        f"weights times inputs by {facts.moved_by_weights_and_inputs:+.2g}"
    )


def of_model(cause: Cause) -> str:  # noqa: PLR0912 - one case for each kind of facts
    """Why something befell a model as a whole."""
    match cause.facts:
        case ConstantInputs() as facts:
            return _constant_inputs(facts)
        case InputOffset() as facts:
            return (
                f"input offset: the mean of the inputs is {facts.input_offset:.3g} times what differs between them (γ)"
            )
        case InputScale() as facts:
            return input_scale(facts.input_rms)
        case LostOverCalls() as facts:
            return lost_over_calls(facts)
        case WeightsDecayed() as facts:
            if math.isinf(facts.decay_over_gradient):
                return f"weight decay of {facts.weight_decay:.3g}: it shrank the weights to 0"
            return (
                f"weight decay of {facts.weight_decay:.3g}: the weights shrank to {percent(facts.shrunk_to)} of their "
                f"norm, and decay pulls at them {times(facts.decay_over_gradient)} as hard as the loss"
            )
        case SmallUpdates() as facts:
            return _small_updates(cause.kind, facts)
        case LossOperations() as facts:
            if cause.kind is CauseKind.LOSS_SHAPE:
                return (
                    f"{facts.loss} broadcasts the output over all targets: their shapes differ, so each output is "
                    "compared with every target"
                )
            return f"{facts.before} before {facts.loss}, which expects logits"
        case LargeBias() as facts:
            return (
                f"biases of {facts.bias:.3g} since the first window, where weights times inputs add {facts.rest:.3g} "
                f"(medians over {counted(facts.units, 'unit')})"
            )
        case TargetOffset() as facts:
            return (
                f"target offset: the mean of the targets is {facts.target_offset:.3g} times what differs between them"
            )
        case TargetScale() as facts:
            return f"target scale: a root mean square of {facts.target_rms:,.4g}, where about 1 is usual"
        case MostlyFlatAtStart() as facts:
            return (
                f"initial weights: from the first step on, {percent(facts.smallest_share)} and more of the outputs of "
                f"{counted(facts.layers, 'hidden layer')} were where the activation is flat"
            )
        case LargeFirstLoss() as facts:
            over = times(facts.first_loss / facts.best_constant)
            return (
                f"initial weights: the first losses were {facts.first_loss:.4g}, {over} what the best constant answer "
                "costs"
            )
        case ZeroWeights() as facts:
            return f"{facts.weight} was exactly 0 at the start, so no gradient passes"
    if cause.kind is CauseKind.NO_ACTIVATION:
        return "the network has no activation: it is linear"
    return UNKNOWN


def lost_over_calls(facts: LostOverCalls) -> str:
    """Why a gradient does not arrive through a recurrent layer."""
    return (
        f"recurrence: the gradient passes {facts.weight} {counted(facts.calls, 'time')} on its way back, and vanishes"
    )


def _constant_inputs(facts: ConstantInputs) -> str:
    if facts.zero:
        return "the inputs are all 0"
    if facts.distinct_samples == 1:
        return "there is a single distinct sample"
    return f"none of the {facts.features:,} input features varies between samples"


def _small_updates(kind: CauseKind, facts: SmallUpdates) -> str:
    if kind is CauseKind.LEARNING_RATE_ZERO:
        if facts.learning_rate:
            return f"the learning rate is {facts.learning_rate:.3g}, at which no weight moves"
        return "the learning rate is 0"
    rate = "" if facts.learning_rate is None else f"; the learning rate is {facts.learning_rate:.3g}"
    return f"a step moves the weights by {percent(facts.update)} of their norm, where 0.1% is usual{rate}"
