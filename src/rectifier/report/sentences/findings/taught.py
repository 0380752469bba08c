"""Texts about units that fire but get no gradient, and about frozen layers."""

from rectifier._formatting import counted
from rectifier.records import Finding, FrozenLayers, SiteRef, StarvedLayer, StarvedUnits
from rectifier.report.sentences.findings import advice, parameters
from rectifier.report.sentences.findings.advice import units
from rectifier.report.sentences.findings.words import Texts, no_progress

_MOST_LABELS = 6
"""Layers that one sentence lists."""


def starved_layer(finding: Finding, evidence: StarvedLayer) -> Texts:
    """`starved`: a whole layer."""
    assert finding.site is not None
    if evidence.everything:
        cause = "no activation of this network gets one: the loss does not depend on them, or its gradient is exactly 0"
    elif evidence.exact_zero:
        cause = "a later operation masks this layer or multiplies it by 0; other layers get a gradient"
    else:
        cause = "a later operation detaches this layer, or the loss does not use it; other layers get a gradient"
    return Texts(
        title=f"{finding.site.label} gets no gradient although its units fire",
        detail=f"{'∂L/∂z was exactly 0 at each' if evidence.exact_zero else 'No gradient arrived at any'} of the "
        f"{evidence.steps:,} sampled steps from {evidence.first_step:,} to {evidence.last_step:,}, while the loss was "
        f"not 0.{no_progress(finding)}",
        cause=cause,
        to_do=units.STARVED if finding.severity == "warning" else units.STARVED_BY_DESIGN,
        name_first=True,
    )


def starved_units(finding: Finding, evidence: StarvedUnits) -> Texts:
    """`starved`: some units of a layer."""
    assert finding.site is not None
    return Texts(
        title=f"{finding.site.label}: {evidence.starved} of {evidence.units:,} units fire and get no gradient",
        detail=f"The gradient of their biases was exactly 0 at each of the {evidence.steps:,} sampled steps from "
        f"{evidence.first_step:,} to {evidence.last_step:,}, while other units of the layer got one.",
        cause="a later operation masks or prunes these units, or the loss does not use them",
        to_do=units.STARVED_BY_DESIGN,
        name_first=True,
    )


def frozen_layers(finding: Finding, evidence: FrozenLayers) -> Texts:
    """`frozen`."""
    unasked, still = evidence.without_history, evidence.without_update
    more = " …" if evidence.sites > _MOST_LABELS else ""
    parts = []
    if evidence.parameters:
        have = "has" if evidence.parameters == 1 else "have"
        parts.append(
            f"{counted(evidence.parameters, 'parameter')} {have} requires_grad=False ({evidence.elements:,} elements): "
            f"{parameters.listed_places(evidence.places)}."
        )
    if unasked:
        parts.append(f"No gradient is requested below {_labels(unasked)}: units there are not judged.")
    if still:
        parts.append(
            f"The weights that feed {_labels(still)} did not move at any sampled step, although a gradient arrived."
        )
    title = f"{counted(evidence.sites, 'layer is', 'layers are')} frozen: {_labels((*unasked, *still))}{more}"
    if not evidence.sites:
        title = f"{counted(evidence.parameters, 'parameter is', 'parameters are')} frozen"
    return Texts(
        title=title,
        detail=" ".join(parts),
        cause="requires_grad=False, a learning rate of 0, or weights that no optimizer holds"
        if still
        else "requires_grad=False, or a part that runs without gradients (torch.no_grad)",
        to_do=advice.UNTOUCHED,
    )


def _labels(sites: tuple[SiteRef, ...]) -> str:
    return ", ".join(site.label for site in sites[:_MOST_LABELS])
