"""Findings in the terminal: the verdict, one line for each, then the details of the most serious ones."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from rectifier._formatting import counted
from rectifier.records import Finding, Judged, SiteRef
from rectifier.report.sentences import describe
from rectifier.report.sentences.judged import heading, not_judged
from rectifier.report.text.lines import say
from rectifier.report.words import findings_counted

_STYLES = {"serious": "bold red", "warning": "bold yellow", "info": "cyan"}
_MOST_INFO = 6
_MOST_TOLD = 5
_HANGING = 10
_WORTH_CUTTING = 80


def print_findings(diagnosis: Judged, console: Console, command: Sequence[str] = ()) -> None:
    """Print what was found, most serious first, then what is suppressed and why.

    Args:
        diagnosis: What was found.
        console: Where to.
        command: The user's script and its options; empty where they are not known.
    """
    _print_verdict(diagnosis, console)
    alarms = [finding for finding in diagnosis.findings if finding.severity != "info"]
    remarks = [finding for finding in diagnosis.findings if finding.severity == "info"]
    for finding in [*alarms, *remarks[:_MOST_INFO]]:
        print_title(finding, console)
    if len(remarks) > _MOST_INFO:
        more = counted(len(remarks) - _MOST_INFO, "more remark")
        say(console, f"and {more}; --json lists all of them.", indent=_HANGING)
    advised: list[Sequence[str]] = []
    for finding in alarms[:_MOST_TOLD]:
        texts = describe(finding, command)
        console.print()
        if len(alarms) > 1:
            say(console, texts.title, style="bold", indent=2)
        advice = _not_yet_told(texts.advised, advised)
        advised.append(texts.advised)
        where = finding.site.source if isinstance(finding.site, SiteRef) else None
        for label, text in (("", texts.detail), ("Where: ", where), ("Why: ", texts.cause), ("What to do: ", advice)):
            if text:
                say(console, f"{label}{text}", indent=4)
    if len(alarms) > _MOST_TOLD:
        console.print()
        say(console, f"The page (--html) has the details of the other {len(alarms) - _MOST_TOLD}.", indent=2)
    if diagnosis.suppressed:
        console.print()
    print_suppressed(diagnosis, console)


def print_suppressed(judged: Judged, console: Console) -> None:
    """Print what the user knows of, with the reasons."""
    for finding in judged.suppressed:
        title = describe(finding).title
        say(console, f"Suppressed ({finding.severity}): {title}. Reason: {finding.suppressed}", indent=2)


def _print_verdict(diagnosis: Judged, console: Console) -> None:
    severities: list[str] = [finding.severity for finding in diagnosis.findings]
    if set(severities) - {"info"}:
        left = not_judged(diagnosis)
        say(console, f"{findings_counted(severities)}.{f' Not judged: {left}.' if left else ''}", style="bold")
    else:
        say(console, f"{heading(diagnosis)}.{' Notes:' if severities else ''}", style="bold")


def print_title(finding: Finding, console: Console) -> None:
    """Print a finding's severity and its one line."""
    head = Text.assemble("  ", (f"{finding.severity:<{_HANGING - 2}}", _STYLES[finding.severity]))
    say(console, describe(finding).title, head=head, indent=_HANGING)


def _not_yet_told(advice: Sequence[str], told: Sequence[Sequence[str]]) -> str:
    """An advice without the end that another one had in common with it: read twice, it would be skipped twice."""
    for start in range(len(advice)):
        end = advice[start:]
        if len(" ".join(end)) >= _WORTH_CUTTING and any(earlier[-len(end) :] == end for earlier in told):
            return " ".join([*advice[:start], "Then as above."]) if start else "as above."
    return " ".join(advice)
