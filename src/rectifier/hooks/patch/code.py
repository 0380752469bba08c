"""Calls of a Python function of torch's go through somebody first, by whatever name the user holds it."""

import types
from collections.abc import Callable
from itertools import count
from typing import Any

import torch

from rectifier.hooks.calls.code_objects import kept_and_new, put

_numbers = count()


def around_function(function: types.FunctionType, around: Callable[..., Any]) -> Callable[[], None]:
    """Let each call go through `around(original, *args, **kwargs)`; returns the undo.

    The function stays the same object. While a compiler traces, it runs as it is.

    Args:
        function: Without `*args` of its own.
        around: Gets what the call was given, arguments with a default by name.
    """
    code, name = function.__code__, function.__name__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    plain = len(names) - len(function.__defaults__ or ()) - code.co_kwonlyargcount
    call = ", ".join([*names[:plain], *(f"{name}={name}" for name in names[plain:])])
    number = next(_numbers)
    before, own = f"_rectifier_original_{number}", f"_rectifier_around_{number}"
    compiling = f"_rectifier_compiles_{number}"
    source = (
        f"def {name}({', '.join(names)}):\n"
        f"    if {compiling}():\n"
        f"        return {before}({call})\n"
        f"    return {own}({before}, {call})\n"
    )
    kept, new = kept_and_new(function, name, source)
    return put(function, new, {before: kept, own: around, compiling: torch.compiler.is_compiling})
