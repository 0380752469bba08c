"""Every call of a function of torch's in this thread, offered to somebody.

There is one mode for all who listen. Python's `with` would end modes in the reverse order of their beginning, and who
listens here begins and ends in the middle of calls: a loss is back-propagated by such a call.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

Function = Callable[..., Any]
Called = Callable[[Function, Function, tuple[Any, ...], dict[str, Any]], Any]
"""Given a function, what calls it for all others who listen, its arguments and keywords; returns the result, or
NotImplemented to leave the call as it is."""


class _Calls(TorchFunctionMode):
    rectifier_mode = True

    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[Called] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if not self.listeners or torch.compiler.is_compiling():
            return func(*args, **named)
        return _offer(func, tuple(self.listeners), args, named)


def _offer(function: Function, listeners: tuple[Called, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not listeners:
        return function(*args, **kwargs)
    *others, last = listeners
    rest = tuple(others)

    def proceed(*given: Any, **named: Any) -> Any:
        return _offer(function, rest, given, named)

    result = last(function, proceed, args, kwargs)
    return proceed(*args, **kwargs) if result is NotImplemented else result


_mode: _Calls | None = None


def on_calls(called: Called) -> Callable[[], None]:
    """Offer `called` each call from now on; returns the undo. Who comes last is asked first.

    It costs some microseconds a call: for a few steps, or for trials of an explanation.
    """
    global _mode  # noqa: PLW0603 - one for this process
    if _mode is None:
        _mode = _Calls()
        _mode.__enter__()  # type: ignore[no-untyped-call]
    _mode.listeners.append(called)

    def forget() -> None:
        if _mode is not None and called in _mode.listeners:
            _mode.listeners.remove(called)
            leave_if_idle()

    return forget


def leave_if_idle() -> None:
    """End the mode, where it is the innermost one; in the middle of a call it stays, and does nothing."""
    global _mode  # noqa: PLW0603 - one for this process
    if _mode is None or _mode.listeners:
        return
    stack = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    if stack and stack[-1] is _mode:
        _mode.__exit__(None, None, None)
        _mode = None
