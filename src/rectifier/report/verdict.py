"""The one sentence on top of a run's page, and the lines under it."""

from collections.abc import Sequence
from dataclasses import dataclass

from rectifier._formatting import counted
from rectifier.records import Diagnosis, LayerSummary, Run, most_serious_first
from rectifier.report.sentences import describe
from rectifier.report.sentences.judged import NO_ACTIVATION, heading, not_judged
from rectifier.report.words import findings_counted


@dataclass(frozen=True)
class Verdict:
    """What a page says first.

    Attributes:
        severity: Of the worst finding; `healthy` or `unknown` where there is no alarm.
        title: One line.
        lede: What comes under it.
    """

    severity: str
    title: str
    lede: str


def verdict_of(run: Run, diagnoses: Sequence[Diagnosis]) -> Verdict:
    """The verdict on a run; of several processes, the worst one speaks."""
    findings = most_serious_first([finding for diagnosis in diagnoses for finding in diagnosis.findings])
    lede = []
    if run.outcome is not None and run.outcome.exit_code:
        lede.append(f"The script ended with exit code {run.outcome.exit_code}.")
    alarms = [finding for finding in findings if finding.severity != "info"]
    if alarms:
        lede.append(f"{findings_counted([finding.severity for finding in findings])}.")
        lede += [f"Not judged: {left}." for diagnosis in diagnoses[:1] if (left := not_judged(diagnosis))]
        return Verdict(alarms[0].severity, describe(alarms[0]).heading, " ".join(lede))
    if all(diagnosis.nothing_observed for diagnosis in diagnoses):
        lede.append("Neither activations nor parameters were observed, so there is no verdict on this training.")
        return Verdict("unknown", "Nothing was observed", " ".join(lede))
    layers = [layer for diagnosis in diagnoses for layer in diagnosis.layers]
    suppressed = sum(len(diagnosis.suppressed) for diagnosis in diagnoses)
    partly = [diagnosis for diagnosis in diagnoses if diagnosis.not_judged]
    title = heading(partly[0] if partly else diagnoses[0])
    if suppressed:
        lede.append(f"{counted(suppressed, 'finding')} {'is' if suppressed == 1 else 'are'} known and suppressed.")
    return Verdict("unknown" if partly else "healthy", title, " ".join([*lede, _healthy_words(layers)]))


def _healthy_words(layers: Sequence[LayerSummary]) -> str:
    if not layers:
        return NO_ACTIVATION
    units = sum(layer.units or 0 for layer in layers)
    silent = sum((layer.dead or 0) + (layer.suspected or 0) for layer in layers)
    watched = f"{counted(len(layers), 'layer')} watched"
    if not units:
        return f"{watched}; their units could not be identified."
    if not silent:
        return f"{watched}. None of the {units:,} units is dead."
    return f"{watched}. {silent:,} of the {units:,} units are dead or suspected. That alone is no alarm."
