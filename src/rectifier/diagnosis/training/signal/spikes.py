"""The finding about a gradient that explodes in time: one step far above all before it, that moved the weights far.

Clipping hides it from every gradient that is looked at later, so what `clip_grad_norm_` measured is asked first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import (
    Cause,
    CauseKind,
    Consequence,
    Finding,
    FloatArray,
    GradientSpike,
    IntArray,
    LearningRateThere,
    Rule,
    Series,
    Severity,
    SiteRef,
)


@dataclass(frozen=True)
class _Spike:
    """One step at which the gradient stood out and the weights moved far.

    Attributes:
        norm: Of the gradient at it.
        factor: `norm` over the median of those before.
        update: The largest ‖Δw‖/‖w‖ of any layer at it, and that layer.
    """

    step: int
    norm: float
    factor: float
    update: float
    layer: SiteRef


def judge_spikes(histories: Sequence[SiteHistory], clipped: Series, loss: Series, progress: Progress) -> list[Finding]:
    """Steps at which the gradient was more than 10 times its running median and an update moved a tenth of a weight.

    Either alone is nothing: a converged run has tiny gradients of which some are ten times the others, and a first
    step may move far.

    Args:
        histories: Of one model, in the order of their first call.
        clipped: Norms that `clip_grad_norm_` measured before it clipped, of this model alone; may be empty.
        loss: Of this model alone; may be empty.
        progress: Of the model's training.
    """
    steps, norms, measured_at = clipped.steps, clipped.values, None
    if len(norms) <= limit.LEAST_OBSERVATIONS:
        reached = next((history for history in histories if np.isfinite(history.delta()).any()), None)
        if reached is None:
            return []
        steps, norms, measured_at = reached.steps(), reached.delta(), reached.ref
    spikes = _spikes(steps, norms, histories)
    if not spikes:
        return []
    worst, first = max(spikes, key=lambda spike: spike.factor), spikes[0]
    severity, consequence, level = _what_followed(first.step, loss, progress)
    return [
        Finding(
            rule=Rule.EXPLODING_GRADIENT,
            severity=severity,
            cause=Cause(kind=CauseKind.LEARNING_RATE, facts=_learning_rate(worst, histories)),
            since=worst.step,
            consequence=consequence,
            loss=progress.loss,
            remedies=remedies.SPIKE,
            evidence=GradientSpike(
                step=worst.step,
                first_step=first.step,
                spikes=len(spikes),
                gradient_norm=worst.norm,
                gradient_over_median=worst.factor,
                update=worst.update,
                layer=worst.layer,
                before_clipping=measured_at is None,
                measured_at=measured_at,
                loss_before=level,
            ),
        )
    ]


def _spikes(steps: IntArray, norms: FloatArray, histories: Sequence[SiteHistory]) -> list[_Spike]:
    finite = np.isfinite(norms)
    steps, norms = steps[finite], norms[finite]
    moved = _largest_updates(histories)
    found = []
    for position in range(limit.LEAST_OBSERVATIONS, len(norms)):
        step, norm = int(steps[position]), float(norms[position])
        # The update is asked first: few steps have a large one, and a median costs more.
        if step not in moved or moved[step][0] <= limit.LARGE_UPDATE:
            continue
        update, layer = moved[step]
        median = float(np.median(norms[:position]))
        if median > 0 and norm > limit.GRADIENT_SPIKE * median:
            found.append(_Spike(step, norm, norm / median, update, layer))
    return found


def _largest_updates(histories: Sequence[SiteHistory]) -> dict[int, tuple[float, SiteRef]]:
    largest: dict[int, tuple[float, SiteRef]] = {}
    for history in histories:
        for step, update in zip(history.steps().tolist(), history.update().tolist(), strict=True):
            # The first step of a weight that was exactly 0 is infinite, however small.
            if (largest[step][0] if step in largest else 0.0) < update < np.inf:
                largest[step] = (update, history.ref)
    return largest


def _what_followed(step: int, loss: Series, progress: Progress) -> tuple[Severity, Consequence, float | None]:
    """Whether the training got over it: the loss of its end against that before the first spike."""
    finite = np.isfinite(loss.values)
    before = loss.values[finite & (loss.steps <= step)][-limit.LEAST_LOSSES :]
    if not len(before) or not np.isfinite(progress.end):
        return "info", Consequence.UNKNOWN, None
    level = float(np.median(before))
    if progress.end <= level + limit.PLATEAU_FRACTION * abs(level):
        return "info", Consequence.RECOVERED, level
    if progress.state == "none":
        return "serious", Consequence.NO_PROGRESS, level
    return "warning", Consequence.NOT_RECOVERED, level


def _learning_rate(spike: _Spike, histories: Sequence[SiteHistory]) -> LearningRateThere:
    rates = [
        float(rate)
        for history in histories
        for step, rate in zip(history.steps(), history.learning_rate(), strict=True)
        if step == spike.step and np.isfinite(rate)
    ]
    return LearningRateThere(learning_rate=max(rates, default=None))
