"""What is said of units that stay on one side of their activation."""

from rectifier._formatting import counted, percent
from rectifier.records import (
    AlwaysOnUnits,
    Cause,
    Finding,
    InputOffset,
    InputScale,
    LargeBias,
    LargeUpdate,
    LinearLayer,
    SaturatedFromTheStart,
    SaturatedUnits,
)
from rectifier.report.sentences.findings.advice import units
from rectifier.report.sentences.findings.causes import UNKNOWN, of_death, of_model
from rectifier.report.sentences.findings.words import Texts, no_progress


def saturated_units(finding: Finding, evidence: SaturatedUnits) -> Texts:
    """`saturated`."""
    assert finding.site is not None
    label, told = finding.site.label, []
    if evidence.saturated:
        told.append(
            f"Their slope was below 1% of its maximum on at least 99% of the last {evidence.visits:,} observed samples."
        )
    if evidence.pair_fraction is not None and evidence.pairs is not None:
        told.append(
            f"Over the last {evidence.pairs:,} (sample, unit) pairs it was so in {percent(evidence.pair_fraction)}."
            if evidence.saturated
            else f"The slope was below 1% of its maximum in {percent(evidence.pair_fraction)} of the last "
            f"{evidence.pairs:,} (sample, unit) pairs."
        )
    return Texts(
        title=f"{label}: {evidence.saturated} of {evidence.units:,} units saturated"
        if evidence.saturated
        else f"{label}: {percent(evidence.pair_fraction or 0.0)} saturated",
        detail=f"{' '.join(told)}{no_progress(finding)}",
        cause=_why_saturated(finding.cause),
        to_do=units.for_saturation(finding.cause) if finding.severity != "info" else units.SATURATED_IN_PROGRESS,
        name_first=True,
    )


def _why_saturated(cause: Cause) -> str:
    match cause.facts:
        case SaturatedFromTheStart() as facts:
            if not facts.saturated_at_first:
                return "initialisation: it was so in the first window already, so the weights began large"
            share = f"{facts.saturated_at_first} of them were so in the first window already"
            return f"initialisation: {share}, so their weights began large"
        case LargeUpdate() as facts:
            size = percent(facts.update)
            return (
                f"the weights moved too far: at step {facts.update_step:,} an update moved them by {size} of their norm"
            )
        case InputScale() | InputOffset() | LargeBias():
            return of_model(cause)
    return f"{UNKNOWN}: large weights, or inputs on a large scale, do this"


def always_on_units(finding: Finding, evidence: AlwaysOnUnits) -> Texts:
    """`always-on`."""
    assert finding.site is not None
    whole = " The layer is linear." if evidence.always_on == evidence.units else ""
    are = "unit is" if evidence.units == 1 else "units are"
    return Texts(
        title=f"{finding.site.label}: {evidence.always_on} of {evidence.units:,} {are} always on",
        detail=f"Their output stayed above {evidence.value_at_zero:g} at every position of the last "
        f"{evidence.least_visits:,} observed samples (visits, not distinct samples): {evidence.activation} is linear "
        f"there.{whole}",
        cause="not asked: these units have a gradient",
        to_do=units.ALWAYS_ON,
        name_first=True,
    )


def linear_layer(finding: Finding, evidence: LinearLayer) -> Texts:
    """`constant-layer`."""
    assert finding.site is not None
    rest, number = evidence.units - evidence.off - evidence.on, evidence.off + evidence.on
    what = "constant" if evidence.off == evidence.units else "linear"
    return Texts(
        title=f"{finding.site.label} is {what}: {number:,} of {counted(evidence.units, 'unit')} never switch on or off",
        detail=f"On the last {evidence.visits:,} observed samples {evidence.off:,} units were off throughout and "
        f"{evidence.on:,} on throughout; {rest:,} switched.{no_progress(finding)}",
        cause=of_model(finding.cause) if finding.cause.facts is None else of_death(finding.cause),
        to_do=units.for_linear_layer(finding.cause),
        name_first=True,
    )
