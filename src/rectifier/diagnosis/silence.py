"""Known findings, silenced by name and with a reason: they are told apart from the others, and never dropped."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

from rectifier.diagnosis.rules import RULES
from rectifier.errors import CannotSilence
from rectifier.records import Finding, Judged

J = TypeVar("J", bound=Judged)


@dataclass(frozen=True)
class _Silence:
    """One entry: a rule's name, which sites (None for all, and for the whole network), and why."""

    name: str
    sites: str | None
    reason: str

    def fits(self, finding: Finding) -> bool:
        if finding.name != self.name:
            return False
        return self.sites is None or (finding.site is not None and fnmatchcase(finding.site, self.sites))


def check_silences(silence: Mapping[str, str]) -> tuple[_Silence, ...]:
    """Read what is to be silenced, so that a typing error is told before a training and not after it.

    Args:
        silence: `dead-units:encoder.*` -> reason. What follows the colon is a pattern of sites as findings name them
            (`*` and `?`); without it all sites are meant, and the findings about the whole network.

    Raises:
        CannotSilence: No finding has that name, or there is no reason.
    """
    return tuple(_read(key, reason) for key, reason in silence.items())


def _read(key: str, reason: str) -> _Silence:
    name, colon, sites = key.partition(":")
    if name not in RULES:
        known = "\n".join(f"    {rule:<20} {words}" for rule, words in RULES.items())
        raise CannotSilence(f"no finding is called {name!r}. These are:\n{known}")
    if colon and not sites:
        raise CannotSilence(f"{key!r} names no site after the colon; write {name}, or {name}:encoder.*")
    if not reason.strip():
        raise CannotSilence(f"{key!r} needs a reason, which reports show: {key}=gated by design")
    return _Silence(name, sites or None, reason.strip())


def apply_silences(diagnosis: J, silence: Mapping[str, str]) -> J:
    """Move what is silenced out of the findings; the first entry that fits gives the reason.

    What a silenced finding explained stays explained: nothing becomes more severe by silence.
    """
    entries = check_silences(silence)
    kept, silenced = [], list(diagnosis.silenced)
    for finding in diagnosis.findings:
        reason = next((entry.reason for entry in entries if entry.fits(finding)), None)
        if reason is None:
            kept.append(finding)
        else:
            silenced.append(replace(finding, silenced=reason))
    return replace(diagnosis, findings=tuple(kept), silenced=tuple(silenced))
