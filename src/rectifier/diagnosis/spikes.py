"""The finding about a gradient that explodes in time: one step far above all before it, that moved the weights far.

Clipping hides it from every gradient that is looked at later, so what `clip_grad_norm_` measured is asked first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rectifier.diagnosis import advice
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.history import SiteHistory
from rectifier.diagnosis.progress import Progress
from rectifier.diagnosis.words import percent, times
from rectifier.records import Finding, FloatArray, IntArray, Series, Severity


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
    layer: str


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
    steps, norms, what = clipped.steps, clipped.values, "the gradient's norm before clipping"
    if len(norms) <= limit.LEAST_OBSERVATIONS:
        reached = next((history for history in histories if np.isfinite(history.delta()).any()), None)
        if reached is None:
            return []
        steps, norms, what = reached.steps(), reached.delta(), f"‖∂L/∂z‖ at {reached.site.label}"
    spikes = _spikes(steps, norms, histories)
    if not spikes:
        return []
    worst, first = max(spikes, key=lambda spike: spike.factor), spikes[0]
    severity, then, evidence = _what_followed(first.step, loss, progress)
    several = f" It was so at {len(spikes):,} steps, first at step {first.step:,}." if len(spikes) > 1 else ""
    return [
        Finding(
            name="exploding-gradient",
            severity=severity,
            title=f"the gradient exploded at step {worst.step:,}: {times(worst.factor)} its running median",
            detail=f"There {what} was {worst.norm:.3g}, and one update moved the weights that feed {worst.layer} by "
            f"{percent(worst.update)} of their norm.{several}{then}",
            cause=_cause(worst, histories),
            advice=advice.SPIKE,
            evidence={
                "step": worst.step,
                "first_step": first.step,
                "spikes": len(spikes),
                "gradient_norm": worst.norm,
                "gradient_over_median": worst.factor,
                "update": worst.update,
                "cause": "update",
                "before_clipping": int(len(clipped.values) > limit.LEAST_OBSERVATIONS),
                **evidence,
            },
        )
    ]


def _spikes(steps: IntArray, norms: FloatArray, histories: Sequence[SiteHistory]) -> list[_Spike]:
    finite = np.isfinite(norms)
    steps, norms = steps[finite], norms[finite]
    moved = _largest_updates(histories)
    found = []
    for position in range(limit.LEAST_OBSERVATIONS, len(norms)):
        step, norm = int(steps[position]), float(norms[position])
        update, layer = moved.get(step, (0.0, ""))
        # The update is asked first: few steps have a large one, and a median costs more.
        if update <= limit.LARGE_UPDATE:
            continue
        median = float(np.median(norms[:position]))
        if median > 0 and norm > limit.GRADIENT_SPIKE * median:
            found.append(_Spike(step, norm, norm / median, update, layer))
    return found


def _largest_updates(histories: Sequence[SiteHistory]) -> dict[int, tuple[float, str]]:
    largest: dict[int, tuple[float, str]] = {}
    for history in histories:
        for step, update in zip(history.steps().tolist(), history.update().tolist(), strict=True):
            # The first step of a weight that was exactly 0 is infinite, however small.
            if largest.get(step, (0.0, ""))[0] < update < np.inf:
                largest[step] = (update, history.site.label)
    return largest


def _what_followed(
    step: int, loss: Series, progress: Progress
) -> tuple[Severity, str, dict[str, float | int | str | None]]:
    """Whether the training got over it: the loss of its end against that before the first spike."""
    finite = np.isfinite(loss.values)
    before = loss.values[finite & (loss.steps <= step)][-limit.LEAST_LOSSES :]
    if not len(before) or not np.isfinite(progress.end):
        return "info", " Whether the loss came back could not be told.", {}
    level = float(np.median(before))
    evidence: dict[str, float | int | str | None] = {"loss_before": level, "loss_end": progress.end}
    if progress.end <= level + limit.PLATEAU_FRACTION * abs(level):
        return "info", f" The loss came back: {level:.4g} before it, {progress.end:.4g} at the end.", evidence
    if progress.state == "none":
        return "serious", f" Training does not progress: {progress.words}.", evidence
    return "warning", f" The loss has not come back: {level:.4g} before it, {progress.end:.4g} at the end.", evidence


def _cause(spike: _Spike, histories: Sequence[SiteHistory]) -> str:
    rates = [
        float(rate)
        for history in histories
        for step, rate in zip(history.steps(), history.learning_rate(), strict=True)
        if step == spike.step and np.isfinite(rate)
    ]
    rate = f"; the learning rate was {max(rates):.3g}" if rates else ""
    return f"the weights moved too far for the gradient they met{rate}; a single bad batch does the same"
