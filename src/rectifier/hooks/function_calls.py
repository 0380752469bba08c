"""Every call of a function of torch's in this thread, offered to somebody."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

Called = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Given a function, its arguments and keywords; returns the result, or NotImplemented to leave the call as it is."""


class _Calls(TorchFunctionMode):
    rectifier_mode = True

    def __init__(self, called: Called) -> None:
        super().__init__()
        self._called = called

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if not torch.compiler.is_compiling():
            result = self._called(func, args, named)
            if result is not NotImplemented:
                return result
        return func(*args, **named)


def on_calls(called: Called) -> Callable[[], None]:
    """Offer `called` each call from now on; returns the undo.

    It costs some microseconds a call: for a few steps, or for trials of an explanation.
    """
    mode = _Calls(called)
    mode.__enter__()  # type: ignore[no-untyped-call]
    active = True

    def forget() -> None:
        nonlocal active
        if active:
            active = False
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    return forget
