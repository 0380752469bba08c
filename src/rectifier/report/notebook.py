"""What a notebook shows of a diagnosis, a run, a comparison or an explanation: a fragment of HTML without a script.

Everything that a user named is escaped by the template engine, as on the pages.
"""

from collections.abc import Sequence

from rectifier.records import Comparison, Diagnosis, Explanation, Run
from rectifier.report.figures.explanation import by_change
from rectifier.report.page.page import fragment
from rectifier.report.sentences import told_explanation
from rectifier.report.sentences.judged import heading
from rectifier.report.verdict import verdict_of
from rectifier.report.words import findings_counted


def diagnosis_html(diagnosis: Diagnosis) -> str:
    """Findings, each to be unfolded, and the table of layers.

    Example:
        >>> "No problems found" in diagnosis_html(Diagnosis(findings=(), layers=()))
        True
    """
    severities: list[str] = [finding.severity for finding in diagnosis.findings]
    nothing = heading(diagnosis) if not diagnosis.nothing_observed else "Nothing was observed"
    title = f"{findings_counted(severities)}" if set(severities) - {"info"} else nothing
    return fragment("notebook.html", title=title, lede="", diagnoses=[diagnosis])


def run_html(run: Run, diagnoses: Sequence[Diagnosis]) -> str:
    """The verdict on a run, its findings and its layers."""
    verdict = verdict_of(run, diagnoses)
    return fragment("notebook.html", title=verdict.title, lede=verdict.lede, diagnoses=diagnoses)


def comparison_html(comparison: Comparison) -> str:
    """The headline, the arms with their verdicts, and what one must know to believe it."""
    return fragment("notebook.html", made=comparison)


def explanation_html(explanation: Explanation) -> str:
    """The verdict, what shows it, what to do, and every trial."""
    return fragment("notebook.html", why=told_explanation(explanation), trials=by_change(explanation))
