"""Known findings, suppressed by name and with a reason: they are told apart from the others, and never dropped."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

from rectifier.errors import CannotSuppress
from rectifier.records import Finding, Judged, Rule

J = TypeVar("J", bound=Judged)


@dataclass(frozen=True)
class _Suppression:
    """One entry: a rule, which sites (None for all, and for the whole network), and why."""

    rule: Rule
    sites: str | None
    reason: str

    def fits(self, finding: Finding) -> bool:
        if finding.rule is not self.rule:
            return False
        if self.sites is None or finding.site is None:
            return self.sites is None
        return any(fnmatchcase(name, self.sites) for name in finding.site.spellings)


def check_suppressions(suppress: Mapping[str, str]) -> tuple[_Suppression, ...]:
    """Read what is to be suppressed, so that a typing error is told before a training and not after it.

    Args:
        suppress: `dead-units:encoder.*` -> reason. What follows the colon is a pattern of sites (`*` and `?`), as
            findings name them or as `path` or `path#call`; without it all sites are meant, and the findings about the
            whole network.

    Raises:
        CannotSuppress: No finding has that name, or there is no reason.
    """
    return tuple(_read(key, reason) for key, reason in suppress.items())


def _read(key: str, reason: str) -> _Suppression:
    name, colon, sites = key.partition(":")
    rule = next((rule for rule in Rule if rule == name), None)
    if rule is None:
        known = "\n".join(f"    {one:<20} {one.says}" for one in Rule)
        raise CannotSuppress(f"no finding is called {name!r}. These are:\n{known}")
    if colon and not sites:
        raise CannotSuppress(f"{key!r} names no site after the colon; write {name}, or {name}:encoder.*")
    if not reason.strip():
        raise CannotSuppress(f"{key!r} needs a reason, which reports show: {key}=gated by design")
    return _Suppression(rule, sites or None, reason.strip())


def apply_suppressions(diagnosis: J, suppress: Mapping[str, str]) -> J:
    """Move what is suppressed out of the findings; the first entry that fits gives the reason.

    What a suppressed finding explained stays explained: nothing becomes more severe by suppression.
    """
    entries = check_suppressions(suppress)
    kept, suppressed = [], list(diagnosis.suppressed)
    for finding in diagnosis.findings:
        reason = next((entry.reason for entry in entries if entry.fits(finding)), None)
        if reason is None:
            kept.append(finding)
        else:
            suppressed.append(replace(finding, suppressed=reason))
    return replace(diagnosis, findings=tuple(kept), suppressed=tuple(suppressed))
