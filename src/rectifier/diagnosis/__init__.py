"""Judging: pure rules over records. The only room that holds a threshold, and it never sees a tensor."""

from rectifier.diagnosis.dead import judge_silence
from rectifier.diagnosis.finite import judge_finiteness
from rectifier.diagnosis.gradients import judge_gradients
from rectifier.diagnosis.history import SiteHistory, read_histories
from rectifier.diagnosis.layers import summarise
from rectifier.diagnosis.progress import Progress, judge_progress
from rectifier.records import Diagnosis, Finding, Process

_ORDER = {"serious": 0, "warning": 1, "info": 2}


def diagnose(process: Process) -> Diagnosis:
    """Say what is wrong with one observed training, most serious first, and with which evidence.

    Args:
        process: What one process wrote; `rectifier.read(folder).processes` holds them.

    Returns:
        Findings and one row per site. A healthy training has findings of severity `info` at most.

    Example:
        >>> from rectifier.records import Process, Writer
        >>> writer = Writer(pid=1, rank=0, world_size=1, torch="2.13", device="cpu")
        >>> diagnose(Process(writer=writer, sites=(), snapshots=())).findings
        ()
    """
    histories = read_histories(process)
    loss = process.series("loss")
    models = list(dict.fromkeys(history.site.model for history in histories))
    # With several models in one process the loss series mixes several losses: nobody's progress can be read from it.
    progress = judge_progress(loss) if len(models) == 1 else Progress("unknown", float("nan"), float("nan"), 0)
    findings: list[Finding] = judge_finiteness(histories, loss)
    for model in models:
        own = [history for history in histories if history.site.model == model]
        findings += judge_gradients(own, progress)
        for position, history in enumerate(own):
            findings += judge_silence(history, own[:position], progress)
    findings.sort(key=lambda finding: _ORDER[finding.severity])
    return Diagnosis(findings=tuple(findings), layers=tuple(summarise(history) for history in histories))


__all__ = ["SiteHistory", "diagnose"]
