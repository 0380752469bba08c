"""The monitor: stands at every activation of a process, counts at some training steps, reads the counters now and then.

It follows the user's training by its optimizer steps, and is a guest there: it keeps nothing of a step alive, draws no
random number, waits for the device only when it reads, and gives up with one warning rather than disturb. While a tool
of the user's records operations (`rectifier.hooks.recorders`), it computes nothing.

Several threads may train at once: one lock guards the counting.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.hooks import announce, data, training
from rectifier.hooks.calls import compiled, functions
from rectifier.hooks.recorders import has_values, recorder, records_backward
from rectifier.monitor.training.guard import Guard
from rectifier.monitor.training.live import live
from rectifier.monitor.training.losses import LossReader
from rectifier.monitor.training.numbers import Numbers
from rectifier.monitor.training.outputs import OutputRecords
from rectifier.monitor.training.parameters.records import ParameterRecords
from rectifier.monitor.training.sinks import Sink
from rectifier.monitor.training.sites.met import Token
from rectifier.monitor.training.sites.models import ModelRecords
from rectifier.monitor.training.steps.clock import Clock
from rectifier.monitor.training.steps.movement import OwnSteps
from rectifier.monitor.training.steps.schedule import Look, Schedule
from rectifier.monitor.training.windows import Windows
from rectifier.records import Recorder, Treated, Warned

if TYPE_CHECKING:
    from rectifier.monitor.training.observe_compiled import ExtraForwards

# Of the steps that are not observed, one of so many at most is timed and stands for the rest: asking for the time,
# twice a call, costs more there than all that is done.
_MOST_PER_TIMED = 16


class Monitor(training.TrainingListener):
    """Observes the activations of this process from `start` to `stop` and tells a sink.

    Args:
        sink: Where the facts go.
        budget: Largest share of training time that watching may take; steps are thinned out to keep it.
        every: Observe every so many steps instead, whatever it costs.
        model: Watch this module only; its forwards are the ones counted, and paths are relative to it.
        units: Where the user says that units are: path of the module that applies the activation -> axis, 1 or -1.
        observe_compiled: At observed steps, repeat the forward of what runs compiled as it is written, and count there.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        budget: float = 0.01,
        every: int | None = None,
        model: nn.Module | None = None,
        units: Mapping[str, int] | None = None,
        observe_compiled: bool = False,
    ) -> None:
        self.armed = False
        self._look = Look.AWAY
        self._sink = sink
        self._guarded = Guard(self._give_up, lambda: self._models.repeating)
        self._schedule = Schedule(budget, every)
        self._models = ModelRecords(sink, model, units, self._guarded)
        self._numbers = Numbers()
        self._parameters = ParameterRecords(
            sink.record,
            self._models.roots.all,
            self._models.roots.name_of,
            lambda: self._models.updates.threads,
            everything=model is None,
        )
        self._outputs = OutputRecords(sink.record, self._parameters.where)
        self._windows = Windows(sink, self._models, self._schedule, self._numbers, self._parameters, self._outputs)
        self._losses = LossReader(self._models, self._parameters, self._outputs, self._windows)
        self._extra: ExtraForwards | None = None
        if observe_compiled:
            from rectifier.monitor.training import observe_compiled as repeating  # noqa: PLC0415 - few ask for it

            self._extra = repeating.ExtraForwards(self._models, sink, self._windows.note_unseen)
        self._step = 0
        self._clock = Clock()
        self._steps_taken = False
        self._began: float | None = None
        self._away_steps = 0
        self._one_timed_of = 1
        self._forked = False
        self._left_alone_at: dict[Recorder, int] = {}
        self._undo: list[Callable[[], None]] = []

    @property
    def sees_activations(self) -> bool:
        """Whether any activation call of a model has been seen."""
        return bool(self._models.sites)

    @property
    def sees_steps(self) -> bool:
        """Whether any optimizer has stepped."""
        return self._steps_taken

    @property
    def step(self) -> int:
        """The optimizer step that comes next, counted from 0."""
        return self._step

    def start(self) -> None:
        """Begin to observe; the step that comes next is step 0."""
        live.append(self)
        self._undo = [functions.observe(self), training.listen(self), announce.listen(self.on_treated)]
        self._undo.append(data.listen(self._models.note_length))
        if self._extra is not None:
            self._undo.append(compiled.listen(self))
        self._arm(self._schedule.look(self._step))

    def stop(self) -> None:
        """Take every interception away and hand the sink what is left; a second call does nothing."""
        if self in live:
            live.remove(self)
        self._take_away()
        if not self._forked and (self._steps_taken or self._numbers):
            self._guarded(self._look_once_more)
            self._guarded(self._windows.finish, self._step, self._elapsed())
        self._sink.close()

    def _look_once_more(self) -> None:
        self._parameters.compare_at_end(self._step)
        self._parameters.find_idle_optimizers()

    def on_treated(self, model: nn.Module, treated: Treated) -> None:
        """Hear that somebody has changed a model; of one that is not watched there is nothing to tell."""
        if self._models.roots.watches(model):
            self._guarded(self._windows.keep_treated, replace(treated, step=self._step - 1))

    def treating_took(self, seconds: float) -> None:
        """Hear that so much of the training's time was a treatment's: it is told apart from what watching costs."""
        self._schedule.treating_seconds += seconds

    def flush(self) -> None:
        """Hand the sink the unfinished window as it stands."""
        if self._steps_taken or self._numbers:
            self._guarded(self._windows.write, self._step, self._elapsed(), finished=False)

    def note_fork(self) -> None:
        """Hear that this is a forked child now, which may never train: nothing else is done until it does."""
        self._forked = True
        self._away_steps = 0
        self._guarded.begin_again()

    def log(self, name: str, value: float) -> None:
        """Keep one number of the user's under a name, at the current step."""
        # What is logged after a step belongs to that step.
        self._guarded(lambda: self._numbers.log(name, value, max(self._step - 1, 0)))

    # What the interceptions call. ------------------------------------------------------------------------------

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Token | None:
        """An activation is about to be computed."""
        began = time.perf_counter()
        token: Token | None = self._guarded(self._before, name, args, kwargs, began)
        self._schedule.watching_seconds += time.perf_counter() - began
        return token

    def _before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], began: float) -> Token | None:
        if self._forked:
            self._begin_in_fork()
        if self._leaves_alone():
            return None
        if self._clock.between:
            self._look_for_own_step()
        token = self._models.before(name, args, kwargs, self._step, self._look)
        if self._began is None and token is not None and token.site is not None:
            self._began = began
        return token

    def after(self, token: Token, output: Tensor) -> None:
        """It has been computed."""
        began = time.perf_counter()
        self._guarded(self._models.after, token, output)
        self._schedule.watching_seconds += time.perf_counter() - began

    def on_compiled_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """A compiled module is about to run."""
        if self._extra is None or not self.armed:
            return False
        began, earlier = time.perf_counter(), self._schedule.watching_seconds
        repeated = self._guarded(self._extra.repeat, module, args, kwargs)
        # What was noted call by call is a part of it.
        self._schedule.watching_seconds = earlier + time.perf_counter() - began
        return bool(repeated)

    def after_compiled_call(self, first: int, last: int) -> None:
        """It has run."""
        if self._extra is not None:
            self._extra.numbers.append(range(first, last))

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """A loss is about to be back-propagated."""
        if self._away_steps % self._one_timed_of:
            # Most steps of a fast training.
            self._guarded(self._note_loss, loss, unscaled)
            return
        began = time.perf_counter()
        self._guarded(self._note_backward, loss, unscaled)
        stands_for = self._one_timed_of if self._away_steps else 1
        self._schedule.watching_seconds += stands_for * (time.perf_counter() - began)

    def _note_loss(self, loss: Tensor, unscaled: Tensor) -> None:
        if not self._leaves_alone() and has_values(unscaled):
            self._numbers.back_propagate(loss, unscaled, self._step)

    def _note_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        if self._forked:
            self._begin_in_fork()
        if self._clock.between:
            self._look_for_own_step()
        if self.armed:
            self._end_forwards(loss, unscaled)
        self._note_loss(loss, unscaled)

    def on_backward_end(self) -> None:
        """A loss has been back-propagated."""
        if self.armed or self._clock.own is not None:
            began = time.perf_counter()
            self._guarded(self._note_backward_end)
            self._schedule.watching_seconds += time.perf_counter() - began

    def _note_backward_end(self) -> None:
        alone, own = self._leaves_alone(), self._clock.own
        self._parameters.backward_passes += 1
        if not alone and self._look is Look.COUNT:
            self._losses.after(self._step)
            if own is not None and self._parameters.moved_by_others:
                self._models.updates.compare(self._step, own)
        if own is None or not (alone or self._parameters):
            return
        if self._clock.passed(() if alone else self._parameters.trained()):
            self._advance(own, alone=alone)

    def _look_for_own_step(self) -> None:
        """Before a forward or a backward pass: an optimizer that is none of torch's may have stepped meanwhile."""
        if self._clock.moved() and self._clock.own is not None:
            self._parameters.moved_by_others = True
            self._advance(self._clock.own, alone=False)

    def on_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler has left a step out."""
        self._guarded(self._note_skipped, optimizer)

    def _note_skipped(self, optimizer: Optimizer) -> None:
        if self._forked:
            self._begin_in_fork()
        self._parameters.note_skipped(optimizer)
        if self._clock.skipped(optimizer):
            self._advance(optimizer, alone=self._leaves_alone())

    def on_clip(self, norm: Tensor) -> None:
        """The gradients are about to be clipped."""
        self._guarded(self._note_clip, norm)

    def _note_clip(self, norm: Tensor) -> None:
        if self._forked:
            self._begin_in_fork()
        if not self._leaves_alone():
            self._numbers.clip(norm, self._step)

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """An optimizer is about to change the weights."""
        self._clock.begins()
        if self.armed and self._look is Look.COUNT:
            began = time.perf_counter()
            self._guarded(self._note_step_start, optimizer)
            self._schedule.watching_seconds += time.perf_counter() - began

    def _note_step_start(self, optimizer: Optimizer) -> None:
        if not self._leaves_alone():
            self._models.updates.remember(self._step, optimizer)
            self._parameters.note_groups(optimizer)

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """An optimizer has changed the weights."""
        away = self._away_steps
        if away and self._clock.optimizer() is optimizer:
            # Most steps of a fast training: nothing to look at, and nothing to do until the next that is observed.
            # Only the thread of that optimizer comes here, so that it needs no lock.
            untimed = away % self._one_timed_of
            began = 0.0 if untimed else time.perf_counter()
            if untimed or began < self._windows.due:
                self._away_steps = away - 1
                self._step += 1
                self._clock.others = 0
                if not untimed:
                    self._schedule.watching_seconds += self._one_timed_of * (time.perf_counter() - began)
                return
        began = time.perf_counter()
        self._guarded(self._note_step, optimizer)
        self._schedule.watching_seconds += time.perf_counter() - began

    # ------------------------------------------------------------------------------------------------------------

    def _leaves_alone(self) -> bool:
        """Whether something of the user's records now, so that nothing may be computed; counts the step."""
        who = recorder()
        if who is None:
            return False
        self._leave_alone(who)
        return True

    def _leave_alone(self, who: Recorder) -> None:
        if self._left_alone_at.get(who) != self._step:
            self._left_alone_at[who] = self._step
            self._windows.left_alone[who] = self._windows.left_alone.get(who, 0) + 1

    def _give_up(self, reason: str, locked: bool) -> None:
        if locked:
            # The interceptions stay until `stop`, and do nothing: torch may be going through its hooks at this moment.
            self._disarm()
        else:
            # What the lock guards stays as it is: somebody may be in the middle of it.
            self.armed = False
            functions.refresh()
        # Where it fails, the sink is what failed: it has said so itself, and there is nobody left to tell.
        with suppress(Exception):
            self._sink.record(Warned(f"watching stopped at step {self._step}: {reason}"))

    def _take_away(self) -> None:
        self._guarded(self._disarm)
        while self._undo:
            self._undo.pop()()

    def _disarm(self) -> None:
        self._arm(Look.AWAY)
        self._away_steps = 0
        self._models.forget_step()

    def _arm(self, look: Look) -> None:
        self._look = look
        # The last one is left to be noted in full.
        self._away_steps = self._schedule.steps_away(self._step) - 1 if look is Look.AWAY else 0
        self._one_timed_of = max(1, min(self._away_steps, _MOST_PER_TIMED))
        armed = look is not Look.AWAY
        if armed != self.armed:
            self.armed = armed
            functions.refresh()

    def _end_forwards(self, loss: Tensor, unscaled: Tensor) -> None:
        if records_backward():
            self._models.take_hooks_away()
            self._leave_alone(Recorder.COMPILED_AUTOGRAD)
        if self._look is Look.COUNT and recorder() is None and has_values(loss):
            self._losses.before(loss, unscaled, self._step, self._extra)
        self._models.end_forward()

    def _note_step(self, optimizer: Optimizer) -> None:
        if self._forked:
            self._begin_in_fork()
        if self._clock.stepped():
            self._restart()
        alone = self._leaves_alone()
        if self._look is Look.COUNT and not alone:
            self._models.updates.compare(self._step, optimizer)
            self._parameters.note_step(optimizer)
        if self._clock.ticks(optimizer):
            self._advance(optimizer, alone=alone)
        else:
            self._steps_taken = True

    def _advance(self, optimizer: Optimizer | OwnSteps, *, alone: bool) -> None:
        """A step of the training has ended."""
        self._steps_taken = True
        step = self._step
        self._step += 1
        now = time.perf_counter()
        if self._began is None:
            self._began = now
        if self.armed:
            self._models.end_step()
            self._schedule.watching_seconds += self._models.take_hook_seconds()
            if self._extra is not None:
                self._schedule.watching_seconds += self._extra.end_step()
            self._schedule.spent(self._look, self._step, now - self._began - self._schedule.treating_seconds)
        else:
            self._schedule.passed()
        look = self._schedule.look(self._step)
        if (self._models.sites or self._parameters) and not alone:
            # A window begins with a step at which everything is counted, so that none holds glances alone.
            if look is Look.COUNT and self._windows.may_end(step):
                self._windows.end(step, self._elapsed())
            elif now > self._windows.due:
                self._windows.write(self._step, self._elapsed(), finished=False)
        self._arm(look)
        self._windows.wait(armed=self.armed)
        if isinstance(optimizer, OwnSteps) and look is Look.COUNT:
            self._models.updates.remember(step, optimizer)

    def _restart(self) -> None:
        """An optimizer steps after all: what came before was an analysis, or one step's accumulated gradients."""
        self._windows.restart()
        self._begin_anew()
        self._clock.stepped()

    def _elapsed(self) -> float:
        return time.perf_counter() - self._began if self._began is not None else 0.0

    def _begin_in_fork(self) -> None:
        """A forked child that trains by itself writes for itself, from its first forward, backward or step on."""
        self._forked = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        # However rarely the parent was observed by then, the child may train for a few steps only, its own from 0 on.
        self._step = 0
        self._steps_taken = False
        self._schedule.begin_again()
        self._clock, self._began = Clock(), None
        self._models.begin_again()
        self._parameters.begin_again()
        self._outputs.begin_again()
        self._numbers = Numbers()
        self._windows.begin_again(self._numbers)
