"""The finding about targets that the last activation before the loss cannot give."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.outputs import OutputHistory
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.records import Cause, CauseKind, Finding, Rule, TargetsOutOfReach

_REACHES = {"Relu": (0.0, None), "Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softmax": (0.0, 1.0)}
"""Between which values an activation's lie; None for no bound."""


def judge_reach(outputs: Sequence[OutputHistory], progress: Progress) -> list[Finding]:
    """Targets that the last activation before the loss cannot give, whatever is learned.

    Args:
        outputs: Of one model.
        progress: Of its training.
    """
    return [finding for one in outputs if (finding := _out_of_reach(one, progress)) is not None]


def _out_of_reach(output: OutputHistory, progress: Progress) -> Finding | None:
    shares = output.out_of_reach[output.usable & np.isfinite(output.out_of_reach)]
    activation = next((name for name in output.output.loss if name in _REACHES), None)
    if len(shares) < limit.LEAST_OBSERVATIONS or activation is None:
        return None
    share = float(np.median(shares))
    if share < limit.TARGETS_OUT_OF_REACH:
        return None
    cause = Cause(kind=CauseKind.OUTPUT_ACTIVATION)
    return Finding(
        rule=Rule.OUTPUT_ACTIVATION,
        severity="warning",
        site=output.parameter,
        cause=cause,
        consequence=progress.consequence,
        loss=progress.loss,
        remedies=remedies.OUTPUT_ACTIVATION,
        evidence=TargetsOutOfReach(
            output=output.output.weight,
            activation=activation.lower(),
            share=share,
            readings=len(shares),
            lowest=_REACHES[activation][0],
            highest=_REACHES[activation][1],
        ),
    )
