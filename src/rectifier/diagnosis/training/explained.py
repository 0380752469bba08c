"""What parameters that are not trained explain: findings about units and networks that only follow from it."""

from collections.abc import Sequence
from dataclasses import replace

from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.parameters.untrained import Untrained
from rectifier.records import Cause, CauseKind, ExplainedBy, Finding, Rule

_OF_PARAMETERS = frozenset({Rule.NON_FINITE, Rule.UNTRAINED, Rule.WEIGHT_NORM, Rule.FROZEN, Rule.TRAINING_SETUP})


def explain(findings: Sequence[Finding], histories: Sequence[SiteHistory], untrained: Untrained) -> list[Finding]:
    """The same findings; those that untrained parameters explain are information, and say so.

    Args:
        findings: About one model.
        histories: Its sites.
        untrained: Of the process.
    """
    fed = {history.ref: (history.site.model, history.site.fed_by) for history in histories}
    model = histories[0].site.model if histories else ""
    explained = []
    for finding in findings:
        by = untrained.models.get(model)
        if by is None and finding.site in fed and fed[finding.site] in untrained.weights:
            by = Rule.UNTRAINED
        silent = finding.severity == "info" and finding.cause == Cause()
        if by is None or finding.rule in _OF_PARAMETERS or silent:
            explained.append(finding)
            continue
        cause = Cause(kind=CauseKind.UPSTREAM, facts=ExplainedBy(explained_by=by))
        explained.append(replace(finding, severity="info", cause=cause, remedies=(), fixes=()))
    return explained
