"""Findings about parameters that are not trained: which, for how long, and why.

A parameter is untrained when, over many steps, no gradient ever came, or it was exactly 0 each time, or one came and
not one bit changed. Each has reasons of its own, and one finding tells of all parameters that share one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.outputs import OutputHistory
from rectifier.diagnosis.training.history.parameters import (
    ParameterState,
    ParameterStates,
    elements,
    read_states,
)
from rectifier.diagnosis.training.history.places import compact
from rectifier.diagnosis.training.history.progress import Progress, judge_progress, own_stretch
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.output.explained import explained_by
from rectifier.diagnosis.training.parameters.reasons import Reasons
from rectifier.diagnosis.training.parameters.weight_norm import judge_weight_norms
from rectifier.records import (
    Cause,
    CauseKind,
    Finding,
    FlatOperations,
    Holder,
    Lack,
    ParameterRef,
    Process,
    Rule,
    Series,
    Severity,
    UntrainedParameters,
)


@dataclass(frozen=True)
class Untrained:
    """What the parameters of a process say.

    Attributes:
        findings: About them.
        weights: (model, path) of untrained ones, where that is not itself the consequence of a dead layer.
        models: Models of which so much is untrained, or decayed, that it explains what else is found; with the rule
            that says so.
        states: Of all of them; None where none was looked at.
    """

    findings: tuple[Finding, ...] = ()
    weights: frozenset[tuple[str, str]] = frozenset()
    models: dict[str, Rule] = field(default_factory=dict)
    states: ParameterStates | None = None

    def looked_at(self, model: str) -> tuple[ParameterState, ...] | None:
        """The parameters of a model; None where none of the process was looked at."""
        if self.states is None:
            return None
        return tuple(state for state in self.states.every if state.parameter.model == model)


def judge_parameters(
    process: Process, histories: Sequence[SiteHistory], loss: Series, outputs: Sequence[OutputHistory]
) -> Untrained:
    """Which parameters are not trained, or shrink away; and what that explains.

    Args:
        process: What one process wrote.
        histories: Of all its sites.
        loss: Of it.
        outputs: Of all its models.
    """
    states = read_states(process, loss)
    if states is None:
        return Untrained()
    groups: dict[tuple[str, Lack, CauseKind], list[ParameterState]] = {}
    causes: dict[tuple[str, Lack, CauseKind], Cause] = {}
    reasons = Reasons(states, histories, process)
    for state in states.trainable:
        if state.lack is not None:
            cause = reasons.of(state)
            key = state.parameter.model, state.lack, cause.kind
            groups.setdefault(key, []).append(state)
            causes[key] = cause
    findings: list[Finding] = []
    weights: set[tuple[str, str]] = set()
    for key, group in groups.items():
        progress = _progress(key[0], histories, loss)
        saved = explained_by([one for one in outputs if one.output.model == key[0]])
        learned = progress.state == "some" and (saved is None or saved >= limit.LITTLE_EXPLAINED)
        meant = learned and causes[key].kind in _LEFT_OUT and _looks_meant(group, states)
        findings.append(_finding(group, causes[key], states, reasons, progress, meant=meant))
        if causes[key].kind is not CauseKind.UPSTREAM and group[0].lack is not Lack.STOPPED and not meant:
            weights |= {state.name for state in group}
    explains: dict[str, Rule] = {}
    for model in dict.fromkeys(state.parameter.model for state in states.trainable):
        own = [history for history in histories if history.site.model == model]
        norms = judge_weight_norms(model, states, own, _progress(model, histories, loss))
        findings += norms
        parameters = [state for state in states.trainable if state.parameter.model == model]
        still = [state for state in parameters if state.name in weights]
        if still and elements(still) >= limit.EXPLAINING_SHARE * elements(parameters):
            explains[model] = Rule.UNTRAINED
        elif any(finding.severity == "serious" and finding.cause != Cause() for finding in norms):
            explains[model] = Rule.WEIGHT_NORM
    return Untrained(tuple(findings), frozenset(weights), explains, states)


def _progress(model: str, histories: Sequence[SiteHistory], loss: Series) -> Progress:
    """Of the training of a model, which may have no observed activation."""
    models = {history.site.model for history in histories}
    if not models:
        return judge_progress(loss)
    if model in models or len(models) == 1:
        return judge_progress(own_stretch(model, histories, loss))
    return judge_progress(replace(loss, steps=loss.steps[:0], values=loss.values[:0]))


def _finding(
    group: Sequence[ParameterState], cause: Cause, states: ParameterStates, reasons: Reasons, progress: Progress,
    *, meant: bool,
) -> Finding:  # fmt: skip
    lack = group[0].lack
    assert lack is not None
    model = group[0].parameter.model
    evidence = _evidence(group, lack, states, reasons)
    severity = "info" if meant else _severity(group, cause, states, reasons, progress)
    if evidence.everything and cause.kind is not CauseKind.UPSTREAM:
        severity = "serious"
    alarm = severity != "info"
    advised = remedies.for_untrained(cause, scheduled=evidence.scheduled) if alarm else ()
    one = evidence.places[0] if len(evidence.places) == 1 else ""
    finding = Finding(
        rule=Rule.UNTRAINED,
        severity=severity,
        site=ParameterRef(one) if one else None,
        cause=cause,
        since=evidence.last_changed if lack is Lack.STOPPED else evidence.first_step,
        consequence=progress.consequence,
        loss=progress.loss,
        remedies=advised,
        fixes=remedies.lines_for(advised),
        evidence=evidence,
    )
    return finding if model else replace(finding, site=None)


def _evidence(
    group: Sequence[ParameterState], lack: Lack, states: ParameterStates, reasons: Reasons
) -> UntrainedParameters:
    counts, model = states.counts, group[0].parameter.model
    indices = [state.index for state in group]
    held = {int(counts.optimizer[index]) for index in indices}
    of_one = held.pop() if len(held) == 1 else -1
    optimizer = counts.optimizers[of_one] if 0 <= of_one < len(counts.optimizers) else None
    rates = counts.learning_rate[indices]
    rates = rates[~np.isnan(rates)]
    everyone = [state.parameter.path for state in states.every if state.parameter.model == model]
    return UntrainedParameters(
        model=model,
        lack=lack,
        parameters=len(group),
        elements=elements(group),
        elements_fraction=states.share(group),
        places=compact([state.parameter.path for state in group], everyone),
        first_step=min(state.first_step for state in group),
        last_step=max(state.last_step for state in group),
        looks=min(state.looks for state in group),
        everything=states.nothing_trains,
        runs=any(reasons.runs(state) for state in group),
        held=any(states.held(state) for state in group),
        last_changed=int(counts.last_changed[indices].max()) if lack is Lack.STOPPED else None,
        optimizer=None if optimizer is None else optimizer.name,
        optimizer_steps=counts.optimizer_steps if optimizer is None else optimizer.steps,
        learning_rate=float(rates.max()) if len(rates) else None,
        backward_passes=counts.backward_passes,
        connected=any(states.held(state) and state.lack is not Lack.NO_GRADIENT for state in states.trainable),
        # What changed for a while had a learning rate before.
        scheduled=lack is Lack.STOPPED or (optimizer is not None and optimizer.scheduled),
    )


def _severity(
    group: Sequence[ParameterState], cause: Cause, states: ParameterStates, reasons: Reasons, progress: Progress
) -> Severity:
    """Of parameters beside which others train."""
    lack, stalled = group[0].lack, progress.state == "none"
    large = states.share(group) >= limit.UNTRAINED_SHARE
    if cause.kind is CauseKind.UPSTREAM:
        return "info"
    if lack is Lack.STOPPED:
        return "warning" if large and stalled else "info"
    if lack is Lack.NO_GRADIENT and not any(states.held(state) for state in group):
        # Nobody means to train them: a network under torch.no_grad beside the one that learns.
        return "warning" if large and stalled else "info"
    if lack is Lack.NO_GRADIENT and cause.kind is CauseKind.UNKNOWN:
        return "warning" if large else "info"
    if lack is Lack.NO_CHANGE:
        if cause.kind is CauseKind.NOT_IN_OPTIMIZER and group[0].parameter.model in states.evaluated:
            # A network that judges another: its gradients pass through, and it is meant to stay.
            return "info"
        return "warning" if large or stalled else "info"
    scaled = lack is Lack.ZERO_GRADIENT and not isinstance(cause.facts, FlatOperations)
    if scaled and not stalled and all(reasons.starves(state) for state in group):
        # A branch that is scaled to zero, perhaps for a while; `starved` says so of its activation.
        return "info"
    return "warning" if large or stalled or _has_whole_module(group, states) else "info"


_LEFT_OUT = (CauseKind.NOT_IN_OPTIMIZER, CauseKind.OPTIMIZER_NOT_STEPPED)


def _looks_meant(group: Sequence[ParameterState], states: ParameterStates) -> bool:
    """Whether parameters beside which others train seem meant to stay: a body below its head, or with adapters.

    What is forgotten is a part that was added later: a head, a layer.
    """
    if any(state.parameter.holder is not Holder.MODULE for state in group):
        return False
    model = [state for state in states.trainable if state.parameter.model == group[0].parameter.model]
    trained = [state for state in model if state.changed]
    if not trained:
        return False
    if all(_is_as_torch_drew_it(state, states) for state in group if len(state.parameter.shape) > 1):
        # Nobody keeps what has never been trained.
        return False
    body = max(state.index for state in group) < min(state.index for state in trained)
    return body or elements(trained) <= limit.ADAPTER_SHARE * elements(model)


def _is_as_torch_drew_it(state: ParameterState, states: ParameterStates) -> bool:
    """Whether the norm of a weight is that of torch's default: uniform within ±1/√fan_in, so n/(3 fan_in), squared."""
    shape, norm = state.parameter.shape, float(states.counts.weight_first[state.index])
    usual = math.sqrt(state.parameter.size / (3 * math.prod(shape[1:])))
    # The mean of n squares of such numbers has a relative deviation of √(0.8/n); a norm half of that.
    return abs(norm / usual - 1) <= 3 * math.sqrt(0.2 / state.parameter.size)


def _has_whole_module(group: Sequence[ParameterState], states: ParameterStates) -> bool:
    """Whether every trainable parameter of some module is among them."""
    ours = {state.name for state in group}
    modules: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for state in states.trainable:
        modules.setdefault((state.parameter.model, state.parameter.module), set()).add(state.name)
    return any(names <= ours for names in modules.values())
