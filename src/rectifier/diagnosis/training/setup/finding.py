"""The finding about what is set up wrongly around a network: its loss, its data, its start, its optimizer.

Some of it is wrong by itself: a loss with the wrong sign, gradients that are never cleared. The rest counts only for a
model that learned little. Where another rule found an alarm without a cause, what is found here is the cause.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import eval_mode
from rectifier.diagnosis.training.decay import of_decay
from rectifier.diagnosis.training.history.outputs import OutputHistory
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.model_causes import of_recurrence
from rectifier.diagnosis.training.output.explained import explained_by, learned_well
from rectifier.diagnosis.training.setup import data, gradients, loss, steps
from rectifier.records import (
    AlikeFromTheStart,
    BoundedOutput,
    Cause,
    CauseKind,
    EqualWeights,
    Finding,
    GradientWay,
    InitialGain,
    LargeFirstLoss,
    LargeMomentum,
    OneElement,
    Process,
    Rule,
    Series,
    TrainingSetup,
)

_GIVES_WAY = frozenset({CauseKind.UNKNOWN, CauseKind.LEARNING_RATE, CauseKind.LEARNING_RATE_LOW})
"""Causes that say how it came about, and not why: what is wrong by itself comes before them."""

_STOPS = frozenset(
    {CauseKind.INITIAL_BIAS, CauseKind.OUTPUT_ACTIVATION, CauseKind.INPUT_CONSTANT, CauseKind.NORMALISATION}
)
"""What makes a gradient an exact 0: units on the flat side, answers outside of their bounds, inputs that do not differ,
a normalisation over one element. To those below it looks like a constant behind them."""
_AT_THE_START = _STOPS | {CauseKind.INITIAL_WEIGHTS, CauseKind.INPUT_SCALE}
_BY_INPUTS = frozenset({Rule.POOR_INITIALISATION, Rule.VANISHING_GRADIENT})
"""Rules that lay to the initial weights what the scale of the inputs does."""
_OF_MODELS = frozenset(
    {
        Rule.COLLAPSED_OUTPUT, Rule.STANDING_STILL, Rule.CONSTANT_PREDICTOR, Rule.DEAD_OUTPUT,
        Rule.POOR_INITIALISATION
    }
)  # fmt: skip
"""Rules about what a model as a whole gives: what concerns it as a whole may be the reason."""


@dataclass(frozen=True)
class Setup:
    """What is known of one model's training.

    Attributes:
        model: Its name.
        alone: Whether no other model trains at the same time.
        loss: Of this model alone; empty where that cannot be told.
    """

    model: str
    outputs: Sequence[OutputHistory]
    histories: Sequence[SiteHistory]
    progress: Progress
    process: Process
    loss: Series
    alone: bool


@dataclass(frozen=True)
class Flaw:
    """Something that is wrong.

    Attributes:
        by_itself: Whether it is wrong whatever was learned.
    """

    cause: Cause
    by_itself: bool = False


def find_flaws(setup: Setup) -> list[Flaw]:
    """What is wrong, the surest first.

    Args:
        setup: Of one model.
    """
    return [flaw for look in _LOOKS if (flaw := look(setup)) is not None]


def _sure(look: Callable[..., Cause | None], *names: str) -> Callable[[Setup], Flaw | None]:
    return _as_flaw(look, names, by_itself=True)


def _likely(look: Callable[..., Cause | None], *names: str) -> Callable[[Setup], Flaw | None]:
    return _as_flaw(look, names, by_itself=False)


def _as_flaw(
    look: Callable[..., Cause | None], names: Sequence[str], *, by_itself: bool
) -> Callable[[Setup], Flaw | None]:
    def found(setup: Setup) -> Flaw | None:
        cause = look(*(getattr(setup, name) for name in names))
        return None if cause is None else Flaw(cause, by_itself=by_itself)

    return found


_LOOKS = (
    _likely(data.constant_inputs, "process", "alone"),
    _sure(loss.surely_squashed, "outputs", "histories"),
    _sure(loss.one_element, "outputs"),
    _sure(loss.stretched, "outputs"),
    _sure(loss.across_rows, "outputs"),
    _sure(loss.above_one, "outputs", "loss"),
    _sure(loss.negated, "model", "outputs", "loss", "alone", "process"),
    _sure(loss.masked, "outputs", "loss", "alone"),
    _sure(gradients.cleared, "model", "process"),
    _sure(gradients.made_anew, "model", "process"),
    _sure(gradients.without_gradients, "model", "process"),
    _sure(gradients.kept, "model", "process"),
    _sure(data.sorted_batches, "outputs"),
    _likely(loss.bounded, "outputs"),
    _sure(data.equal_weights, "model", "process"),
    _likely(loss.other_terms, "outputs", "loss"),
    _likely(loss.scaled, "model", "outputs", "histories", "progress", "loss", "process"),
    _likely(of_decay, "process", "model"),
    _likely(steps.epsilon, "model", "process"),
    _likely(steps.shrunk, "model", "histories", "progress", "process", "alone"),
    _likely(steps.little_movement, "model", "histories", "progress", "process"),
    _likely(steps.momentum, "model", "process"),
    _likely(steps.rounded, "model", "process"),
    _likely(data.targets, "outputs"),
    _likely(data.inputs, "process", "alone"),
    _likely(data.initial_gain, "histories", "process"),
    _likely(of_recurrence, "model", "process"),
    _likely(steps.schedule, "histories"),
    _likely(loss.squashed, "outputs"),
    _likely(data.zero_weights, "model", "process"),
    _likely(data.one_sided_weights, "model", "process"),
    _likely(data.biases, "histories"),
    _likely(data.large_first_cost, "outputs"),
    _likely(eval_mode.still_statistics, "model", "progress", "process"),
    _likely(data.frozen, "model", "process"),
    _likely(data.without_activation, "model", "outputs", "histories", "process"),
)


def judge_setup(setup: Setup, flaws: Sequence[Flaw], alarms: Sequence[Finding]) -> list[Finding]:
    """A finding about the first flaw that is an alarm, and that no other finding tells.

    Args:
        setup: Of one model.
        flaws: As `find_flaws` has them.
        alarms: What was found before, with the causes that flaws gave it.
    """
    share = explained_by(setup.outputs)
    little = setup.progress.steps >= limit.STALLED_STEPS and share is not None and share < limit.LITTLE_EXPLAINED
    well = learned_well(setup.outputs)
    for flaw in flaws:
        if any(one.cause == flaw.cause or one.cause.kind is flaw.cause.kind for one in alarms):
            return []
        if flaw.by_itself or (little and not alarms):
            return [
                Finding(
                    rule=Rule.TRAINING_SETUP,
                    # Each batch of one class is easy by itself: the loss does not tell what is forgotten.
                    severity="info" if well and flaw.cause.kind is not CauseKind.DATA_ORDER else "warning",
                    cause=flaw.cause,
                    consequence=setup.progress.consequence,
                    loss=setup.progress.loss,
                    remedies=remedies.for_setup(flaw.cause),
                    evidence=TrainingSetup(model=setup.model, explained=share, by_itself=flaw.by_itself),
                )
            ]
    return []


def with_causes(findings: Sequence[Finding], flaws: Sequence[Flaw]) -> list[Finding]:
    """The same findings; alarms without a cause are given the first flaw, where there is one.

    Args:
        findings: About one model.
        flaws: As `find_flaws` has them.
    """
    return [_with_cause(one, flaws) for one in findings]


def _with_cause(finding: Finding, flaws: Sequence[Flaw]) -> Finding:
    if finding.severity == "info" or finding.rule in (Rule.EVAL_MODE, Rule.FROZEN):
        return finding
    chosen = next(_fitting(finding, flaws), None)
    if chosen is None:
        return finding
    return replace(finding, cause=chosen.cause, remedies=remedies.for_setup(chosen.cause), fixes=())


def _fitting(finding: Finding, flaws: Sequence[Flaw]) -> Iterator[Flaw]:
    unknown = finding.cause.kind is CauseKind.UNKNOWN
    for flaw in flaws:
        kind = flaw.cause.kind
        if finding.rule is Rule.UNTRAINED:
            fits = kind is CauseKind.GRADIENT_ACCUMULATION or kind in _STOPS
        elif finding.rule is Rule.WEIGHT_NORM:
            # It asks for decay itself.
            fits = kind is CauseKind.LOSS_TERM or flaw.by_itself or isinstance(flaw.cause.facts, LargeMomentum)
        elif finding.rule in _OF_MODELS:
            # A loss that came down from far above says nothing of what befell the model later.
            fits = not isinstance(flaw.cause.facts, LargeFirstLoss) or finding.rule is Rule.STANDING_STILL
        else:
            fits = (
                flaw.by_itself
                or isinstance(flaw.cause.facts, LargeMomentum)
                or (kind is CauseKind.INPUT_CONSTANT and finding.rule is not Rule.NON_FINITE)
            )
            # Terms and decay that outweigh the targets may silence units and gradients, too.
            fits |= unknown and (kind is CauseKind.LOSS_TERM or (kind is CauseKind.WEIGHT_DECAY and _came(finding)))
            fits |= finding.rule is Rule.SATURATED and isinstance(flaw.cause.facts, BoundedOutput)
            fits |= finding.rule in _BY_INPUTS and kind is CauseKind.INPUT_SCALE
            fits |= finding.rule is Rule.NON_FINITE and isinstance(flaw.cause.facts, InitialGain | EqualWeights)
        weak = finding.cause.kind in _GIVES_WAY and (flaw.by_itself or kind is CauseKind.LOSS_TERM)
        # Targets that no update can reach are measured, a large update is a guess.
        weak |= finding.cause.kind in _GIVES_WAY and isinstance(flaw.cause.facts, BoundedOutput)
        weak |= finding.cause.kind is CauseKind.DOWNSTREAM_CONSTANT and kind in _STOPS
        # A constant by construction makes samples alike, whatever the weights were.
        weak |= isinstance(flaw.cause.facts, OneElement)
        # Small weights make any update large, small inputs any sample alike.
        weak |= finding.cause.kind is CauseKind.LEARNING_RATE and isinstance(flaw.cause.facts, InitialGain)
        weak |= finding.rule in _BY_INPUTS and kind is CauseKind.INPUT_SCALE
        # What overflows at once does so by the weights that it meets.
        at_once = finding.rule is Rule.NON_FINITE and finding.since is not None and finding.since <= 1
        weak |= at_once and finding.cause.kind is CauseKind.NUMERICAL_OPERATION and kind is CauseKind.INITIAL_WEIGHTS
        if fits and (weak or (unknown and _explains_unknown(finding, flaw))):
            yield flaw


def _came(finding: Finding) -> bool:
    """Whether a gradient that vanishes did not do so from the start: decay then follows from it."""
    way = finding.evidence
    return isinstance(way, GradientWay) and way.delta_first_over_last_at_start > limit.VANISHED_RATIO


def _explains_unknown(finding: Finding, flaw: Flaw) -> bool:
    """Of what is not finite without a known reason, weights at the start are one at the first steps only.

    What was so from the start has no reason that came later.
    """
    if isinstance(finding.cause.facts, AlikeFromTheStart) and flaw.cause.kind not in _AT_THE_START:
        return False
    of_start = finding.rule is Rule.NON_FINITE and not flaw.by_itself
    return not of_start or (finding.since is not None and finding.since <= 1)
