"""Hears of each call of a compiled module, outside of what is compiled.

There are two kinds: the wrapper that `torch.compile(module)` returns, and the module that `module.compile()` changed.
A compiled function gives nothing to hold on to. What a compiler traces on the way through here is what it would have
traced without us.
"""

import functools
import threading
import types
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import nn

from rectifier.hooks.calls import functions
from rectifier.hooks.calls.dynamo import after_import
from rectifier.hooks.modules import unwrapped

_inside = threading.local()
sequence_number: Callable[[], int] = getattr(torch._C._autograd, "_get_sequence_nr", lambda: 0)
"""The number that the next node of a graph gets in this thread."""
_listeners: list["CompiledListener"] = []
_undo: list[Callable[[], None]] = []


class CompiledListener(Protocol):
    """Someone who looks at the forward of a compiled module by other means. It may not raise."""

    def on_compiled_call(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """The module is about to run compiled; True if its calls have been seen already."""

    def after_compiled_call(self, first: int, last: int) -> None:
        """It has run; the nodes of the graph numbered from `first` to `last` are its."""


def listen(listener: CompiledListener) -> Callable[[], None]:
    """Tell `listener` of every call of a compiled module, the latest who asks first; returns the undo."""
    _listeners.insert(0, listener)
    if not _undo:
        _undo[:] = [_hear_compiled_in_place(), after_import("torch._dynamo.eval_frame", _hear_wrappers)]

    def forget() -> None:
        if listener in _listeners:
            _listeners.remove(listener)
        while _undo and not _listeners:
            _undo.pop()()

    return forget


def _call(module: nn.Module, compiled: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # A compiled part of a compiled module is a part of its forward.
    if torch.compiler.is_compiling() or getattr(_inside, "busy", False) or not functions.are_the_trainings():
        return compiled(*args, **kwargs)
    _inside.busy = True
    try:
        inner = unwrapped(module)
        seen_by = next((one for one in tuple(_listeners) if one.on_compiled_call(inner, args, kwargs)), None)
        if seen_by is None:
            return compiled(*args, **kwargs)
        first = sequence_number()
        # Where the compiler gives up, parts of the forward run as they are written.
        with functions.unobserved():
            output = compiled(*args, **kwargs)
        seen_by.after_compiled_call(first, sequence_number())
        return output
    finally:
        _inside.busy = False


def _hear_wrappers(frames: ModuleType) -> Callable[[], None]:
    """`torch.compile(module)` makes an `OptimizedModule`."""
    wrapper = frames.OptimizedModule
    original = wrapper.__call__

    @functools.wraps(original)
    def heard(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return _call(self, functools.partial(original, self), args, kwargs)

    wrapper.__call__ = heard

    def undo() -> None:
        if wrapper.__call__ is heard:
            wrapper.__call__ = original

    return undo


def _hear_compiled_in_place() -> Callable[[], None]:
    """`module.compile()` leaves a compiled function in the module, which `__call__` then takes.

    Only the code of `__call__` is exchanged, as for `F.relu`: whoever compares it finds the same function.
    """
    function = nn.Module._wrapped_call_impl
    old = function.__code__

    def _wrapped_call_impl(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        compiled = self._compiled_call_impl
        if compiled is None:
            return self._call_impl(*args, **kwargs)
        return _rectifier_call_compiled(self, compiled, args, kwargs)  # type: ignore[name-defined]  # noqa: F821

    code: types.CodeType = _wrapped_call_impl.__code__
    function.__globals__["_rectifier_call_compiled"] = _call
    function.__code__ = code.replace(co_filename=old.co_filename, co_firstlineno=old.co_firstlineno)

    def undo() -> None:
        function.__code__ = old
        function.__globals__.pop("_rectifier_call_compiled", None)

    return undo
