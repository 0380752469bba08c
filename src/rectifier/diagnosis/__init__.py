"""Rules over records. The only folder that holds thresholds; it never sees a tensor."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rectifier.diagnosis.checkpoint.inspection import judge_checkpoint
from rectifier.diagnosis.probe.census import judge_census
from rectifier.diagnosis.probe.check import judge_probe
from rectifier.diagnosis.suppression import apply_suppressions, check_suppressions
from rectifier.diagnosis.training.eval_mode import judge_eval_mode
from rectifier.diagnosis.training.explained import explain
from rectifier.diagnosis.training.history.chains import below
from rectifier.diagnosis.training.history.outputs import read_outputs, spans_of
from rectifier.diagnosis.training.history.progress import Progress, judge_progress, own_stretch
from rectifier.diagnosis.training.history.sites import SiteHistory, read_histories
from rectifier.diagnosis.training.layers import summarise
from rectifier.diagnosis.training.model_causes import last_counts
from rectifier.diagnosis.training.not_finite.finding import judge_finiteness
from rectifier.diagnosis.training.output.collapse import judge_collapse
from rectifier.diagnosis.training.output.dead import judge_dead_output
from rectifier.diagnosis.training.output.explained import learned_well
from rectifier.diagnosis.training.output.predictor import judge_predictor
from rectifier.diagnosis.training.output.reach import judge_reach
from rectifier.diagnosis.training.output.standing import judge_linear, judge_standing
from rectifier.diagnosis.training.parameters.untrained import judge_parameters
from rectifier.diagnosis.training.setup.finding import Setup, find_flaws, judge_setup, with_causes
from rectifier.diagnosis.training.signal.gradients import judge_gradients
from rectifier.diagnosis.training.signal.spikes import judge_spikes
from rectifier.diagnosis.training.signal.start import judge_alike, judge_start
from rectifier.diagnosis.training.units.constant import judge_constancy, judge_constant_layer
from rectifier.diagnosis.training.units.dead import judge_silence
from rectifier.diagnosis.training.units.flat import judge_sides
from rectifier.diagnosis.training.units.starved import judge_frozen, judge_starvation
from rectifier.records import (
    NORM_BEFORE_CLIPPING,
    AxisSource,
    CauseKind,
    Diagnosis,
    Finding,
    NotJudged,
    Process,
    Rule,
    TrainingSetup,
    Unjudged,
    most_serious_first,
)


# Numbers of a training may be of any size; rules look for themselves at what is not finite.
@np.errstate(all="ignore")
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
    findings: list[Finding] = judge_finiteness(process, histories, loss)
    outputs = read_outputs(process)
    untrained = judge_parameters(process, histories, loss, outputs)
    findings += untrained.findings
    known = len(findings)
    spans = spans_of(outputs)
    for model in dict.fromkeys([*(history.site.model for history in histories), *spans]):
        own = [history for history in histories if history.site.model == model]
        own_outputs = [one for one in outputs if one.output.model == model]
        start = len(findings)
        own_loss = own_stretch(model, histories, loss, spans)
        progress = judge_progress(own_loss)
        of_network = judge_constancy(own, progress) + judge_gradients(own, progress)
        explained = _alarm(of_network)
        if explained is None:
            of_network += judge_predictor(own, progress)
        clipped = own_stretch(model, histories, process.series(NORM_BEFORE_CLIPPING), spans)
        of_network += judge_spikes(own, clipped, own_loss, progress)
        if _alarm(of_network) is None:
            alone = len(own_loss.steps) > 0 or not len(loss.steps)
            of_network += judge_collapse(own_outputs, own, progress, process, alone=alone)
        explained = _alarm(of_network)
        before = len(findings)
        dead_outputs = judge_dead_output(own_outputs, own, progress) or judge_reach(own_outputs, progress)
        findings += of_network + dead_outputs + judge_start(own, progress, explained=explained is not None)
        if _alarm(findings[before:]) is None:
            findings += judge_alike(own_outputs, own, progress)
        findings += judge_starvation(own, progress, loss) + judge_frozen(own, untrained.looked_at(model))
        findings += _of_units(own, progress, dead_outputs, explained=explained, well=learned_well(own_outputs))
        # What is not finite explains any stall.
        standing: list[Finding] = []
        if _alarm(findings[:known] + findings[before:]) is None:
            standing = judge_standing(model, own_outputs, own, progress, own_loss, process)
            findings += standing
        findings += judge_linear(
            model,
            own_outputs,
            own,
            process,
            standing=any(
                one.rule is Rule.STANDING_STILL and one.cause.kind is CauseKind.NO_ACTIVATION
                for one in findings[before:]
            ),
        )
        # That a loss stands still for an unknown reason is no reason.
        reasons = [one for one in findings[:known] + findings[before:] if one.rule is not Rule.STANDING_STILL]
        reasons += [one for one in standing if one.cause.kind is not CauseKind.UNKNOWN]
        findings += judge_eval_mode(model, progress, process, explained=_alarm(reasons) is not None)
        setup = Setup(model, own_outputs, own, progress, process, own_loss, _is_alone(histories, spans))
        findings = _with_setup(findings, known, start, setup)
        findings[start:] = explain(findings[start:], own, untrained)
    diagnosis = Diagnosis(
        findings=_in_order(findings),
        layers=tuple(summarise(history) for history in histories),
        not_judged=tuple(_not_judged(process, histories, findings)),
    )
    return apply_suppressions(diagnosis, suppress or {})


def _in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Most serious first; of those that are as severe, what is wrong by itself: the others may follow from it."""
    return most_serious_first(
        sorted(findings, key=lambda one: not (isinstance(one.evidence, TrainingSetup) and one.evidence.by_itself))
    )


