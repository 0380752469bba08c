"""What is done at each event of a training that is watched."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.hooks.calls import functions
from rectifier.hooks.recorders import has_values, recorder, records_backward
from rectifier.monitor.training.guard import Guard
from rectifier.monitor.training.losses import LossReader
from rectifier.monitor.training.numbers import Numbers
from rectifier.monitor.training.outputs import OutputRecords
from rectifier.monitor.training.parameters.records import ParameterRecords
from rectifier.monitor.training.sinks import Sink
from rectifier.monitor.training.sites.met import Token
from rectifier.monitor.training.sites.models import ModelRecords
from rectifier.monitor.training.steps.clock import Clock
from rectifier.monitor.training.steps.movement import OwnSteps
from rectifier.monitor.training.steps.schedule import Sampling, Schedule
from rectifier.monitor.training.windows import Windows
from rectifier.records import Recorder, Warned

if TYPE_CHECKING:
    from rectifier.monitor.training.observe_compiled import ExtraForwards

# Of the steps that are not observed, one of so many at most is timed and stands for the rest: asking for the time,
# twice a call, costs more there than all that is done.
_MOST_PER_TIMED = 16


class Observation:
    """What is known of a training so far, and what each of its events adds.

    Whoever calls it guards and times the call.

    Args:
        sink: Where the facts go.
        budget: Largest share of training time that watching may take; None for steps chosen by their number alone.
        every: Observe every so many steps instead; None for the budget.
        model: Watch this module only; None for all.
        units: Where the user says that units are; None for nowhere.
        observe_compiled: Whether to repeat the forward of what runs compiled.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        budget: float | None,
        every: int | None,
        model: nn.Module | None,
        units: Mapping[str, int] | None,
        observe_compiled: bool,
    ) -> None:
        self.armed = False
        self.sampling = Sampling.SKIPPED
        self._sink = sink
        self.guarded = Guard(self._give_up, lambda: self.models.repeating)
        self.schedule = Schedule(budget, every)
        self.models = ModelRecords(sink, model, units, self.guarded)
        self.numbers = Numbers()
        self.parameters = ParameterRecords(
            sink.record,
            self.models.roots.all,
            self.models.roots.name_of,
            lambda: self.models.updates.threads,
            everything=model is None,
        )
        self._outputs = OutputRecords(sink.record, self.parameters.where)
        self.windows = Windows(sink, self.models, self.schedule, self.numbers, self.parameters, self._outputs)
        self._losses = LossReader(self.models, self.parameters, self._outputs, self.windows)
        self.extra: ExtraForwards | None = None
        if observe_compiled:
            from rectifier.monitor.training import observe_compiled as repeating  # noqa: PLC0415 - few ask for it

            self.extra = repeating.ExtraForwards(self.models, sink, self.windows.note_unseen)
        self.step = 0
        self.clock = Clock()
        self.steps_taken = False
        self._began: float | None = None
        self.skipped_steps = 0
        self.one_timed_of = 1
        self.forked = False
        self._left_alone_at: dict[Recorder, int] = {}

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], began: float) -> Token | None:
        """An activation is about to be computed."""
        if self.forked:
            self._begin_in_fork()
        if self._leaves_alone():
            return None
        if self.clock.between:
            self._look_for_own_step()
        token = self.models.before(name, args, kwargs, self.step, self.sampling)
        if self._began is None and token is not None and token.site is not None:
            self._began = began
        return token

    def note_loss(self, loss: Tensor, unscaled: Tensor) -> None:
        """Keep a loss that is back-propagated."""
        if not self._leaves_alone() and has_values(unscaled):
            self.numbers.back_propagate(loss, unscaled, self.step)

    def note_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """A loss is about to be back-propagated."""
        if self.forked:
            self._begin_in_fork()
        if self.clock.between:
            self._look_for_own_step()
        if self.armed:
            self._end_forwards(loss, unscaled)
        self.note_loss(loss, unscaled)

    def note_backward_end(self) -> None:
        """A loss has been back-propagated."""
        alone, own = self._leaves_alone(), self.clock.own
        self.parameters.backward_passes += 1
        if not alone and self.sampling is Sampling.FULL:
            self._losses.after(self.step)
            if own is not None and self.parameters.moved_by_others:
                self.models.updates.compare(self.step, own)
        if own is None or not (alone or self.parameters):
            return
        if self.clock.passed(() if alone else self.parameters.trained()):
            self._advance(own, alone=alone)

    def _look_for_own_step(self) -> None:
        """Before a forward or a backward pass: an optimizer that is none of torch's may have stepped meanwhile."""
        if self.clock.moved() and self.clock.own is not None:
            self.parameters.moved_by_others = True
            self._advance(self.clock.own, alone=False)

    def note_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler has left a step out."""
        if self.forked:
            self._begin_in_fork()
        self.parameters.note_skipped(optimizer)
        if self.clock.skipped(optimizer):
            self._advance(optimizer, alone=self._leaves_alone())

    def note_clip(self, norm: Tensor) -> None:
        """Keep the norm of gradients that are about to be clipped."""
        if self.forked:
            self._begin_in_fork()
        if not self._leaves_alone():
            self.numbers.clip(norm, self.step)

    def note_step_start(self, optimizer: Optimizer) -> None:
        """An optimizer is about to change the weights."""
        if not self._leaves_alone():
            self.models.updates.remember(self.step, optimizer)
            self.parameters.note_groups(optimizer)

    @property
    def has_begun(self) -> bool:
        """Whether anything was seen that is worth keeping."""
        return self.steps_taken or bool(self.numbers)

    def finish(self) -> None:
        """Hand on the last window, after one more look at the weights."""
        self.parameters.compare_at_end(self.step)
        self.parameters.find_idle_optimizers()
        self.windows.finish(self.step, self.elapsed())

    def flush(self) -> None:
        """Hand on the unfinished window as it stands."""
        self.windows.write(self.step, self.elapsed(), finished=False)

    def _leaves_alone(self) -> bool:
        """Whether something of the user's records now, so that nothing may be computed; counts the step."""
        who = recorder()
        if who is None:
            return False
        self._leave_alone(who)
        return True

    def _leave_alone(self, who: Recorder) -> None:
        if self._left_alone_at.get(who) != self.step:
            self._left_alone_at[who] = self.step
            self.windows.left_alone[who] = self.windows.left_alone.get(who, 0) + 1

    def _give_up(self, reason: str, locked: bool) -> None:
        if locked:
            # The interceptions stay until `stop`, and do nothing: torch may be going through its hooks at this moment.
            self.disarm()
        else:
            # What the lock guards stays as it is: somebody may be in the middle of it.
            self.armed = False
            functions.refresh()
        # Where it fails, the sink is what failed: it has said so itself, and there is nobody left to tell.
        with suppress(Exception):
            self._sink.record(Warned(f"watching stopped at step {self.step}: {reason}"))

    def disarm(self) -> None:
        """Observe nothing from here on."""
        self.arm(Sampling.SKIPPED)
        self.skipped_steps = 0
        self.models.forget_step()

    def arm(self, sampling: Sampling) -> None:
        """Observe the coming step, as closely as this."""
        self.sampling = sampling
        # The last one is left to be noted in full.
        self.skipped_steps = self.schedule.steps_skipped(self.step) - 1 if sampling is Sampling.SKIPPED else 0
        self.one_timed_of = max(1, min(self.skipped_steps, _MOST_PER_TIMED))
        armed = sampling is not Sampling.SKIPPED
        if armed != self.armed:
            self.armed = armed
            functions.refresh()

    def _end_forwards(self, loss: Tensor, unscaled: Tensor) -> None:
        if records_backward():
            self.models.take_hooks_away()
            self._leave_alone(Recorder.COMPILED_AUTOGRAD)
        if self.sampling is Sampling.FULL and recorder() is None and has_values(loss):
            self._losses.before(loss, unscaled, self.step, self.extra)
        self.models.end_forward()

    def note_step(self, optimizer: Optimizer) -> None:
        """An optimizer has changed the weights."""
        if self.forked:
            self._begin_in_fork()
        if self.clock.stepped():
            self._restart()
        alone = self._leaves_alone()
        if self.sampling is Sampling.FULL and not alone:
            self.models.updates.compare(self.step, optimizer)
            self.parameters.note_step(optimizer)
        if self.clock.ticks(optimizer):
            self._advance(optimizer, alone=alone)
        else:
            self.steps_taken = True

    def _advance(self, optimizer: Optimizer | OwnSteps, *, alone: bool) -> None:
        """A step of the training has ended."""
        self.steps_taken = True
        step = self.step
        self.step += 1
        now = time.perf_counter()
        if self._began is None:
            self._began = now
        if self.armed:
            self.models.end_step()
            self.schedule.watching_seconds += self.models.take_hook_seconds()
            if self.extra is not None:
                self.schedule.watching_seconds += self.extra.end_step()
            self.schedule.spent(self.sampling, self.step, now - self._began - self.schedule.treating_seconds)
        else:
            self.schedule.passed()
        sampling = self.schedule.sampling_of(self.step)
        if (self.models.sites or self.parameters) and not alone:
            # A window begins with a step at which everything is counted, so that none holds lightly sampled ones alone.
            if sampling is Sampling.FULL and self.windows.may_end(step):
                self.windows.end(step, self.elapsed())
            elif now > self.windows.due:
                self.windows.write(self.step, self.elapsed(), finished=False)
        self.arm(sampling)
        self.windows.wait(armed=self.armed)
        if isinstance(optimizer, OwnSteps) and sampling is Sampling.FULL:
            self.models.updates.remember(step, optimizer)

    def _restart(self) -> None:
        """An optimizer steps after all: what came before was an analysis, or one step's accumulated gradients."""
        self.windows.restart()
        self._begin_anew()
        self.clock.stepped()

    def elapsed(self) -> float:
        """Seconds since the training began."""
        return time.perf_counter() - self._began if self._began is not None else 0.0

    def _begin_in_fork(self) -> None:
        """A forked child that trains by itself writes for itself, from its first forward, backward or step on."""
        self.forked = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        # However rarely the parent was observed by then, the child may train for a few steps only, its own from 0 on.
        self.step = 0
        self.steps_taken = False
        self.schedule.begin_again()
        self.clock, self._began = Clock(), None
        self.models.begin_again()
        self.parameters.begin_again()
        self._outputs.begin_again()
        self.numbers = Numbers()
        self.windows.begin_again(self.numbers)
