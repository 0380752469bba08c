"""Observes compiled models through an extra uncompiled forward at observed steps."""

import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from rectifier.hooks import unobserved_activations
from rectifier.hooks.calls.compiled import sequence_number
from rectifier.hooks.recorders import recorder
from rectifier.monitor.training.sinks import Sink
from rectifier.monitor.training.sites.models import ModelRecords
from rectifier.records import Unseen, Warned
from rectifier.sandbox import CannotKeep, repeat, tensors_in, why_not_repeated


class ExtraForwards:
    """Repeats forwards for one monitor, until one cannot be.

    Args:
        models: What counts the calls of a repetition, and is told here which are.
        sink: Told once when repeating ends.
        unseen: Told of what looked like an activation in a repetition and was not observed.
    """

    def __init__(self, models: ModelRecords, sink: Sink, unseen: Callable[[tuple[Unseen, ...]], None]) -> None:
        self._models, self._sink, self._unseen = models, sink, unseen
        self._ended = False
        self._repeated: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._on_device: list[tuple[Any, Any, float]] = []
        self.numbers: list[range] = []
        """Numbers of the nodes that this step's compiled calls made whose forwards were repeated."""

    def repeat(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Run the forward of a module that is about to run compiled; False if it was not, or not wholly."""
        if self._ended or not self._is_training(module):
            return False
        try:
            refused = why_not_repeated(module)
            if refused is None:
                self._run(module, args, kwargs)
                return True
        except Exception as error:
            refused = str(error) if isinstance(error, CannotKeep) else f"{type(error).__name__}: {error}"
            refused = refused.strip().partition("\n")[0]
        self._ended = True
        name = type(module).__name__
        self._sink.record(Warned(f"no extra uncompiled forward of {name}: {refused}"))
        return False

    def _is_training(self, module: nn.Module) -> bool:
        return (
            module.training
            and torch.is_grad_enabled()
            # What activation checkpointing runs again has been counted already.
            and torch._C._current_graph_task_id() == -1
            # It would see everything twice.
            and recorder() is None
            and self._models.roots.watches(module)
            and not any(nn.parameter.is_lazy(weight) for weight in module.parameters())
        )

    def _run(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        device = next((tensor.device for tensor in tensors_in((args, kwargs)) if tensor.is_cuda), None)
        events = None if device is None else _started(device)
        began = time.perf_counter()
        first = sequence_number()
        self._models.repeating = True
        try:
            output = repeat(module, args, kwargs, first=module not in self._repeated)
            self._repeated.add(module)
        finally:
            self._models.repeating = False
            self._models.end_forward(module)
        if self._models.nodes is not None:
            self._unseen(
                unobserved_activations(tensors_in(output), self._models.observed_nodes(), [range(first)], of_loss=False)
            )
        if events is not None:
            events[1].record()
            self._on_device.append((*events, time.perf_counter() - began))

    def end_step(self) -> float:
        """Forget the step; returns the seconds that repetitions took a device beyond the host's, as far as known."""
        self.numbers.clear()
        seconds, waiting = 0.0, []
        for start, end, host in self._on_device:
            if end.query():
                seconds += max(0.0, start.elapsed_time(end) / 1000 - host)
            else:
                waiting.append((start, end, host))
        self._on_device = waiting
        return seconds


def _started(device: torch.device) -> tuple[Any, Any]:
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        return start, end
