"""Batches left out of a training: of one sample, or with numbers that are not finite."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.hooks.graph.loss_graph import read_loss
from rectifier.hooks.optimizers import tensors_of
from rectifier.hooks.roots import Forward, map_tensors, route_roots
from rectifier.hooks.training import around_backward
from rectifier.records import Change
from rectifier.treatment.interventions.intervening import Intervening


class Skipping(Intervening):
    """A pass that is left out gives zero gradients, and the step after it changes nothing.

    Gradients of 0 instead of none: hooks of distributed training and a GradScaler wait for them.
    """

    def __init__(self, change: Change) -> None:
        super().__init__(change)
        self._leave_out = False
        self._aside: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def start(self) -> None:
        """Begin."""
        super().start()
        self._undo.append(around_backward(self._backward))

    def _unfit(self, loss: Tensor) -> str:
        """Why a pass is left out, "" where it is not."""
        raise NotImplementedError

    def _backward(self, original: Callable[..., None], tensors: Any, *args: Any, **kwargs: Any) -> None:
        reason = self._unfit(tensors) if isinstance(tensors, Tensor) and tensors.numel() == 1 else ""
        if not reason:
            original(tensors, *args, **kwargs)
            return
        self.note(reason)
        self._leave_out = True
        leaves = [leaf for leaf in read_loss(tensors, {}, values=False).leaves if leaf.numel()]
        if leaves:
            # No single number: who listens must not take it for a loss.
            zeros = torch.stack([leaf.flatten()[0].float() for leaf in (leaves[0], *leaves)])
            original(zeros, torch.zeros_like(zeros))

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """A step without gradients does nothing at all, not even with momentum."""
        if not self._leave_out:
            return
        aside = self._aside[id(optimizer)] = []
        for tensor in tensors_of(optimizer):
            if tensor.grad is not None:
                aside.append((tensor, tensor.grad))
                tensor.grad = None

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """The gradients are there again, for whoever prints them."""
        for tensor, gradient in self._aside.pop(id(optimizer), ()):
            tensor.grad = gradient
        self._leave_out = False


class SkipNonfinite(Skipping):
    """Leave out what is not finite: inputs, loss, or gradient."""

    def __init__(self) -> None:
        super().__init__(Change.SKIP_NONFINITE)
        self._bad_inputs = False

    def start(self) -> None:
        """Begin."""
        super().start()
        self._undo.append(route_roots(self._forward))

    def _forward(self, module: nn.Module, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        given, named = map_tensors(lambda place, value: self._finite(value), args, kwargs)
        return forward(*given, **named)

    def _finite(self, value: Tensor) -> Tensor:
        # Running means of normalisations must not see them either.
        if type(value) is Tensor and value.is_floating_point() and not bool(value.isfinite().all()):
            self._bad_inputs = True
            return value.nan_to_num(0.0, 0.0, 0.0)
        return value

    def _unfit(self, loss: Tensor) -> str:
        bad, self._bad_inputs = self._bad_inputs, False
        if bad:
            return "inputs that are not finite"
        return "" if bool(loss.isfinite()) else "a loss that is not finite"

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """A gradient that is not finite is the last chance to leave a step out."""
        if not self._leave_out:
            gradients = [tensor.grad for tensor in tensors_of(optimizer) if tensor.grad is not None]
            if not all(bool(gradient.isfinite().all()) for gradient in gradients):
                self._leave_out = True
                self.note("a gradient that is not finite")
        super().on_step_start(optimizer, *call)


class SkipBatchesOfOne(Skipping):
    """Leave out batches of one sample; what normalises over a batch sees the sample twice meanwhile."""

    def __init__(self) -> None:
        super().__init__(Change.SKIP_BATCHES_OF_ONE)
        self._one = False
        self._larger: set[int] = set()

    def start(self) -> None:
        """Begin."""
        super().start()
        self._undo.append(route_roots(self._forward))

    def _forward(self, module: nn.Module, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = next(
            (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.ndim > 1), None
        )
        if first is None or not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        if len(first) != 1:
            self._larger.add(id(module))
            return forward(*args, **kwargs)
        if id(module) not in self._larger:
            # A model that is only ever given one sample has no other batches to learn from.
            return forward(*args, **kwargs)
        self._one = True
        twice = functools.partial(
            _map, lambda value: torch.cat([value, value]) if value.ndim and len(value) == 1 else value
        )
        once = functools.partial(_map, lambda value: value[:1] if value.ndim and len(value) == 2 else value)
        return once(forward(*twice(args), **twice(kwargs)))

    def _unfit(self, loss: Tensor) -> str:
        one, self._one = self._one, False
        return "batches of one" if one else ""


def _map(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map(function, one) for one in value))
    if isinstance(value, tuple | list):
        return type(value)(_map(function, one) for one in value)
    if isinstance(value, dict):
        return {name: _map(function, one) for name, one in value.items()}
    return value
