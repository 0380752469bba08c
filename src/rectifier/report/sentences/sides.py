"""What is said of units that stay on one side of their activation."""

from rectifier._formatting import percent
from rectifier.records import (
    AlwaysOnUnits,
    Cause,
    Consequence,
    Finding,
    InputScale,
    LargeUpdate,
    SaturatedFromTheStart,
    SaturatedUnits,
)
from rectifier.report.sentences import advice
from rectifier.report.sentences.causes import UNKNOWN
from rectifier.report.sentences.words import Texts, input_scale, no_progress


def saturated_units(finding: Finding, evidence: SaturatedUnits) -> Texts:
    """`saturated`."""
    assert finding.site is not None
    stalled = finding.consequence is Consequence.NO_PROGRESS
    return Texts(
        title=f"{finding.site.label}: {evidence.saturated} of {evidence.units:,} units saturated",
        detail="Their slope was below 1% of its maximum on at least 99% of the last "
        f"{evidence.visits:,} samples counted.{no_progress(finding)}",
        cause=_why_saturated(finding.cause),
        advised=advice.SATURATED if stalled else advice.SATURATED_IN_PROGRESS,
        name_first=True,
    )


def _why_saturated(cause: Cause) -> str:
    match cause.facts:
        case InputScale() as facts:
            return input_scale(facts.input_rms)
        case SaturatedFromTheStart() as facts:
            share = f"{facts.saturated_at_first} of them were so in the first window already"
            return f"initialisation: {share}, so their weights began large"
        case LargeUpdate() as facts:
            size = percent(facts.update)
            return (
                f"the weights moved too far: at step {facts.update_step:,} an update moved them by {size} of their norm"
            )
    return f"{UNKNOWN}: large weights, or inputs on a large scale, do this"


def always_on_units(finding: Finding, evidence: AlwaysOnUnits) -> Texts:
    """`always-on`."""
    assert finding.site is not None
    whole = " The layer is linear." if evidence.always_on == evidence.units else ""
    are = "unit is" if evidence.units == 1 else "units are"
    return Texts(
        title=f"{finding.site.label}: {evidence.always_on} of {evidence.units:,} {are} always on",
        detail=f"Their output stayed above {evidence.value_at_zero:g} at every position of the last "
        f"{evidence.least_visits:,} samples counted (visits, not distinct samples): {evidence.activation} is linear "
        f"there.{whole}",
        cause="not asked: these units have a gradient",
        advised=advice.ALWAYS_ON,
        name_first=True,
    )
