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
from rectifier.diagnosis.training.history import SiteHistory
from rectifier.diagnosis.training.output.explained import explained_by
from rectifier.diagnosis.training.output.history import OutputHistory
from rectifier.diagnosis.training.parameters.places import compact
from rectifier.diagnosis.training.parameters.states import (
    ParameterState,
    ParameterStates,
    elements,
    read_states,
)
from rectifier.diagnosis.training.parameters.weight_norm import judge_weight_norms
from rectifier.diagnosis.training.progress import Progress, judge_progress, own_stretch
from rectifier.records import (
    AxisSource,
    Cause,
    CauseKind,
    Finding,
    Holder,
    Lack,
    ParameterRef,
    Process,
    Rule,
    Series,
    Severity,
    UntrainedParameters,
    ZeroAtStart,
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
    reasons = _Reasons(states, histories)
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


class _Reasons:
    """Why parameters lack what they lack; what several of them rest on is looked at once."""

    def __init__(self, states: ParameterStates, histories: Sequence[SiteHistory]) -> None:
        self._states = states
        self._counts = states.counts
        held = [state for state in states.trainable if states.held(state)]
        self._nothing_held_learns = bool(held) and all(state.lack is Lack.NO_GRADIENT for state in held)
        self._others_learn = any(
            state.lack is not Lack.NO_GRADIENT and not states.held(state) for state in states.trainable
        )
        fed = [(history.site.model, history.site.fed_by, history) for history in histories]
        self._feeds = {(model, path.rpartition(".")[0]): history for model, path, history in fed if path is not None}
        self._blocked = [
            (model, path)
            for model, path, history in fed
            if history.blocked_since is not None or (history.saturated is not None and history.saturated[0].all())
        ]
        # Models of which an activation ran on what has no gradient history.
        without = [one.site for one in histories if one.site.unit_axis.source is AxisSource.NO_HISTORY]
        self._without_graph = {site.model for site in without}
        self._zero = [state for state in states.trainable if self._began_at_zero(state)]
        self._order = {state.name: state.index for state in states.every}

    def runs(self, state: ParameterState) -> bool:
        """Whether the forward is known to use it."""
        came = state.lack in (Lack.ZERO_GRADIENT, Lack.NO_CHANGE, Lack.STOPPED)
        return came or (state.parameter.model, state.parameter.module) in self._feeds

    def starves(self, state: ParameterState) -> bool:
        """Whether it feeds an activation whose output gets no gradient, either: that has a finding of its own."""
        history = self._feeds.get((state.parameter.model, state.parameter.module))
        if history is None:
            return False
        delta = history.delta()
        delta = delta[~np.isnan(delta)]
        return len(delta) > 0 and bool((delta == 0).all())

    def of(self, state: ParameterState) -> Cause:
        """Why a parameter lacks what it lacks."""
        if state.lack is Lack.NO_GRADIENT:
            if self._nothing_held_learns and self._others_learn and self._states.held(state):
                # A gradient comes to others, which no optimizer holds: it was made for another model.
                return Cause(kind=CauseKind.NOT_IN_OPTIMIZER)
            runs = self.runs(state) or state.parameter.model in self._without_graph
            cut = self._nothing_held_learns or (runs and self._states.held(state))
            return Cause(kind=CauseKind.GRAPH_CUT if cut else CauseKind.UNKNOWN)
        if state.lack is Lack.ZERO_GRADIENT:
            return self._of_zero(state)
        return Cause(kind=self._of_no_change(state))

    def _of_zero(self, state: ParameterState) -> Cause:
        if self._states.inputs is not None and self._states.inputs.zero:
            return Cause(kind=CauseKind.INPUT_CONSTANT)
        zero = [one for one in self._zero if one.parameter.model == state.parameter.model]
        if any(state.index <= one.index or _within(state.parameter.module, _block(one)) for one in zero):
            facts = ZeroAtStart(zero_weights=tuple(one.parameter.path for one in zero))
            return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=facts)
        if self._is_below_a_blocked_site(state):
            return Cause(kind=CauseKind.UPSTREAM)
        return Cause(kind=CauseKind.DOWNSTREAM_CONSTANT)

    def _began_at_zero(self, state: ParameterState) -> bool:
        """A weight, not a bias or a gain, that was exactly 0: nothing passes it, forward or back."""
        began = self._counts.weight_first[state.index]
        return state.lack is Lack.ZERO_GRADIENT and len(state.parameter.shape) > 1 and bool(began == 0)

    def _is_below_a_blocked_site(self, state: ParameterState) -> bool:
        for model, path in self._blocked:
            if model != state.parameter.model:
                continue
            at = None if path is None else self._order.get((model, path))
            # The next weight sees nothing but zeros, so its gradient is 0, too.
            if at is None or state.index <= min((w for w in self._weights(model) if w > at), default=state.index):
                return True
        return False

    def _weights(self, model: str) -> list[int]:
        every = [state for state in self._states.every if state.parameter.model == model]
        return [state.index for state in every if len(state.parameter.shape) > 1]

    def _of_no_change(self, state: ParameterState) -> CauseKind:
        at, counts = int(self._counts.optimizer[state.index]), self._counts
        if not 0 <= at < len(counts.optimizers):
            if state.parameter.holder is not Holder.MODULE:
                return CauseKind.NOT_REGISTERED
            return CauseKind.NOT_IN_OPTIMIZER if counts.optimizer_steps else CauseKind.OPTIMIZER_NOT_STEPPED
        if not counts.optimizers[at].steps:
            return CauseKind.OPTIMIZER_NOT_STEPPED
        rate = counts.learning_rate[state.index]
        if np.isnan(rate):
            return CauseKind.UNKNOWN
        if rate <= limit.ZERO_RATE:
            return CauseKind.LEARNING_RATE_ZERO
        # Where others change at no higher a rate, it is the gradient that is too small.
        others = any(one.changed and counts.learning_rate[one.index] <= rate for one in self._states.trainable)
        return CauseKind.UPSTREAM if others else CauseKind.LEARNING_RATE_LOW


