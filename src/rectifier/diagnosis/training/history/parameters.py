"""What is known of each parameter at the end of what was observed: whether it trains, and what it lacks if not."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.progress import loss_lives
from rectifier.records import Holder, InputFacts, Lack, Parameter, ParameterCounts, Process, Series


@dataclass(frozen=True)
class ParameterState:
    """One parameter.

    Attributes:
        index: Its position among the process's.
        lack: What it lacks; None where it trains, or where too little was looked at to say.
        frozen: Whether no gradient was asked for, none came, and it never changed.
        changed: Whether a bit of it did.
        first_step: First look at what it lacks.
        last_step: Last one.
        looks: How many.
    """

    index: int
    parameter: Parameter
    lack: Lack | None
    frozen: bool
    changed: bool
    first_step: int
    last_step: int
    looks: int

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.parameter.model, self.parameter.path


@dataclass(frozen=True)
class ParameterStates:
    """All parameters of a process that somebody could mean to train.

    Attributes:
        counts: At the end of what was observed.
        every: In their order, those that are nobody's business left out.
        inputs: What was given to the model, where that is known.
        evaluated: Models that were in eval mode at every counted step.
    """

    counts: ParameterCounts
    every: tuple[ParameterState, ...]
    inputs: InputFacts | None
    evaluated: frozenset[str]

    @cached_property
    def trainable(self) -> tuple[ParameterState, ...]:
        """Those for which a gradient was asked."""
        return tuple(state for state in self.every if not state.frozen)

    @cached_property
    def nothing_trains(self) -> bool:
        """Whether none of them is known to train, and most are known not to."""
        if any(state.changed or (state.lack is None and self._learns(state)) for state in self.trainable):
            return False
        return self.share([state for state in self.trainable if state.lack is not None]) > limit.EXPLAINING_SHARE

    def _learns(self, state: ParameterState) -> bool:
        return bool(self.counts.last_nonzero[state.index] >= 0)

    def share(self, states: Sequence[ParameterState]) -> float:
        """Their share of all numbers that could be trained."""
        return elements(states) / max(elements(self.trainable), 1)

    def held(self, state: ParameterState) -> bool:
        """Whether an optimizer's groups held it at the last look."""
        return bool(self.counts.optimizer[state.index] >= 0)


def elements(states: Sequence[ParameterState]) -> int:
    """How many numbers they hold."""
    return sum(state.parameter.size for state in states)


def read_states(process: Process, loss: Series) -> ParameterStates | None:
    """The state of each parameter; None where none was looked at.

    Args:
        process: What one process wrote.
        loss: Of it.
    """
    snapshots = [snapshot for snapshot in process.snapshots if snapshot.parameters is not None]
    if not snapshots:
        return None
    end = snapshots[-1]
    counts = end.parameters
    assert counts is not None
    pairs = zip(range(len(counts.looked)), process.parameters, strict=False)
    states = [_state(index, parameter, counts, loss) for index, parameter in pairs]
    return ParameterStates(
        counts=counts,
        every=tuple(_of_the_training(states, counts)),
        inputs=end.inputs,
        evaluated=frozenset(model.name for model in end.models if 0 < model.steps == model.eval_steps),
    )


def _of_the_training(states: Sequence[ParameterState], counts: ParameterCounts) -> list[ParameterState]:
    """Those that somebody could mean to train.

    Without tensors of the script's own that no optimizer holds (inputs of which gradients are taken), and without
    models that stand beside the training: teachers, and networks that targets come from.
    """
    ours = [
        state
        for state in states
        if state.parameter.holder is not Holder.NONE or state.parameter.path or counts.optimizer[state.index] >= 0
    ]
    of_models: dict[str, list[ParameterState]] = {}
    for state in ours:
        of_models.setdefault(state.parameter.model, []).append(state)
    beside = {
        model
        for model, own in of_models.items()
        if all(counts.optimizer[one.index] < 0 and not counts.connected[one.index] for one in own)
        # What nobody holds and no loss asks for can only have been written: by averaging, by loading.
        if all(counts.without_gradient[one.index] == counts.looked[one.index] for one in own)
    }
    if beside == set(of_models):
        return ours
    return [state for state in ours if state.parameter.model not in beside]


