"""Findings about NaN and infinities; looked at first, because NaN compares false with everything."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import advice
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.history import SiteHistory
from rectifier.diagnosis.words import update_words
from rectifier.records import Finding, Series


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
    before = f" The last finite loss before it was {finite[-1]:.4g}." if len(finite) else ""
    cause, evidence = _cause(histories, step)
    cause, evidence = _with_inputs(histories, cause, evidence)
    return [
        Finding(
            name="non-finite",
            severity="serious",
            site=history.site.label if history is not None else None,
            title=f"{'the loss' if history is None else f'the output of {history.site.label}'} held NaN or an infinity "
            f"at step {step:,}",
            detail=f"{_how_first(histories, history, step)}{before}",
            cause=cause,
            advice=advice.NON_FINITE_LOSS if cause.startswith("cause unknown") and of_loss else advice.NON_FINITE,
            evidence={
                "step": step,
                "sites_affected": len({index for _, index, _ in places}),
                "losses": len(losses),
                **evidence,
            },
        )
    ]


def _how_first(histories: Sequence[SiteHistory], history: SiteHistory | None, step: int) -> str:
    rest = "From there on other numbers of this run mean little, and units are judged by what came before."
    if history is not None:
        return f"No observed activation was not finite before it. {rest}"
    if any(step in other.steps() for other in histories):
        return f"All observed activations of that step were finite: it began behind the last of them. {rest}"
    return f"The activations of that step were not observed. {rest}"


def _with_inputs(
    histories: Sequence[SiteHistory], cause: str, evidence: dict[str, float | int | str | None]
) -> tuple[str, dict[str, float | int | str | None]]:
    """Inputs on a large scale are what makes the first layer's gradients, and so its updates, large."""
    scale = histories[0].snapshots[-1].input_rms if histories else None
    if scale is None or not np.isfinite(scale) or scale <= limit.LARGE_INPUT:
        return cause, evidence
    text = f"input scale: the root mean square of the inputs is {scale:.3g}; {cause}"
    return text, {**evidence, "cause": "input", "input_rms": scale}


def _cause(histories: Sequence[SiteHistory], step: int) -> tuple[str, dict[str, float | int | str | None]]:
    """The largest relative update before it, where that was large by itself or a spike."""
    worst: tuple[float, float, int, str, int] | None = None
    for history in histories:
        earlier = history.steps() < step
        steps, updates = history.steps()[earlier], history.update()[earlier]
        known = np.isfinite(updates)
        if not known.any():
            # An update that is itself not finite tells nothing that the finding does not.
            continue
        steps, updates = steps[known][-limit.LEAST_OBSERVATIONS :], updates[known]
        size, median = float(updates[-limit.LEAST_OBSERVATIONS :].max()), float(np.median(updates))
        at = int(steps[int(updates[-limit.LEAST_OBSERVATIONS :].argmax())])
        if worst is None or size > worst[0]:
            worst = (size, size / median if median > 0 else 1.0, at, history.site.label, len(updates))
    if worst is None or (worst[0] < limit.LARGE_UPDATE and worst[1] < limit.UPDATE_SPIKE):
        return "cause unknown: the first place names the layer, not the reason", {"cause": "unknown"}
    size, factor, at, label, count = worst
    text = (
        f"the weights moved too far: at step {at:,} an update moved those that feed {label} by "
        f"{update_words(size, factor, count)}"
    )
    return text, {"cause": "update", "update_step": at, "update": size, "update_over_median": factor}
