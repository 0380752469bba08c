"""The finding about how a network began: what came through it, forward and back, at the first counted step.

The same rule that `rectifier check` applies before training. In a training it is information, unless nothing is learned
and no other finding says why.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.history.chains import longest_chain
from rectifier.diagnosis.training.history.outputs import OutputHistory
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import AlikeAtStart, Cause, CauseKind, Consequence, Finding, PoorStart, Rule, Signal


def poor_way(forward: float, backward: float) -> Signal | None:
    """Whether differences between samples and the gradient all but vanish both, or both explode.

    Args:
        forward: Spread of the last activation between samples over that of the input.
        backward: ‖∂L/∂z‖ of the first activation over the last. Exactly 0 is a silent layer's doing.
    """
    if max(forward, backward) < limit.POOR_SENSITIVITY and backward > 0:
        return Signal.VANISHES
    return Signal.EXPLODES if min(forward, backward) > 1 / limit.POOR_SENSITIVITY else None


def way_at_start(histories: Sequence[SiteHistory]) -> tuple[float, float] | None:
    """(forward, backward) of `poor_way` at the first counted step; None where either is unknown.

    Args:
        histories: Of one model, in the order of their first call.
    """
    histories = longest_chain(histories)
    if len(histories) < 2:
        return None
    forward, backward = _sensitivity(histories), _gradient(histories)
    return None if forward is None or backward is None else (forward, backward)


def judge_start(histories: Sequence[SiteHistory], progress: Progress, *, explained: bool) -> list[Finding]:
    """Whether the signal vanished or exploded both ways at the first counted step.

    Args:
        histories: Of one model, in the order of their first call.
        progress: Of its training.
        explained: Whether another finding about the whole network says already why it does not progress.
    """
    chain, began = longest_chain(histories), way_at_start(histories)
    if began is None:
        return []
    poor = poor_way(*began)
    if poor is None and progress.state == "none" and progress.steps >= limit.STALLED_STEPS:
        poor = poor_per_layer(*began, len(chain))
    if poor is None:
        return []
    forward, backward = began
    alarm = progress.state == "none" and not explained
    return [
        Finding(
            rule=Rule.POOR_INITIALISATION,
            severity="warning" if alarm else "info",
            cause=Cause(kind=CauseKind.INITIAL_WEIGHTS),
            consequence=progress.consequence if alarm else Consequence.NOT_ASKED,
            loss=progress.loss,
            remedies=remedies.VANISHING if poor is Signal.VANISHES else remedies.EXPLODING,
            evidence=PoorStart(
                signal=poor,
                sensitivity=forward,
                gradient_first_over_last=backward,
                sites=len(chain),
                first_step=int(chain[0].steps()[0]),
                first=chain[0].ref,
                last=chain[-1].ref,
            ),
        )
    ]


def poor_per_layer(forward: float, backward: float, sites: int) -> Signal | None:
    """Whether several layers each lose, or add, so much that it matters where nothing is learned.

    Args:
        forward: As in `poor_way`.
        backward: Likewise.
        sites: Activations on the way.
    """
    if sites < limit.SEVERAL_LAYERS or forward <= 0 or backward <= 0:
        return None
    factors = forward ** (1 / sites), backward ** (1 / (sites - 1))
    if min(factors) < limit.POOR_FACTOR:
        return Signal.VANISHES
    return Signal.EXPLODES if max(factors) > limit.LARGE_FACTOR else None


def judge_alike(
    outputs: Sequence[OutputHistory], histories: Sequence[SiteHistory], progress: Progress
) -> list[Finding]:
    """Whether rows looked alike to the last layer at the first reading, in a training that learns nothing.

    Alone it is nothing to tell: 6 default layers of 128 on digits have a mean cosine of .999 and train well.

    Args:
        outputs: Of one model.
        histories: Its sites.
        progress: Of its training.
    """
    if progress.state != "none" or progress.steps < limit.STALLED_STEPS or not histories:
        return []
    for one in outputs:
        cosine, steps = one.floats("features_cosine"), one.ints("steps")
        known = np.flatnonzero(one.usable & np.isfinite(cosine))
        if not len(known) or steps[known[0]] > 0 or cosine[known[0]] <= limit.SIMILAR:
            continue
        if not (cosine[known[-limit.LEAST_OBSERVATIONS :]] > limit.SIMILAR).all():
            # What was so at the start is history.
            continue
        cause = model_causes.of_inputs(one.snapshot) or Cause(kind=CauseKind.INITIAL_WEIGHTS)
        return [
            Finding(
                rule=Rule.POOR_INITIALISATION,
                severity="warning",
                cause=cause,
                consequence=progress.consequence,
                loss=progress.loss,
                remedies=remedies.for_constant_predictor(cause)[:1],
                evidence=AlikeAtStart(
                    output=one.output.weight,
                    cosine=float(cosine[known[0]]),
                    cosine_at_end=float(np.median(cosine[known[-limit.LEAST_OBSERVATIONS :]])),
                    rows=int(one.ints("rows")[known[0]]),
                ),
            )
        ]
    return []


def _sensitivity(histories: Sequence[SiteHistory]) -> float | None:
    end = histories[-1].snapshots[-1]
    spread = histories[-1].spread_at_start
    if spread is None or end.input_rms is None or end.input_offset is None:
        return None
    # Of γ = ‖μ‖/‖σ‖ and the mean square μ² + σ² follows σ.
    given = end.input_rms / float(np.sqrt(1 + end.input_offset**2))
    return float(np.sqrt(spread)) / given if given > 0 else None


def _gradient(histories: Sequence[SiteHistory]) -> float | None:
    first, last = histories[0].delta(), histories[-1].delta()
    first, last = first[np.isfinite(first)], last[np.isfinite(last)]
    return float(first[0] / last[0]) if len(first) and len(last) and last[0] > 0 else None
