"""The finding about units of an output that are the same on every sample although their target varies."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.history.outputs import OutputHistory
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import Cause, CauseKind, DeadOutput, Finding, Rule


def judge_dead_output(
    outputs: Sequence[OutputHistory], histories: Sequence[SiteHistory], progress: Progress
) -> list[Finding]:
    """Units of an output that are the same on every sample although their target varies, whatever the loss does.

    Args:
        outputs: Of one model.
        histories: Its sites.
        progress: Of its training.
    """
    return [finding for one in outputs if (finding := _dead_output(one, histories, progress)) is not None]


def is_output_of(history: SiteHistory, output: OutputHistory) -> bool:
    """Whether a site is the activation that follows an output's layer."""
    return history.at_output and (history.site.model, history.site.fed_by) == output.output.ref


def _dead_output(output: OutputHistory, histories: Sequence[SiteHistory], progress: Progress) -> Finding | None:
    wrong = output.ints("wrongly_constant_units")
    at = np.flatnonzero(output.usable & (wrong >= 0))
    all_steps = output.ints("steps")
    least = int((all_steps[at] > all_steps[at[-1]] - limit.STALLED_STEPS).sum()) if len(at) else 0
    last = at[-max(least, limit.LEAST_OBSERVATIONS, len(at) // 3) :]
    if len(last) < limit.LEAST_OBSERVATIONS:
        return None
    # A batch may hold no row on which a unit fires: what is so in each of the last readings counts.
    number = int(wrong[last].min())
    site = next((one for one in histories if is_output_of(one, output)), None)
    if site is not None and site.states is not None and site.flat_when_silent:
        stuck = site.states.stuck
        number = min(number, int(stuck.sum()))
        units, indices = len(stuck), tuple(int(unit) for unit in np.flatnonzero(stuck))
    else:
        units, indices = output.output.units, ()
        if number == units or int(all_steps[at[-1]] - all_steps[at[0]]) < limit.STALLED_STEPS:
            # All of them: that is a collapsed output.
            return None
    if number <= 0:
        return None
    steps = all_steps[last]
    large = model_causes.of_large_update(histories, int(steps[0]))
    cause = Cause(kind=CauseKind.OUTPUT_ACTIVATION) if indices else large or Cause()
    return Finding(
        rule=Rule.DEAD_OUTPUT,
        severity="serious" if number == units and progress.state == "none" else "warning",
        site=site.ref if site is not None and indices else output.parameter,
        cause=cause,
        consequence=progress.consequence,
        loss=progress.loss,
        remedies=remedies.for_output(cause),
        # Of several silent units it is not told which ones' targets vary.
        units=indices if len(indices) == number else (),
        evidence=DeadOutput(
            output=output.output.weight,
            activation=site.site.activation if site is not None and indices else None,
            units=units,
            dead=number,
            first_step=int(steps[0]),
            last_step=int(steps[-1]),
            readings=len(steps),
        ),
    )