def _state(index: int, parameter: Parameter, counts: ParameterCounts, loss: Series) -> ParameterState:
    changed = bool(counts.last_changed[index] >= 0)
    came = bool(counts.last_nonzero[index] >= 0)
    frozen = not parameter.requires_grad and not came and not changed
    lack = None if frozen else _lack(index, counts, loss)
    compared = lack in (Lack.NO_CHANGE, Lack.STOPPED)
    first, last = (
        (counts.first_compared, counts.last_compared) if compared else (counts.first_looked, counts.last_looked)
    )
    return ParameterState(
        index=index,
        parameter=parameter,
        lack=lack,
        frozen=frozen,
        changed=changed,
        first_step=max(int(first[index]), 0),
        last_step=max(int(last[index]), 0),
        looks=int(counts.looked[index]),
    )


def _lack(index: int, counts: ParameterCounts, loss: Series) -> Lack | None:
    if counts.last_nonzero[index] >= 0:
        return _without_change(index, counts)
    if not _looked_enough(index, counts):
        return None
    changed = counts.last_changed[index] >= 0
    looked, without = counts.looked[index], counts.without_gradient[index]
    if without == looked:
        # A loss led to it, so a gradient was taken somewhere: by torch.autograd.grad, or it was cleared before a look.
        return None if changed or counts.connected[index] else Lack.NO_GRADIENT
    if without + counts.zero_gradient[index] < looked or (changed and not _only_decays(index, counts)):
        return None
    span = np.array([counts.first_looked[index], counts.last_looked[index]])
    return Lack.ZERO_GRADIENT if loss_lives(loss, span) else None


def _looked_enough(index: int, counts: ParameterCounts) -> bool:
    if counts.looked[index] < limit.UNTRAINED_LOOKS:
        return False
    span = int(counts.last_looked[index] - counts.first_looked[index]) + 1
    return span >= limit.UNTRAINED_STEPS or never_stepped(counts)


def never_stepped(counts: ParameterCounts) -> bool:
    """Whether gradients came for long and no optimizer took a step: steps are not counted then."""
    skipped = any(optimizer.skipped for optimizer in counts.optimizers)
    return counts.optimizer_steps == 0 and not skipped and counts.backward_passes >= limit.UNSTEPPED_PASSES


def _only_decays(index: int, counts: ParameterCounts) -> bool:
    """Whether its changes are those of weight decay, which needs no gradient."""
    decays = counts.optimizer[index] >= 0 and counts.weight_decay[index] > 0
    return bool(decays and counts.weight_last[index] <= counts.weight_first[index])


def _without_change(index: int, counts: ParameterCounts) -> Lack | None:
    first, last, changed = counts.first_compared[index], counts.last_compared[index], counts.last_changed[index]
    if first < 0:
        return None
    if changed < 0:
        came = counts.looked[index] - counts.without_gradient[index] - counts.zero_gradient[index]
        if came < limit.LEAST_OBSERVATIONS or _waits_for_scaler(index, counts):
            return None
        # Before the first step of an optimizer, backward passes are counted: gradients may be meant to add up.
        least = limit.UNTRAINED_STEPS if counts.optimizer_steps else limit.UNSTEPPED_PASSES
        return Lack.NO_CHANGE if last - first >= least or never_stepped(counts) else None
    rate = counts.learning_rate[index]
    over = last - changed >= limit.UNTRAINED_STEPS and rate <= limit.ZERO_RATE
    # Where no gradient has come since, that is why.
    none_since = counts.last_looked[index] > changed > counts.last_nonzero[index]
    return Lack.STOPPED if over and not none_since else None


def _waits_for_scaler(index: int, counts: ParameterCounts) -> bool:
    """Whether a GradScaler leaves its steps out: a gradient that is not finite is another finding."""
    at = int(counts.optimizer[index])
    if not 0 <= at < len(counts.optimizers):
        return False
    optimizer = counts.optimizers[at]
    taken = optimizer.steps + optimizer.skipped
    return optimizer.skipped > 0 and (optimizer.steps == 0 or optimizer.skipped > limit.SKIPPED_SHARE * taken)
