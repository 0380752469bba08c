"""Findings about NaN and infinities; looked at first, because NaN compares false with everything."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.history.progress import judge_progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.not_finite.causes import find_cause
from rectifier.diagnosis.training.not_finite.first import First, Places, find_places
from rectifier.records import (
    Finding,
    NotFinite,
    Origin,
    ParameterRef,
    Process,
    Rule,
    Series,
    Severity,
    SiteRef,
)


def judge_finiteness(process: Process, histories: Sequence[SiteHistory], loss: Series) -> list[Finding]:
    """The first place that was not finite, in the order of a training step.

    Args:
        process: What one process wrote.
        histories: Of all models of it.
        loss: What was back-propagated.
    """
    places = find_places(process, histories, loss)
    first = places.first
    if first is None:
        return []
    cause = find_cause(first, places, process, histories)
    severity = _severity(first, places, loss, process)
    finite = loss.values[np.isfinite(loss.values) & (loss.steps < first.step)]
    facts = places.inputs if first.origin is Origin.INPUT else None
    return [
        Finding(
            rule=Rule.NON_FINITE,
            severity=severity,
            site=_site(first),
            cause=cause,
            since=first.step,
            remedies=remedies.for_not_finite(cause) if severity != "info" else (),
            fixes=remedies.lines_for_not_finite(cause) if severity != "info" else (),
            evidence=NotFinite(
                step=first.step,
                sites_affected=places.sites,
                losses=len(places.bad_losses),
                activations_observed=any(first.step in other.steps() for other in histories),
                last_finite_loss=float(finite[-1]) if len(finite) else None,
                origin=first.origin,
                known_losses=_known(loss),
                parameters_affected=places.parameters,
                gradients_affected=places.gradients,
                parameter=first.parameter,
                input_samples=None if facts is None else facts.nonfinite_samples,
                input_samples_counted=None if facts is None else facts.samples,
                steps_skipped=places.skipped,
                steps_taken=places.taken,
            ),
        )
    ]


def _known(loss: Series) -> int:
    """How many losses there were; of a long run not every one is kept."""
    if loss.every == 1 or not len(loss.steps):
        return len(loss.steps)
    return int(loss.steps[-1] - loss.steps[0]) + 1


def _site(first: First) -> SiteRef | ParameterRef | None:
    if first.history is not None:
        return first.history.ref
    return ParameterRef(first.parameter) if first.parameter else None


def _severity(first: First, places: Places, loss: Series, process: Process) -> Severity:
    """Single losses that are not finite do no harm where everything else stays finite and the training goes on."""
    only_losses = first.origin is Origin.LOSS and not places.sites and not places.parameters
    goes_on = not places.skips_for_ever and judge_progress(loss).state == "some"
    if only_losses and goes_on:
        # Of several losses a step, one that is not finite makes their mean so.
        counts, observed = model_causes.last_counts(process.snapshots), process.snapshots[-1].cost.observed_steps
        single = counts is None or counts.backward_passes <= observed + 1
        mostly = single and len(places.bad_losses) > limit.MOSTLY_NOT_FINITE * len(loss.values)
        return "warning" if mostly else "info"
    return "serious"
