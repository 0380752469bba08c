"""Why parameters are not trained: what cuts them off, or who does not hold them."""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.parameters import ParameterState, ParameterStates
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.model_causes import of_recurrence
from rectifier.records import (
    NORM_BEFORE_CLIPPING,
    AxisSource,
    Cause,
    CauseKind,
    CustomFunctions,
    FlatOperations,
    Holder,
    Lack,
    OptimizerState,
    Process,
    WhyUnseen,
    ZeroAtStart,
)

# Below a power of two, numbers lie half as far apart as above it.
_ROUNDED_AWAY = {
    "float32": limit.FLOAT32_STEP / 2, "bfloat16": limit.BFLOAT16_STEP / 2, "float16": limit.FLOAT16_STEP / 2,
}  # fmt: skip


class Reasons:
    """Why parameters lack what they lack; what several of them rest on is looked at once."""

    def __init__(self, states: ParameterStates, histories: Sequence[SiteHistory], process: Process) -> None:
        self._states, self._process = states, process
        self._custom = tuple(one.what for one in process.unseen if one.why is WhyUnseen.CUSTOM)
        self._counts = states.counts
        held = [state for state in states.trainable if states.held(state)]
        self._nothing_held_learns = bool(held) and all(state.lack is Lack.NO_GRADIENT for state in held)
        self._others_learn = any(
            state.lack is not Lack.NO_GRADIENT and not states.held(state) for state in states.trainable
        )
        self._left_out = self._has_left_out()
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

    def _has_left_out(self) -> bool:
        """Whether a part of a model was forgotten: no optimizer holds it, and it is no body below what trains."""
        own = [state for state in self._states.trainable if state.parameter.holder is Holder.MODULE]
        last = {state.parameter.model: state.index for state in own if state.changed}
        return any(
            state.lack is Lack.NO_CHANGE
            and not self._states.held(state)
            and state.index > last.get(state.parameter.model, -1)
            for state in own
        )

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
            if state.parameter.holder is not Holder.MODULE and self._states.held(state) and self._left_out:
                # The model has parameters that no optimizer holds: one of its layers was replaced.
                return Cause(kind=CauseKind.NOT_IN_OPTIMIZER)
            runs = self.runs(state) or state.parameter.model in self._without_graph
            cut = self._nothing_held_learns or ((runs or self._begins_cut(state)) and self._states.held(state))
            return Cause(kind=CauseKind.GRAPH_CUT if cut else CauseKind.UNKNOWN)
        if state.lack is Lack.ZERO_GRADIENT:
            return self._of_zero(state)
        return Cause(kind=self._of_no_change(state))

    def _begins_cut(self, state: ParameterState) -> bool:
        """Whether the first weights of its model get no gradient and later ones do: what is given passes the first."""
        of_model = [one for one in self._states.trainable if one.parameter.model == state.parameter.model]
        weights = [one for one in of_model if self._states.held(one) and len(one.parameter.shape) > 1]
        later = any(one.lack is not Lack.NO_GRADIENT for one in weights[1:])
        return later and weights[0].lack is Lack.NO_GRADIENT

    def _of_zero(self, state: ParameterState) -> Cause:
        if self._states.inputs is not None and self._states.inputs.zero:
            return Cause(kind=CauseKind.INPUT_CONSTANT)
        zero = [one for one in self._zero if one.parameter.model == state.parameter.model]
        if any(state.index <= one.index or _within(state.parameter.module, _block(one)) for one in zero):
            facts = ZeroAtStart(zero_weights=tuple(one.parameter.path for one in zero))
            return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=facts)
        if self._is_below_a_blocked_site(state):
            return Cause(kind=CauseKind.UPSTREAM)
        if (recurrence := of_recurrence(state.parameter.model, self._process)) is not None:
            return recurrence
        own = (one for one in self._process.outputs if one.model == state.parameter.model)
        if flat := tuple(dict.fromkeys(name for one in own for name in one.flat)):
            return Cause(kind=CauseKind.DOWNSTREAM_CONSTANT, facts=FlatOperations(names=flat))
        return Cause(
            kind=CauseKind.DOWNSTREAM_CONSTANT, facts=CustomFunctions(names=self._custom) if self._custom else None
        )

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
        if others:
            return CauseKind.UPSTREAM
        ignored = self._uses_gradients(counts.optimizers[at]) and not self._is_rounded_away(state)
        return CauseKind.OPTIMIZER_NOT_STEPPED if ignored else CauseKind.LEARNING_RATE_LOW

    def _uses_gradients(self, optimizer: OptimizerState) -> bool:
        """Whether nothing, such as clearing or clipping, came between backward pass and step."""
        return optimizer.used > 0 and not optimizer.zeros and not len(self._process.series(NORM_BEFORE_CLIPPING).steps)

    def _is_rounded_away(self, state: ParameterState) -> bool:
        """Whether learning rate times gradient may be below half of what tells two neighbouring numbers apart."""
        counts, at = self._counts, state.index
        step, size = float(counts.learning_rate[at] * counts.gradient[at]), float(counts.weight_last[at])
        half = _ROUNDED_AWAY.get(state.parameter.dtype)
        return half is None or not np.isfinite(step) or not np.isfinite(size) or step <= limit.SURE_STEP * half * size


def _block(state: ParameterState) -> str:
    """The module around the layer of a weight; the layer itself where the model is that."""
    module = state.parameter.module
    return module.rpartition(".")[0] or module


def _within(module: str, block: str) -> bool:
    return module == block or module.startswith(f"{block}.")
