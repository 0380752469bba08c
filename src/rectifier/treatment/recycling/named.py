"""Which units of which sites are meant by findings."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from rectifier.errors import CannotRecycle
from rectifier.records import Diagnosis, Finding
from rectifier.sites.modules import unwrapped
from rectifier.treatment.recycling.laboratory import Key

_LABEL = re.compile(r"^(?P<where>.*?)(?: \(call (?P<call>\d+)\))?$")


@dataclass(slots=True)
class Wanted:
    """Confirmed dead units by site, and what is to be said about the rest.

    Attributes:
        units: Site -> its label and the dead units.
        notes: About units that are only suspected.
    """

    units: dict[Key, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
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
        if finding.name != "dead-units" or finding.site is None:
            continue
        if not finding.evidence.get("dead"):
            wanted.notes.append(f"{finding.site}: {len(finding.units)} units are only suspected dead, and stay.")
            continue
        if suspected := finding.evidence.get("suspected"):
            wanted.notes.append(f"{finding.site}: {suspected} more units are only suspected dead, and stay.")
        key = key_of(finding.site, model)
        before = wanted.units.get(key, ("", ()))[1]
        wanted.units[key] = (finding.site, tuple(sorted({*before, *finding.units})))
    return wanted


def key_of(label: str, model: nn.Module) -> Key:
    """Path and call of a site from its label in reports.

    Raises:
        CannotRecycle: No place of the model, or more than one, is called that.

    Example:
        >>> key_of("Sequential.1 (call 2)", nn.Sequential(nn.Linear(3, 5), nn.ReLU()))
        ('1', 1)
    """
    found = _LABEL.match(label)
    assert found is not None
    where, call = found["where"], int(found["call"] or 1) - 1
    name = type(model).__name__
    paths = {path for path, _ in model.named_modules()}
    candidates = [where] if where and where in paths else []
    own = re.fullmatch(rf"{re.escape(name)}(#\d+)?(?:\.([\d.]+))?", where)
    if own is not None and (own[2] or "") in paths:
        if own[1]:
            raise CannotRecycle(
                f"{label} is a site of the {name} that was met as number {own[1][1:]}; whether that is this one "
                "cannot be told. Take the findings from rectifier.watch(model)."
            )
        candidates.append(own[2] or "")
    if not candidates:
        raise CannotRecycle(f"{name} has no place called {label}: the findings are about another model.")
    if len(candidates) > 1:
        raise CannotRecycle(f"{label} may be {candidates[0]} or {candidates[1] or 'the forward'} of {name}.")
    return candidates[0], call
