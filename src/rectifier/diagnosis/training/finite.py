"""Findings about NaN and infinities; looked at first, because NaN compares false with everything."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history import SiteHistory
from rectifier.records import Cause, CauseKind, Finding, InputScale, LargeUpdate, NotFinite, Rule, Series


def judge_finiteness(histories: Sequence[SiteHistory], loss: Series) -> list[Finding]:
    """The first place that was not finite: a site's output, or the loss where it was before every site.

    Args:
        histories: Of all models of the process.
        loss: What was back-propagated.
    """
    places = [
        (window.nonfinite_step, history.index, history)
        for history in histories
        for window in history.windows
        if window.nonfinite_step is not None
    ]
    losses = loss.steps[~np.isfinite(loss.values)]
    if not places and not len(losses):
        return []
    # Within a step the loss comes after all outputs.
    of_loss = not places or (len(losses) > 0 and losses[0] < min(places)[0])
    step, history = (int(losses[0]), None) if of_loss else (min(places)[0], min(places)[2])
    finite = loss.values[np.isfinite(loss.values) & (loss.steps < step)]
    cause = _cause(histories, step)
    by_loss = of_loss and cause.kind is CauseKind.UNKNOWN
    return [
        Finding(
            rule=Rule.NON_FINITE,
            severity="serious",
            site=history.ref if history is not None else None,
            cause=cause,
            since=step,
            remedies=remedies.LOSS_NOT_FINITE if by_loss else remedies.NOT_FINITE,
            evidence=NotFinite(
                step=step,
                sites_affected=len({index for _, index, _ in places}),
                losses=len(losses),
                activations_observed=any(step in other.steps() for other in histories),
                last_finite_loss=float(finite[-1]) if len(finite) else None,
            ),
        )
    ]


def _cause(histories: Sequence[SiteHistory], step: int) -> Cause:
    """The largest relative update before it, where that was large by itself or a spike.

    Inputs on a large scale are what makes the first layer's gradients, and so its updates, large.
    """
    found = _largest_update(histories, step)
    scale = histories[0].snapshots[-1].input_rms if histories else None
    if scale is not None and np.isfinite(scale) and scale > limit.LARGE_INPUT:
        facts = InputScale(input_rms=scale) if found is None else replace(found, input_rms=scale)
        return Cause(kind=CauseKind.INPUT_SCALE, facts=facts)
    return Cause() if found is None else Cause(kind=CauseKind.LEARNING_RATE, facts=found)


def _largest_update(histories: Sequence[SiteHistory], step: int) -> LargeUpdate | None:
    worst: LargeUpdate | None = None
    for history in histories:
        earlier = history.steps() < step
        steps, updates = history.steps()[earlier], history.update()[earlier]
        known = np.isfinite(updates)
        if not known.any():
            # An update that is itself not finite tells nothing that the finding does not.
            continue
        steps, updates = steps[known][-limit.LEAST_OBSERVATIONS :], updates[known]
        latest, median = updates[-limit.LEAST_OBSERVATIONS :], float(np.median(updates))
        size = float(latest.max())
        if worst is None or size > worst.update:
            worst = LargeUpdate(
                update=size,
                update_step=int(steps[int(latest.argmax())]),
                layer=history.ref,
                update_over_median=size / median if median > 0 else 1.0,
                median_known=len(updates) >= limit.LEAST_OBSERVATIONS,
            )
    if worst is None or worst.update_over_median is None:
        return None
    large = worst.update >= limit.LARGE_UPDATE or worst.update_over_median >= limit.UPDATE_SPIKE
    return worst if large else None