def _is_alone(histories: Sequence[SiteHistory], spans: Mapping[str, tuple[int, int]]) -> bool:
    return len({*(one.site.model for one in histories), *spans}) == 1


def _with_setup(findings: list[Finding], known: int, start: int, setup: Setup) -> list[Finding]:
    """The findings so far with what is set up wrongly as the cause of what has none; and that as a finding.

    Args:
        findings: All.
        known: How many of them are about the process.
        start: Position of the first one about the model.
        setup: Of the model.
    """
    flaws = find_flaws(setup)
    of_process, others, own = findings[:known], findings[known:start], with_causes(findings[start:], flaws)
    if setup.alone:
        of_process = with_causes(of_process, flaws)
    alarms = [one for one in of_process + own if one.severity != "info"]
    return of_process + others + own + judge_setup(setup, flaws, alarms)


def _of_units(
    own: Sequence[SiteHistory],
    progress: Progress,
    dead_outputs: Sequence[Finding],
    *,
    explained: Rule | None,
    well: bool,
) -> list[Finding]:
    """What is said of the units of each layer.

    Args:
        own: Sites of one model.
        progress: Of its training.
        dead_outputs: Findings about its outputs, which explain what is found there.
        explained: The rule that says already why it does not learn.
        well: Whether it learned well.
    """
    findings: list[Finding] = []
    linear: list[Finding] = []
    for history in own:
        under = below(history, own)
        accused = any(one.site == history.ref for one in dead_outputs)
        why = Rule.DEAD_OUTPUT if accused and explained is None else explained
        findings += judge_silence(history, under, progress, explained=why)
        findings += judge_sides(history, under, progress)
        linear += judge_constant_layer(history, under, progress, harmless=bool(explained or linear or well))
    return findings + linear


def _not_judged(process: Process, histories: Sequence[SiteHistory], findings: Sequence[Finding]) -> Iterator[NotJudged]:
    for history in histories:
        # Where nothing before an activation is trained there is nothing to judge: `frozen` lists it.
        if history.site.units is None and history.site.unit_axis.source is not AxisSource.NO_HISTORY:
            yield NotJudged(
                kind=Unjudged.UNITS_UNKNOWN, what=history.ref.label, site=history.ref, axis=history.site.unit_axis
            )
    for unseen in process.unseen:
        yield NotJudged(kind=Unjudged.UNSEEN, what=unseen.what, unseen=unseen)
    counts = last_counts(process.snapshots)
    if not histories and not findings and (counts is None or not counts.connected.any()):
        yield NotJudged(kind=Unjudged.NOTHING_OBSERVED)


def _alarm(findings: list[Finding]) -> Rule | None:
    return next((finding.rule for finding in findings if finding.severity != "info"), None)


__all__ = ["check_suppressions", "diagnose", "judge_census", "judge_checkpoint", "judge_probe"]
