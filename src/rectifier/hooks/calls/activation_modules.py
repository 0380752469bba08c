"""Activation modules that are written with other activations, `z·σ(1.702·z)`, or with a name that was bound long ago.

What they call inside would be observed under the wrong name, or not at all; so their forward is met as a whole. As for
`F.relu`, only the code of the method is exchanged: classes, instances and what pickles stay as they are.
"""

import types
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from rectifier.hooks.calls.code_objects import kept_and_new, put
from rectifier.hooks.calls.dynamo import after_import
from rectifier.hooks.modules import FOREIGN

Forward = Callable[..., Tensor]
Route = Callable[[nn.Module, Forward, tuple[Any, ...]], Tensor]
"""Given the module, its forward as its author wrote it, and what that is called with: the input first."""


def meet_forwards(route: Route, switch: object) -> Callable[[], None]:
    """Send every forward of an activation module that is none of torch's to `route`; returns the undo.

    Args:
        route: Called instead of the forward while `switch.armed`, but not while a compiler traces.
        switch: Has an attribute `armed`.
    """
    undo = [after_import(module, _meeting(classes, route, switch)) for module, classes in FOREIGN.items()]

    def forget() -> None:
        while undo:
            undo.pop()()

    return forget


def _meeting(classes: Mapping[str, str], route: Route, switch: object) -> Callable[[ModuleType], Callable[[], None]]:
    def meet(module: ModuleType) -> Callable[[], None]:
        # One class may have several names.
        found = dict.fromkeys(getattr(module, name, None) for name in classes)
        undo = [_exchange(cls, route, switch) for cls in found if isinstance(cls, type)]

        def forget() -> None:
            while undo:
                undo.pop()()

        return forget

    return meet


_exchanged: dict[types.FunctionType, tuple[types.FunctionType, types.CodeType]] = {}
"""The same code each time, so that whatever was compiled while it was in place is used again."""


def _exchange(cls: type, route: Route, switch: object) -> Callable[[], None]:
    function = vars(cls).get("forward")
    # A closure (a decorator's, or super()) has cells that other code would not fit.
    if not isinstance(function, types.FunctionType) or function.__code__.co_freevars:
        return lambda: None
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    if len(names) < 2:
        return lambda: None
    name = f"_rectifier_{cls.__name__}"
    if function not in _exchanged or _exchanged[function][0].__code__ is not function.__code__:
        source = (
            f"def forward({', '.join(names)}):\n"
            f"    if _rectifier_compiling() or not _rectifier_armed.armed:\n"
            f"        return {name}({', '.join(names)})\n"
            f"    return _rectifier_whole({names[0]}, {name}, ({', '.join(names[1:])},))\n"
        )
        _exchanged[function] = kept_and_new(function, "forward", source)
    kept, new = _exchanged[function]
    added = {
        "_rectifier_compiling": torch.compiler.is_compiling,
        "_rectifier_armed": switch,
        "_rectifier_whole": route,
        name: kept,
    }
    return put(function, new, added)
