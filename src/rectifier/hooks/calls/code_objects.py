"""Exchanging the code of somebody's function: whoever holds it, by whatever name, runs ours first."""

import types
from collections.abc import Callable, Mapping
from typing import Any


def kept_and_new(function: types.FunctionType, name: str, source: str) -> tuple[types.FunctionType, types.CodeType]:
    """Make a copy of a function that keeps its code, and the code to put in its place.

    Args:
        function: Its own parameters, defaults and closure stay.
        name: Of the copy, and of what the source defines.
        source: Written out with the function's own parameters, so that signature, defaults and keywords stay.
    """
    old = function.__code__
    kept = types.FunctionType(old, function.__globals__, name, function.__defaults__, function.__closure__)
    kept.__kwdefaults__ = function.__kwdefaults__
    scratch: dict[str, Any] = {}
    exec(compile(source, "<rectifier>", "exec"), scratch)
    # The old file and line keep inspect.getsource, and with it torch.jit.script, on the function's own text.
    new = scratch[name].__code__.replace(co_filename=old.co_filename, co_firstlineno=old.co_firstlineno)
    return kept, new


def put(function: types.FunctionType, new: types.CodeType, added: Mapping[str, Any]) -> Callable[[], None]:
    """Put code in the place of a function's own; returns the undo.

    Args:
        function: Whose code goes.
        new: From `kept_and_new`.
        added: Globals that the new code uses.
    """
    old = function.__code__
    function.__globals__.update(added)
    function.__code__ = new

    def undo() -> None:
        function.__code__ = old
        # Of the names that all functions of a file share, the last to go takes what is left.
        for key in added:
            function.__globals__.pop(key, None)

    return undo
