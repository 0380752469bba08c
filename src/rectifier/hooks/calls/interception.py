"""What happens at an activation call while somebody observes or replaces: who is told of it, and who computes it."""

import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rectifier.hooks.location import inside_a_model
from rectifier.hooks.modules import activation_of

Replacement = Callable[..., Tensor]

_PLAIN_TENSORS = (Tensor, torch.nn.Parameter)
"""Anything else is a tracer's stand-in (FakeTensor, Proxy), which only ever comes from inside of a model."""


class Observer(Protocol):
    """Someone who wants to see activation calls; `armed` is read at every call and must be cheap."""

    @property
    def armed(self) -> bool:
        """Whether it wants to see calls now."""

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Look at a call that is about to happen; None means not interested."""

    def after(self, token: Any, output: Tensor) -> None:
        """Look at its output; `token` is what `before` returned."""


class Switch:
    """One attribute read per call decides whether anybody is interested."""

    __slots__ = ("alone", "armed", "observers", "replacements")

    def __init__(self) -> None:
        self.armed = False
        self.observers: list[Observer] = []
        self.alone: list[Observer] = []
        self.replacements: dict[str, list[Replacement]] = {}


switch = Switch()
inside = threading.local()
"""What is known of the call that a thread is in, and who alone observes its calls."""


def intercepted(name: str, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """An activation call while somebody observes or replaces.

    `kwargs` may hold `inplace`, which only the Python functions take; `function` is then one of them.
    """
    # torch calls its own activations from one another (F.relu -> torch.relu): only the outermost is the user's.
    if getattr(inside, "busy", False):
        return function(*args, **kwargs)
    if name == "clamp":
        # A clamp may be a numeric guard: it is observed where it is a ReLU, and never replaced.
        if not _is_relu(args, kwargs):
            return function(*args, **kwargs)
        name = "relu"
    elif name == "threshold" and (args[2] if len(args) > 2 else kwargs.get("value")) != 0:
        # torch offers any constant below the threshold; with another than 0 nothing is known of it.
        return function(*args, **kwargs)
    elif _replaced_by_a_mode(name):
        return function(*args, **kwargs)
    else:
        replacements = switch.replacements.get(name)
        if replacements and (inside_a_model() or type(args[0]) not in _PLAIN_TENSORS):
            replaced = replacements[-1](function, *args, **kwargs)
            if replaced is not NotImplemented:
                return replaced
    if getattr(inside, "whole", False):
        return function(*args, **kwargs)
    inside.busy = True
    try:
        return observed(name, function, args, kwargs)
    finally:
        inside.busy = False


def observed(name: str, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """A call that all who observe it are told of, before and after."""
    observers = getattr(inside, "observers", None)
    tokens = [
        (observer, token)
        for observer in (switch.observers if observers is None else observers)
        if observer.armed and (token := observer.before(name, args, kwargs)) is not None
    ]
    output = function(*args, **kwargs)
    for observer, token in tokens:
        observer.after(token, output)
    return output


def whole(module: nn.Module, forward: Callable[..., Tensor], args: tuple[Any, ...]) -> Tensor:
    """The forward of an activation module, whatever it calls inside; that is replaced there, and not observed."""
    choice = activation_of(module)
    within = getattr(inside, "busy", False) or getattr(inside, "whole", False)
    if within or choice is None or choice.activation.name == "identity":
        return forward(module, *args)
    row = choice.activation
    named = {row.parameter: choice.parameter} if row.parameter is not None else {}
    inside.whole = True
    try:
        return observed(row.name, lambda *inputs, **_: forward(module, *inputs), args, named)
    finally:
        inside.whole = False


def _replaced_by_a_mode(name: str) -> bool:
    """Whether a swap that is scoped to the running module will turn this call into another activation's."""
    if not torch._C._len_torch_function_stack():
        return False
    for mode in reversed(torch.overrides._get_current_function_mode_stack()):  # type: ignore[no-untyped-call]
        if hasattr(mode, "rectifier_replaces") and mode.name == name:
            return bool(mode.rectifier_replaces == name)
    return False


def _is_relu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a clamp is a ReLU: a lower bound of exactly 0 and no upper bound."""
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    return high is None and isinstance(low, int | float) and low == 0


def traced(name: str, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """An activation call while a compiler traces: nothing is observed, but a replacement must be traced in."""
    replacements = switch.replacements.get(name)
    if replacements:
        replaced = replacements[-1](function, *args, **kwargs)
        if replaced is not NotImplemented:
            return replaced
    return function(*args, **kwargs)
