"""The monitor: stands at every activation of a process, counts at some training steps, reads the counters now and then.

It follows the user's training by its optimizer steps, and is a guest there: it keeps nothing of a step alive, draws no
random number, waits for the device only when it reads, and gives up with one warning rather than disturb. While a tool
of the user's records operations (`rectifier.hooks.recorders`), it computes nothing.

Several threads may train at once: one lock guards the counting.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.hooks import announce, data, training
from rectifier.hooks.calls import compiled, functions
from rectifier.monitor.training.live import live
from rectifier.monitor.training.observation import Observation
from rectifier.monitor.training.sinks import Sink
from rectifier.monitor.training.sites.met import Token
from rectifier.monitor.training.steps.schedule import Sampling
from rectifier.records import Treated


class Monitor(training.TrainingListener):
    """Observes the activations of this process from `start` to `stop` and tells a sink.

    Args:
        sink: Where the facts go.
        budget: Largest share of training time that watching may take; steps are thinned out to keep it. None: a step's
            number alone decides whether it is observed.
        every: Observe every so many steps instead, whatever it costs.
        model: Watch this module only; its forwards are the ones counted, and paths are relative to it.
        units: Where the user says that units are: path of the module that applies the activation -> axis, 1 or -1.
        observe_compiled: At observed steps, repeat the forward of what runs compiled as it is written, and count there.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        budget: float | None = 0.01,
        every: int | None = None,
        model: nn.Module | None = None,
        units: Mapping[str, int] | None = None,
        observe_compiled: bool = False,
    ) -> None:
        self.observation = Observation(
            sink, budget=budget, every=every, model=model, units=units, observe_compiled=observe_compiled
        )
        self._sink = sink
        self._guarded = self.observation.guarded
        self._schedule = self.observation.schedule
        self._undo: list[Callable[[], None]] = []

    @property
    def armed(self) -> bool:
        """Whether this step is observed."""
        return self.observation.armed

    @property
    def sees_activations(self) -> bool:
        """Whether any activation call of a model has been seen."""
        return bool(self.observation.models.sites)

    @property
    def sees_steps(self) -> bool:
        """Whether any optimizer has stepped."""
        return self.observation.steps_taken

    @property
    def step(self) -> int:
        """The optimizer step that comes next, counted from 0."""
        return self.observation.step

    def start(self) -> None:
        """Begin to observe; the step that comes next is step 0."""
        live.append(self)
        self._undo = [functions.observe(self), training.listen(self), announce.listen(self.on_treated)]
        self._undo.append(data.listen(self.observation.models.note_length))
        if self.observation.extra is not None:
            self._undo.append(compiled.listen(self))
        self.observation.arm(self._schedule.sampling_of(self.observation.step))

    def stop(self) -> None:
        """Take every interception skipped and hand the sink what is left; a second call does nothing."""
        if self in live:
            live.remove(self)
        self._take_away()
        if not self.observation.forked and self.observation.has_begun:
            self._guarded(self.observation.finish)
        self._sink.close()

    def on_treated(self, model: nn.Module, treated: Treated) -> None:
        """Hear that somebody has changed a model; of one that is not watched there is nothing to tell."""
        if self.observation.models.roots.watches(model):
            self._guarded(self.observation.windows.keep_treated, replace(treated, step=self.observation.step - 1))

    def treating_took(self, seconds: float) -> None:
        """Hear that so much of the training's time was a treatment's: it is told apart from what watching costs."""
        self._schedule.treating_seconds += seconds

    def flush(self) -> None:
        """Hand the sink the unfinished window as it stands."""
        if self.observation.has_begun:
            self._guarded(self.observation.flush)

    def note_fork(self) -> None:
        """Hear that this is a forked child now, which may never train: nothing else is done until it does."""
        self.observation.forked = True
        self.observation.skipped_steps = 0
        self._guarded.begin_again()

    def log(self, name: str, value: float) -> None:
        """Keep one number of the user's under a name, at the current step."""
        # What is logged after a step belongs to that step.
        self._guarded(lambda: self.observation.numbers.log(name, value, max(self.observation.step - 1, 0)))

    # What the interceptions call. ------------------------------------------------------------------------------

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Token | None:
        """An activation is about to be computed."""
        began = time.perf_counter()
        token: Token | None = self._guarded(self.observation.before, name, args, kwargs, began)
        self._schedule.watching_seconds += time.perf_counter() - began
        return token

    def after(self, token: Token, output: Tensor) -> None:
        """It has been computed."""
        began = time.perf_counter()
        self._guarded(self.observation.models.after, token, output)
        self._schedule.watching_seconds += time.perf_counter() - began

    def on_compiled_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """A compiled module is about to run."""
        if self.observation.extra is None or not self.observation.armed:
            return False
        began, earlier = time.perf_counter(), self._schedule.watching_seconds
        repeated = self._guarded(self.observation.extra.repeat, module, args, kwargs)
        # What was noted call by call is a part of it.
        self._schedule.watching_seconds = earlier + time.perf_counter() - began
        return bool(repeated)

    def after_compiled_call(self, first: int, last: int) -> None:
        """It has run."""
        if self.observation.extra is not None:
            self.observation.extra.numbers.append(range(first, last))

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """A loss is about to be back-propagated."""
        seen = self.observation
        if seen.skipped_steps % seen.one_timed_of:
            # Most steps of a fast training.
            self._guarded(seen.note_loss, loss, unscaled)
            return
        began = time.perf_counter()
        self._guarded(seen.note_backward, loss, unscaled)
        stands_for = seen.one_timed_of if seen.skipped_steps else 1
        self._schedule.watching_seconds += stands_for * (time.perf_counter() - began)

    def on_backward_end(self) -> None:
        """A loss has been back-propagated."""
        if self.observation.armed or self.observation.clock.own is not None:
            began = time.perf_counter()
            self._guarded(self.observation.note_backward_end)
            self._schedule.watching_seconds += time.perf_counter() - began

    def on_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler has left a step out."""
        self._guarded(self.observation.note_skipped, optimizer)

    def on_clip(self, norm: Tensor) -> None:
        """The gradients are about to be clipped."""
        self._guarded(self.observation.note_clip, norm)

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """An optimizer is about to change the weights."""
        self.observation.clock.begins()
        if self.observation.armed and self.observation.sampling is Sampling.FULL:
            began = time.perf_counter()
            self._guarded(self.observation.note_step_start, optimizer)
            self._schedule.watching_seconds += time.perf_counter() - began

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """An optimizer has changed the weights."""
        seen = self.observation
        skipped = seen.skipped_steps
        if skipped and seen.clock.optimizer() is optimizer:
            # Most steps of a fast training: nothing to look at, and nothing to do until the next that is observed.
            # Only the thread of that optimizer comes here, so that it needs no lock.
            untimed = skipped % seen.one_timed_of
            began = 0.0 if untimed else time.perf_counter()
            if untimed or began < seen.windows.due:
                seen.skipped_steps = skipped - 1
                seen.step += 1
                seen.clock.others = 0
                if not untimed:
                    self._schedule.watching_seconds += seen.one_timed_of * (time.perf_counter() - began)
                return
        began = time.perf_counter()
        self._guarded(seen.note_step, optimizer)
        self._schedule.watching_seconds += time.perf_counter() - began

    def _take_away(self) -> None:
        self._guarded(self.observation.disarm)
        while self._undo:
            self._undo.pop()()
