"""When a training back-propagates and when it steps: the clock that everything else is told by.

The post-step hook is the one point where gradients are reduced, unscaled and present under plain loops, DDP, FSDP2,
AMP, Lightning and Hugging Face alike; a step that a GradScaler skips never reaches it.
"""

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from rectifier.hooks.patch.attributes import wrap
from rectifier.hooks.recorders import recorder


class TrainingListener:
    """Someone who wants to know when a training moves; hears of nothing that it does not override. None may raise."""

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """`loss` is about to be back-propagated; `unscaled` is its value before a GradScaler."""

    def on_backward_end(self) -> None:
        """It has been."""

    def on_clip(self, norm: Tensor) -> None:
        """`clip_grad_norm_` is about to shrink gradients whose norm is `norm`, a number on the device."""

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """`optimizer` is about to step; `call` is what `step` was called with."""

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """`optimizer` has stepped."""

    def on_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler has left out a step of `optimizer`'s, because a gradient was not finite."""


def listen(listener: TrainingListener) -> Callable[[], None]:
    """Tell `listener` of every backward pass and every optimizer step of this process; returns the undo."""
    # The methods themselves: in a training of short steps whatever is called in between has left the caches.
    handles = [
        register_optimizer_step_pre_hook(listener.on_step_start),
        register_optimizer_step_post_hook(listener.on_step_end),
    ]
    undo_backward, undo_clipping = _listen_to_backward(listener), _listen_to_clipping(listener)
    undo_scaler = _listen_to_scaler(listener)

    def forget() -> None:
        for handle in handles:
            handle.remove()
        undo_backward()
        undo_clipping()
        undo_scaler()

    return forget


def _listen_to_scaler(listener: TrainingListener) -> Callable[[], None]:
    """Whether an optimizer stepped when a GradScaler was asked to step it."""
    step = torch.amp.GradScaler.step
    active = True

    @functools.wraps(step)
    def heard_step(self: torch.amp.GradScaler, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        told = active and self.is_enabled() and isinstance(optimizer, Optimizer)
        if not told or torch.compiler.is_compiling():
            return step(self, optimizer, *args, **kwargs)
        stepped = False

        def note(*call: Any) -> None:
            nonlocal stepped
            stepped = True

        handle = optimizer.register_step_post_hook(note)
        try:
            result = step(self, optimizer, *args, **kwargs)
        finally:
            handle.remove()
        if not stepped:
            listener.on_skipped(optimizer)
        return result

    torch.amp.GradScaler.step = heard_step  # type: ignore[method-assign]

    def forget() -> None:
        nonlocal active
        active = False
        if torch.amp.GradScaler.step is heard_step:
            torch.amp.GradScaler.step = step  # type: ignore[method-assign]

    return forget


def _listen_to_clipping(listener: TrainingListener) -> Callable[[], None]:
    """What `clip_grad_norm_` measured, by whatever name or alias the user calls it.

    It looks its second half up in its own module at each call, so the function that users hold stays as it is.
    """
    clip = getattr(clip_grad, "_clip_grads_with_norm_", None)
    if clip is None:
        # Before torch 2.6 it is all one function.
        return lambda: None
    active = True

    @functools.wraps(clip)
    def heard_clip(parameters: Any, max_norm: Any, total_norm: Any, *args: Any, **kwargs: Any) -> Any:
        # Of sharded gradients each rank holds a part of the norm: reading it would be a collective.
        if active and type(total_norm) is Tensor and total_norm.numel() == 1 and not torch.compiler.is_compiling():
            listener.on_clip(total_norm)
        return clip(parameters, max_norm, total_norm, *args, **kwargs)

    clip_grad._clip_grads_with_norm_ = heard_clip

    def forget() -> None:
        nonlocal active
        active = False
        if clip_grad._clip_grads_with_norm_ is heard_clip:
            clip_grad._clip_grads_with_norm_ = clip

    return forget


class _Scaled(threading.local):
    """What this thread's GradScaler has scaled last: the result, and its value before."""

    now: tuple[weakref.ref[Tensor], Tensor] | None = None


def _listen_to_backward(listener: TrainingListener) -> Callable[[], None]:
    backward = torch.autograd.backward
    scale = torch.amp.GradScaler.scale
    scaled = _Scaled()
    active = True

    @functools.wraps(backward)
    def heard_backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
        heard = active and isinstance(tensors, Tensor) and tensors.numel() == 1 and not torch.compiler.is_compiling()
        if heard:
            unscaled = tensors
            if scaled.now is not None:
                result, value = scaled.now
                if result() is tensors:
                    unscaled = value
                scaled.now = None
            listener.on_backward(tensors, unscaled)
        backward(tensors, *args, **kwargs)
        if heard:
            listener.on_backward_end()

    @functools.wraps(scale)
    def heard_scale(self: torch.amp.GradScaler, outputs: Any) -> Any:
        result = scale(self, outputs)
        if active and isinstance(outputs, Tensor) and isinstance(result, Tensor) and recorder() is None:
            scaled.now = weakref.ref(result), outputs.detach()
        return result

    torch.autograd.backward = heard_backward
    torch.amp.GradScaler.scale = heard_scale  # type: ignore[method-assign]

    def forget() -> None:
        nonlocal active
        active = False
        scaled.now = None
        if torch.autograd.backward is heard_backward:
            torch.autograd.backward = backward
        if torch.amp.GradScaler.scale is heard_scale:
            torch.amp.GradScaler.scale = scale  # type: ignore[method-assign]

    return forget


def around_backward(around: Callable[..., None]) -> Callable[[], None]:
    """Let each call of `torch.autograd.backward` go through `around(original, tensors, …)`; returns the undo.

    `Tensor.backward` calls it, too. Listeners that came before hear only of what `around` calls.
    """
    return wrap(torch.autograd, "backward", around)
