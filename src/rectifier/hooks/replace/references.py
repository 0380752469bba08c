"""What the code of a forward refers to: the values it takes up, and the functions that calling them runs."""

import functools
import inspect
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rectifier.hooks.modules import from_torch, written_class
from rectifier.hooks.replace.bytecode import Load, loads

Reference = tuple[Any, nn.Module | None, tuple[str, int]]
"""A value that a function takes up; the module that is `self` if it is a method; how it is written, in which line."""

UNKNOWN = object()
_ABSENT = object()


@dataclass(frozen=True, eq=False, slots=True)
class Body:
    """A function to read: its code (that of a function defined in it, if `inner`), and the module that is `self`."""

    function: types.FunctionType
    code: types.CodeType
    module: nn.Module | None
    inner: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """Tells it from all others."""
        return id(self.code), id(self.module)


def bodies_of(thing: Any, module: nn.Module | None) -> Iterator[Body]:
    """The functions that calling `thing` runs, as far as they are neither torch's nor the standard library's."""
    if isinstance(thing, types.FunctionType):
        if not is_foreign(thing):
            yield Body(thing, thing.__code__, module)
        if (wrapped := vars(thing).get("__wrapped__")) is not None:
            yield from bodies_of(wrapped, module)
    elif isinstance(thing, types.MethodType):
        yield from bodies_of(thing.__func__, thing.__self__ if isinstance(thing.__self__, nn.Module) else None)
    elif isinstance(thing, functools.partial):
        yield from bodies_of(thing.func, module)
    elif isinstance(thing, staticmethod | classmethod):
        yield from bodies_of(thing.__func__, module)
    elif isinstance(thing, property):
        yield from bodies_of(thing.fget, module)
    elif callable(thing) and not isinstance(thing, type | nn.Module):
        # What functools.lru_cache and the like return, or an object with a __call__ of its own.
        inner = getattr(thing, "__wrapped__", None) or inspect.getattr_static(type(thing), "__call__", None)
        if isinstance(inner, types.FunctionType | types.MethodType):
            yield from bodies_of(inner, module)


def is_foreign(function: types.FunctionType) -> bool:
    """Whether it is torch's, ours or the standard library's."""
    top = (function.__globals__.get("__name__") or "").partition(".")[0]
    return top in {"torch", "rectifier"} or top in sys.stdlib_module_names - {"__main__"}


def references_in(body: Body) -> Iterator[Reference]:
    """Every value that a function takes up."""
    function = body.function
    if not body.inner:
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            if callable(default):
                name = getattr(default, "__name__", "a default argument")
                yield default, None, (name, body.code.co_firstlineno)
    for load in loads(body.code):
        written = ".".join(load.names) if load.base != "value" else "(…)." + ".".join(load.names)
        for target, owner in _resolve(load, body):
            yield target, owner, (written, load.line)


def _resolve(load: Load, body: Body) -> Iterator[tuple[Any, nn.Module | None]]:
    function, module = body.function, body.module
    name, *attributes = load.names
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    if load.base == "value":
        yield UNKNOWN, None
        if module is not None and not attributes and "super" in body.code.co_names:
            for method in _inherited(written_class(type(module)), function, name):
                yield method, module
    elif load.base == "global":
        yield _walk(function.__globals__.get(name, _ABSENT), attributes)
    elif module is not None and arguments and name == arguments[0]:
        if attributes:
            target, owner = _walk(module, attributes)
            # What hangs on the instance is replaced there; only the user's own functions are read on.
            if not _held(owner, attributes[-1]) or any(True for _ in bodies_of(target, owner)):
                yield target, owner
    elif load.base == "cell":
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        try:
            start = cells[name].cell_contents
        except (KeyError, ValueError):
            start = UNKNOWN
        yield _walk(start, attributes)
    elif attributes:
        yield UNKNOWN, None


def _walk(thing: Any, names: Sequence[str]) -> tuple[Any, nn.Module | None]:
    """Follow attributes without running any code of the user's; also tell the module that the last was taken from."""
    owner: nn.Module | None = None
    for name in names:
        if thing is UNKNOWN or isinstance(thing, torch.Tensor):
            return UNKNOWN, None
        owner = thing if isinstance(thing, nn.Module) else None
        thing = _attribute(thing, name)
        if isinstance(thing, property) and name != names[-1]:
            return UNKNOWN, None
    return thing, owner


def _held(owner: nn.Module | None, name: str) -> bool:
    return owner is not None and (name in vars(owner) or name in owner._modules)


def _attribute(thing: Any, name: str) -> Any:
    if isinstance(thing, types.ModuleType):
        return vars(thing).get(name, _ABSENT)
    if isinstance(thing, nn.Module):
        tables = (vars(thing), thing._modules, thing._parameters, thing._buffers)
        for table in tables:
            if name in table:
                return table[name]
        return inspect.getattr_static(written_class(type(thing)), name, _ABSENT)
    if isinstance(thing, type):
        return inspect.getattr_static(thing, name, _ABSENT)
    if thing is _ABSENT:
        return _ABSENT
    return getattr(thing, "__dict__", {}).get(name, UNKNOWN)


def _inherited(cls: type, function: types.FunctionType, name: str) -> Iterator[Any]:
    """What `super().name` means in a method of the class."""
    after = False
    for ancestor in cls.__mro__:
        if after and name in vars(ancestor):
            yield vars(ancestor)[name]
            return
        after = after or any(value is function for value in vars(ancestor).values())


def methods_of(cls: type) -> Iterator[tuple[str, types.FunctionType]]:
    """The functions that a class and its ancestors outside of torch define, but for the special ones."""
    for ancestor in cls.__mro__:
        if from_torch(ancestor) or ancestor is object:
            continue
        for name, value in vars(ancestor).items():
            value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if isinstance(value, types.FunctionType) and not (name.startswith("__") and name.endswith("__")):
                yield name, value