def _block(state: ParameterState) -> str:
    """The module around the layer of a weight; the layer itself where the model is that."""
    module = state.parameter.module
    return module.rpartition(".")[0] or module


def _within(module: str, block: str) -> bool:
    return module == block or module.startswith(f"{block}.")


def _finding(
    group: Sequence[ParameterState], cause: Cause, states: ParameterStates, reasons: _Reasons, progress: Progress,
    *, meant: bool,
) -> Finding:  # fmt: skip
    lack = group[0].lack
    assert lack is not None
    model = group[0].parameter.model
    evidence = _evidence(group, lack, states, reasons)
    severity = "info" if meant else _severity(group, cause.kind, states, reasons, progress)
    if evidence.everything and cause.kind is not CauseKind.UPSTREAM:
        severity = "serious"
    alarm = severity != "info"
    advised = remedies.for_untrained(cause, after_training=lack is Lack.STOPPED) if alarm else ()
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
    group: Sequence[ParameterState], lack: Lack, states: ParameterStates, reasons: _Reasons
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
    )


def _severity(
    group: Sequence[ParameterState], cause: CauseKind, states: ParameterStates, reasons: _Reasons, progress: Progress
) -> Severity:
    """Of parameters beside which others train."""
    lack, stalled = group[0].lack, progress.state == "none"
    large = states.share(group) >= limit.UNTRAINED_SHARE
    if cause is CauseKind.UPSTREAM:
        return "info"
    if lack is Lack.STOPPED:
        return "warning" if large and stalled else "info"
    if lack is Lack.NO_GRADIENT and not any(states.held(state) for state in group):
        # Nobody means to train them: a network under torch.no_grad beside the one that learns.
        return "warning" if large and stalled else "info"
    if lack is Lack.NO_GRADIENT and cause is CauseKind.UNKNOWN:
        return "warning" if large else "info"
    if lack is Lack.NO_CHANGE:
        if cause is CauseKind.NOT_IN_OPTIMIZER and group[0].parameter.model in states.evaluated:
            # A network that judges another: its gradients pass through, and it is meant to stay.
            return "info"
        return "warning" if large or stalled else "info"
    if lack is Lack.ZERO_GRADIENT and not stalled and all(reasons.starves(state) for state in group):
        # A branch that is scaled to zero; `starved` says so of its activation.
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
