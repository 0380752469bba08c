"""The finding about a network that gives every sample almost the same answer while its units still fire.

The last activation stands for the output: what follows it is linear in most networks, and can tell apart no more than
it is given. A network cut by a silent layer has a finding of its own.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import advice
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.history import SiteHistory
from rectifier.diagnosis.progress import Progress
from rectifier.diagnosis.start import poor_way, way_at_start
from rectifier.diagnosis.words import percent
from rectifier.records import Finding, FloatArray, IntArray


def judge_predictor(histories: Sequence[SiteHistory], progress: Progress) -> list[Finding]:
    """Whether the last activation tells no sample from another, and the loss stands still.

    Args:
        histories: Of one model, in the order of their first call.
        progress: Of its training.
    """
    if not histories or progress.state == "unknown" or progress.steps < limit.STALLED_STEPS:
        return []
    last = histories[-1]
    distinct = last.snapshots[-1].distinct_samples
    if distinct is not None and distinct < 2:
        return []
    steps, variation = last.variation
    recent = variation[-limit.LEAST_OBSERVATIONS :]
    if len(recent) < limit.LEAST_OBSERVATIONS or not (recent < limit.CONSTANT_VARIANCE).all():
        return []
    stalled = progress.state == "none"
    offset = last.snapshots[-1].input_offset
    shared = offset is not None and offset > limit.LARGE_OFFSET
    if not stalled and not (progress.settled and (shared or _is_cut_off(histories))):
        # It learned something: the last activation may be a gate beside the path that matters.
        return []
    kind, cause, evidence = _cause(last, histories, steps, variation)
    still = "Training does not progress" if stalled else "The loss has stopped falling"
    return [
        Finding(
            name="constant-predictor",
            severity="serious",
            title=f"{last.site.label} gives every sample almost the same output",
            detail=f"At the last {len(recent)} counted steps {recent.max():.1e} of its output's mean square, at most, "
            f"differed between samples. {still}: {progress.words}.",
            site=last.site.label,
            cause=cause,
            advice=advice.CONSTANT_PREDICTOR[kind],
            evidence={"variation": float(np.median(recent)), "cause": kind, **evidence},
        )
    ]


def _is_cut_off(histories: Sequence[SiteHistory]) -> bool:
    """Whether hardly any gradient reaches the first activation, of a loss that lives."""
    first, last = histories[0].delta(), histories[-1].delta()
    first, last = first[np.isfinite(first)], last[np.isfinite(last)]
    if len(histories) < 2 or not len(first) or not len(last):
        return False
    n = limit.LEAST_OBSERVATIONS
    return bool(np.median(first[-n:]) < limit.VANISHED_RATIO * np.median(last[-n:]))


def _cause(
    last: SiteHistory, histories: Sequence[SiteHistory], steps: IntArray, variation: FloatArray
) -> tuple[str, str, dict[str, float | int | str | None]]:
    if (offset := last.snapshots[-1].input_offset) is not None and offset > limit.LARGE_OFFSET:
        text = (
            f"input offset: the mean of the inputs is {offset:.3g} times what differs between them (γ), so all samples "
            "look alike from the first layer on"
        )
        return "input", text, {"input_offset": offset}
    scale = last.snapshots[-1].input_rms
    if scale is not None and scale > limit.LARGE_INPUT:
        return "input", f"input scale: the root mean square of the inputs is {scale:.3g}", {"input_rms": scale}
    began = way_at_start(histories)
    vanished = began is not None and poor_way(*began) == "small"
    if variation[0] < limit.CONSTANT_VARIANCE or vanished:
        widths = [history.site.units for history in histories if history.site.units is not None]
        depth = f"{len(histories)} {'activation' if len(histories) == 1 else 'activations'}"
        through = f"{depth}, narrowest width {min(widths)}" if widths else depth
        what = (
            f"{began[0]:.1e} times the differences between samples came through, and {began[1]:.1e} of the gradient "
            "went back"
            if began is not None and vanished
            else f"{variation[0]:.1e} of the output differed between samples"
        )
        text = f"initialisation, depth and width: at step {int(steps[0]):,}, the first counted, {what} ({through})"
        return "initialisation", text, {"variation_at_start": float(variation[0])}
    onset = int(steps[np.flatnonzero(variation >= limit.CONSTANT_VARIANCE).max() + 1])
    largest = max(
        (
            (float(update), int(step), history.site.label)
            for history in histories
            for step, update in zip(history.steps(), history.update(), strict=True)
            if np.isfinite(update) and step <= onset
        ),
        default=None,
    )
    if largest is None or largest[0] < limit.LARGE_UPDATE:
        return "unknown", f"cause unknown: it came with training, at step {onset:,}", {"onset": onset}
    size, step, label = largest
    text = (
        f"the weights moved too far: at step {step:,} an update moved those that feed {label} by {percent(size)} of "
        f"their norm; from step {onset:,} on samples look alike"
    )
    return "update", text, {"onset": onset, "update": size, "update_step": step}
