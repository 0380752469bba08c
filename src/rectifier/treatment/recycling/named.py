"""Which units of which sites are meant by findings."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from rectifier.errors import CannotRecycle
from rectifier.hooks.modules import unwrapped
from rectifier.records import DeadUnits, Diagnosis, Finding, SiteRef
from rectifier.treatment.recycling.laboratory import Key


@dataclass(slots=True)
class Wanted:
    """Confirmed dead units by site, and what is to be said about the rest.

    Attributes:
        units: Path and call -> the site and its dead units.
        notes: About units that are only suspected.
    """

    units: dict[Key, tuple[SiteRef, tuple[int, ...]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read(findings: Any, model: nn.Module) -> Wanted:
    """Read findings.

    Args:
        findings: A `Finding`, several, a `Diagnosis`, or what has a `diagnose()`: a watch.
        model: The module that they are about.

    Raises:
        CannotRecycle: A site cannot be told, or is another model's.
    """
    watched = getattr(findings, "model", None)
    if isinstance(watched, nn.Module) and unwrapped(watched) is not model:
        raise CannotRecycle(
            f"The findings come from a watch of another {type(watched).__name__}: pass the model that was watched."
        )
    if hasattr(findings, "diagnose"):
        findings = findings.diagnose()
    if isinstance(findings, Diagnosis):
        findings = findings.findings
    listed: list[Any] = [*findings] if isinstance(findings, Iterable) else [findings]
    if not all(isinstance(finding, Finding) for finding in listed):
        raise CannotRecycle(
            "findings= takes what a watch found: recycle(model, optimizer, watch, batch=…), watch.diagnose(), or a "
            "list of its findings."
        )
    wanted = Wanted()
    for finding in listed:
        evidence, site = finding.evidence, finding.site
        if not isinstance(evidence, DeadUnits) or not isinstance(site, SiteRef):
            continue
        if not evidence.dead:
            wanted.notes.append(f"{site.label}: {len(finding.units)} units are only suspected dead, and stay.")
            continue
        if evidence.suspected:
            wanted.notes.append(f"{site.label}: {evidence.suspected} more units are only suspected dead, and stay.")
        key = key_of(site, model)
        before = wanted.units.get(key, (site, ()))[1]
        wanted.units[key] = (site, tuple(sorted({*before, *finding.units})))
    return wanted


def key_of(site: SiteRef, model: nn.Module) -> Key:
    """Path and call of a site in a model.

    Raises:
        CannotRecycle: The site is another model's.

    Example:
        >>> key_of(SiteRef(model="Sequential", path="1", call=1), nn.Sequential(nn.Linear(3, 5), nn.ReLU()))
        ('1', 1)
    """
    name = type(model).__name__
    other = site.names_model and site.model_class != name
    if other or site.path not in {path for path, _ in model.named_modules()}:
        raise CannotRecycle(f"{name} has no place called {site.label}: the findings are about another model.")
    if site.names_model and site.number > 1:
        raise CannotRecycle(
            f"{site.label} is a site of the {name} that was met as number {site.number}; whether that is this one "
            "cannot be told. Take the findings from rectifier.watch(model)."
        )
    return site.path, site.call
