"""Judging as the edge does it: findings with their texts filled in."""

from rectifier import diagnosis
from rectifier.records import BornDead, CauseKind, Drift
from rectifier.report.sentences import told


def diagnose(process, suppress=None):
    return _checked(told(diagnosis.diagnose(process, suppress)))


def judge_probe(probe, suppress=None, *, measured=True):
    return _checked(told(diagnosis.judge_probe(probe, suppress, measured=measured)))


def judge_checkpoint(checkpoint, suppress=None):
    return _checked(told(diagnosis.judge_checkpoint(checkpoint, suppress)))


def _checked(judged):
    """What holds of whatever is judged anywhere: a remedy follows from a cause."""
    for finding in (*judged.findings, *judged.suppressed):
        assert finding.cause.kind is not CauseKind.UNKNOWN or not finding.remedies, finding
    return judged


def where(finding):
    """Label of what a finding is about, None for the whole network."""
    return None if finding.site is None else finding.site.label


def why(finding):
    """The kind of the cause; where its facts say more than that, what they are."""
    cause = finding.cause
    if isinstance(cause.facts, BornDead):
        assert cause.kind in (CauseKind.INITIAL_WEIGHTS, CauseKind.NARROW_LAYER)
        return "born dead"
    if isinstance(cause.facts, Drift):
        assert cause.kind is CauseKind.UNKNOWN, "it is how, not why"
        return "drift"
    return str(cause.kind)
