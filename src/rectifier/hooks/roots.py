"""Forwards of whole models: calls of a module with parameters that no other module's call is around."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from rectifier.hooks.patch.attributes import wrap

Forward = Callable[..., Any]
Route = Callable[[nn.Module, Forward, tuple[Any, ...], dict[str, Any]], Any]
"""Given the module, its call, and what that is called with; returns what the user gets."""


def map_tensors(
    function: Callable[[int, Tensor], Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a model is called with, each tensor replaced, those in lists and dictionaries, too.

    Args:
        function: Given the tensor's place in the call, and the tensor.
        args: Of the call.
        kwargs: Likewise.
    """
    leaves, form = tree_flatten((args, kwargs))
    new = [function(place, leaf) if isinstance(leaf, Tensor) else leaf for place, leaf in enumerate(leaves)]
    given: tuple[tuple[Any, ...], dict[str, Any]] = tree_unflatten(new, form)
    return given


class _Inside(threading.local):
    routed = False


def route_roots(route: Route) -> Callable[[], None]:
    """Send each root forward of this process to `route`, which makes the call itself; returns the undo.

    A module without parameters is no model: losses and metrics are modules, too. While a compiler traces, every call
    runs as it is.
    """
    inside = _Inside()

    def routed(call: Forward, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or inside.routed or next(module.parameters(), None) is None:
            return call(module, *args, **kwargs)
        inside.routed = True
        try:
            return route(module, lambda *given, **named: call(module, *given, **named), args, kwargs)
        finally:
            inside.routed = False

    return wrap(nn.Module, "__call__", routed)
