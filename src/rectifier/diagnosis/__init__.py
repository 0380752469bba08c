"""Rules over records. The only folder that holds thresholds; it never sees a tensor."""

from collections.abc import Mapping

from rectifier.diagnosis.checkpoint.inspection import judge_checkpoint
from rectifier.diagnosis.probe.census import judge_census
from rectifier.diagnosis.probe.check import judge_probe
from rectifier.diagnosis.suppression import apply_suppressions, check_suppressions
from rectifier.diagnosis.training.constant import judge_constancy
from rectifier.diagnosis.training.dead import judge_silence
from rectifier.diagnosis.training.finite import judge_finiteness
from rectifier.diagnosis.training.flat import judge_sides
from rectifier.diagnosis.training.gradients import judge_gradients
from rectifier.diagnosis.training.history import read_histories
from rectifier.diagnosis.training.layers import summarise
from rectifier.diagnosis.training.predictor import judge_predictor
from rectifier.diagnosis.training.progress import judge_progress, own_stretch
from rectifier.diagnosis.training.spikes import judge_spikes
from rectifier.diagnosis.training.start import judge_start
from rectifier.diagnosis.training.starved import judge_frozen, judge_starvation
from rectifier.records import NORM_BEFORE_CLIPPING, Diagnosis, Finding, Process, Rule, most_serious_first


def diagnose(process: Process, suppress: Mapping[str, str] | None = None) -> Diagnosis:
    """Say what is wrong with one observed training, most serious first, and with which evidence.

    Warning:
        No finding is no proof of health. Only activations, their gradients and the loss are looked at, and with few
        samples or without a loss much cannot be told; the findings then say so.

    Args:
        process: What one process wrote; `rectifier.read(folder).processes` holds them.
        suppress: Known findings, by name and site, with the reason: `{"dead-units:encoder.*": "gated by design"}`. They
            are listed apart and are no alarm.

    Returns:
        Findings and one row per site. A healthy training has findings of severity `info` at most. Where a finding
        about a whole network explains why it does not progress, its partly dead layers are information.

    Raises:
        CannotSuppress: `suppress` holds a name that no finding has, or no reason.

    Example:
        >>> from rectifier.records import Process, Writer
        >>> writer = Writer(pid=1, rank=0, world_size=1, torch="2.13", device="cpu")
        >>> diagnose(Process(writer=writer, sites=(), snapshots=())).findings
        ()
    """
    histories = read_histories(process)
    loss = process.series("loss")
    findings: list[Finding] = judge_finiteness(histories, loss)
    for model in dict.fromkeys(history.site.model for history in histories):
        own = [history for history in histories if history.site.model == model]
        own_loss = own_stretch(model, histories, loss)
        progress = judge_progress(own_loss)
        of_network = judge_constancy(own, progress) + judge_gradients(own, progress)
        explained = _alarm(of_network)
        if explained is None:
            of_network += judge_predictor(own, progress)
        clipped = own_stretch(model, histories, process.series(NORM_BEFORE_CLIPPING))
        of_network += judge_spikes(own, clipped, own_loss, progress)
        explained = _alarm(of_network)
        findings += of_network + judge_start(own, progress, explained=explained is not None)
        findings += judge_starvation(own, progress, loss) + judge_frozen(own)
        for position, history in enumerate(own):
            findings += judge_silence(history, own[:position], progress, explained=explained)
            findings += judge_sides(history, progress)
    layers = tuple(summarise(history) for history in histories)
    return apply_suppressions(Diagnosis(findings=most_serious_first(findings), layers=layers), suppress or {})


def _alarm(findings: list[Finding]) -> Rule | None:
    return next((finding.rule for finding in findings if finding.severity != "info"), None)


__all__ = ["check_suppressions", "diagnose", "judge_census", "judge_checkpoint", "judge_probe"]
