"""The finding about a network that gives every sample almost the same answer while its units still fire.

The last activation stands for the output: what follows it is linear in most networks, and can tell apart no more than
it is given. A network cut by a silent layer has a finding of its own.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.history.chains import longest_chain
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.signal.start import poor_way, way_at_start
from rectifier.records import (
    AlikeFromTheStart,
    AlikeSince,
    Cause,
    CauseKind,
    Consequence,
    ConstantOutput,
    Finding,
    FloatArray,
    IntArray,
    LargeUpdate,
    Rule,
    Signal,
    WayAtStart,
)


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
    offset = model_causes.offset_of(last.snapshots[-1])
    shared = offset is not None and offset > limit.LARGE_OFFSET
    if not stalled and not (progress.settled and (shared or _is_cut_off(histories))):
        # It learned something: the last activation may be a gate beside the path that matters.
        return []
    cause = _cause(last, histories, steps, variation)
    return [
        Finding(
            rule=Rule.CONSTANT_PREDICTOR,
            severity="serious",
            site=last.ref,
            cause=cause,
            since=cause.facts.onset if isinstance(cause.facts, AlikeSince | LargeUpdate) else None,
            consequence=Consequence.NO_PROGRESS if stalled else Consequence.SETTLED,
            loss=progress.loss,
            remedies=remedies.for_constant_predictor(cause),
            evidence=ConstantOutput(
                variation=float(np.median(recent)),
                largest_variation=float(recent.max()),
                observed_steps=len(recent),
            ),
        )
    ]


def _is_cut_off(histories: Sequence[SiteHistory]) -> bool:
    """Whether hardly any gradient reaches the first activation, of a loss that lives."""
    chain = longest_chain(histories)
    if not chain:
        return False
    first, last = chain[0].delta(), chain[-1].delta()
    first, last = first[np.isfinite(first)], last[np.isfinite(last)]
    if not len(first) or not len(last):
        return False
    n = limit.LEAST_OBSERVATIONS
    return bool(np.median(first[-n:]) < limit.VANISHED_RATIO * np.median(last[-n:]))


def _cause(last: SiteHistory, histories: Sequence[SiteHistory], steps: IntArray, variation: FloatArray) -> Cause:
    of_inputs = model_causes.of_inputs(last.snapshots[-1])
    if of_inputs is not None and of_inputs.kind is CauseKind.INPUT_SCALE:
        return of_inputs
    began = way_at_start(histories)
    way = None
    if began is not None and poor_way(*began) is Signal.VANISHES:
        way = WayAtStart(sensitivity=began[0], gradient_at_start=began[1])
    if variation[0] < limit.CONSTANT_VARIANCE or way is not None:
        widths = [history.site.units for history in histories if history.site.units is not None]
        facts = AlikeFromTheStart(
            first_step=int(steps[0]),
            variation_at_start=float(variation[0]),
            sites=len(histories),
            narrowest_width=min(widths, default=None),
            way=way,
        )
        if way is None and len(histories) < limit.LAYERS_THAT_MAKE_ALIKE:
            # One or two layers do it only by weights or biases on an unusual scale, which have a cause of their own.
            return Cause(facts=facts)
        return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=facts)
    onset = int(steps[np.flatnonzero(variation >= limit.CONSTANT_VARIANCE).max() + 1])
    return model_causes.of_large_update(histories, onset) or Cause(facts=AlikeSince(onset=onset))
