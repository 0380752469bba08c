"""Treatments of the models that a script trains, given while it trains: `rectifier run --rescale --recycle every=N`.

A training is reached by its optimizer steps, and its batch by the forwards before them. Rescaling belongs before the
first step; by then the first gradients are there, of the old weights, so they are set to 0. Recycling belongs between
a step and the next forward.
"""

import os
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.diagnosis import diagnose
from rectifier.errors import RectifierError
from rectifier.hooks import announce, locate, training
from rectifier.hooks.calls import functions
from rectifier.monitor import MemorySink, Monitor
from rectifier.records import DeadUnits, Fact, Process, Treated, Treatment, Warned
from rectifier.sandbox import Arguments
from rectifier.storage import RunWriter
from rectifier.treatment import recycle, rescale


class Kept:
    """A run's writer that keeps in memory, too, what it writes: what a diagnosis on the way needs."""

    def __init__(self, writer: RunWriter) -> None:
        self._writer, self._memory, self._pid = writer, MemorySink(), os.getpid()

    def process(self) -> Process:
        """What this process has written so far."""
        return self._memory.process()

    def record(self, fact: Fact) -> None:
        """Write a fact, and keep it."""
        if self._pid != os.getpid():
            # A forked child begins its own.
            self._pid, self._memory = os.getpid(), MemorySink()
        self._writer.record(fact)
        self._memory.record(fact)

    def close(self) -> None:
        """Write no more; what was kept stays."""
        self._writer.close()


class Treating(training.TrainingListener):
    """Stands beside the monitor, and treats the model whose forward came before a step.

    Args:
        monitor: Counts the steps and the units; it has been started.
        sink: Where the monitor writes.
        rescale: Rescale the first model that trains, before its first step.
        recycle: Recycle dead units after every so many steps; None for never.
        on_refusal: Called where a treatment is refused for the first time.
    """

    def __init__(
        self,
        monitor: Monitor,
        sink: Kept,
        *,
        rescale: bool,
        recycle: int | None,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        self.armed = False
        self.looked: list[int] = []
        """Steps after which dead units were looked for and none was confirmed."""
        self._monitor, self._sink = monitor, sink
        self._rescale, self._every, self._on_refusal = rescale, recycle, on_refusal
        self._batch: tuple[weakref.ref[nn.Module], Arguments] | None = None
        self._refused = self._failed = False
        self._undo: list[Callable[[], None]] = [functions.observe(self), training.listen(self)]
        self._arm()

    def stop(self) -> None:
        """Take every interception away; a second call does nothing."""
        self._batch = None
        while self._undo:
            self._undo.pop()()

    # What the interceptions call. ------------------------------------------------------------------------------

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An activation is about to be computed: note what the model was given."""
        if not torch.is_grad_enabled() or torch._C._current_graph_task_id() != -1:
            return
        if torch._C._functorch.peek_interpreter_stack() is not None:
            return
        self._guarded(self._note)

    def after(self, token: Any, output: Tensor) -> None:
        """It has been computed."""

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """An optimizer is about to step."""
        if self._rescale and not self._failed and self._ours(optimizer) is not None:
            self._guarded(self._rescale_now, optimizer)
            self._rescale = False

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """An optimizer has stepped, and the monitor knows."""
        model = None if self._failed else self._ours(optimizer)
        if model is not None and self._every and self._monitor.step and self._monitor.step % self._every == 0:
            self._guarded(self._recycle_now, model, optimizer)
        self._batch = None
        self._arm()

    # ------------------------------------------------------------------------------------------------------------

    def _guarded(self, function: Callable[..., None], *args: Any) -> None:
        """A refusal is told once; any other failure is the end of treating, never of the training."""
        began = time.perf_counter()
        try:
            function(*args)
        except RectifierError as refusal:
            if not self._refused:
                self._refused = True
                self._on_refusal()
                self._warn(f"not treated after step {max(self._monitor.step - 1, 0)}: {refusal}")
        except Exception as error:
            # The interceptions stay until `stop`, and do nothing: torch may be going through its hooks at this moment.
            self._failed = True
            self._warn(f"treating stopped at step {self._monitor.step}: {type(error).__name__}: {error}")
        finally:
            self._monitor.treating_took(time.perf_counter() - began)

    def _warn(self, text: str) -> None:
        self._sink.record(Warned(text))

    def _arm(self) -> None:
        """Look for a batch in the steps that end with a treatment only."""
        due = bool(self._every) and (self._monitor.step + 1) % int(self._every or 1) == 0
        armed = bool(self._undo) and not self._failed and (self._rescale or due)
        if armed != self.armed:
            self.armed = armed
            functions.refresh()

    def _note(self) -> None:
        place = locate()
        # Of a forward that was called by name the arguments may have been changed by now.
        if place is None or place.by_name or not place.root.training:
            return
        if self._batch is not None and self._batch[0]() is place.root:
            # The first forward of a step is as good as a later one, and several make one step.
            return
        variables = place.forward.f_locals
        self._batch = (weakref.ref(place.root), Arguments(tuple(variables["args"]), dict(variables["kwargs"])))

    def _ours(self, optimizer: Optimizer) -> nn.Module | None:
        """The model whose forward was seen, where the optimizer trains it."""
        model = self._batch[0]() if self._batch is not None else None
        if model is None:
            return None
        trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return model if any(id(parameter) in trained for parameter in model.parameters()) else None

    def _alone(self) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise RectifierError("with several ranks each would measure and draw by itself, and they would part")

    def _rescale_now(self, optimizer: Optimizer) -> None:
        self._alone()
        assert self._batch is not None
        model, batch = self._batch[0](), self._batch[1]
        assert model is not None
        with announce.quietly():
            change = rescale(model, batch, optimizer=optimizer)
        if not change.gains:
            raise RectifierError(f"no layer of {type(model).__name__} was to be rescaled: {change.left}")
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.zero_()
        # It had noted the weights as they were, and would take this for a step of the optimizer's.
        self._monitor.on_step_start(optimizer)
        rescaled = replace(change.fact(type(model).__name__), gradients_zeroed=True)
        self._sink.record(Treated(step=self._monitor.step - 1, name=Treatment.RESCALE, rescaled=rescaled))

    def _recycle_now(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._alone()
        assert self._batch is not None
        step = self._monitor.step - 1
        self._monitor.flush()
        # The whole history, which is short: windows grow with the training, and after 20,000 steps there are 17, read
        # in 7 ms.
        process = self._sink.process()
        if len({site.model for site in process.sites}) > 1:
            raise RectifierError("several models trained, and whose units the findings mean cannot be told")
        dead = [
            finding
            for finding in diagnose(process).findings
            if isinstance(finding.evidence, DeadUnits) and finding.evidence.dead
        ]
        if not dead:
            self.looked.append(step)
            return
        with announce.quietly():
            change = recycle(model, optimizer, dead, batch=self._batch[1])
        if not change.units:
            self.looked.append(step)
            return
        self._sink.record(replace(change.fact, step=step))
        if change.refused:
            raise RectifierError(f"left as it was: {'. '.join(change.refused)}")
