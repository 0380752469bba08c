"""Where the source of a model's forward names an activation function, found without running it.

A forward is read as the interpreter reads it: its compiled code, the code of the methods it takes from `self`, and
the Python functions it reaches through globals, closures, default arguments and attributes; never into torch or the
standard library. What only a running program can know (a method of a local variable, a function in a dictionary)
counts as named: a call is rather told once too often than missed.
"""

import functools
import inspect
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import checkpoint

from rectifier.hooks.modules import activation_of, class_of_activation, from_torch, is_torch_class, written_class
from rectifier.hooks.replace.activation_functions import function_names, is_function_of
from rectifier.hooks.replace.bytecode import Load, loads, nested, place

_Target = tuple[Any, nn.Module | None, tuple[str, int]]
"""A value that a function takes up; the module that is `self` if it is a method; how it is written, in which line."""

_UNKNOWN = object()
_ABSENT = object()
_CHECKPOINTS = (checkpoint.checkpoint, checkpoint.checkpoint_sequential)


@dataclass(frozen=True, slots=True)
class Call:
    """One place in the source that names an activation function.

    Attributes:
        written: As it stands there: `F.relu`, `x.relu_`.
        source: `file.py:31`.
        scripted: It lies in a `torch.jit.script` function, which nothing can reach into.
    """

    written: str
    source: str
    scripted: bool = False

    def __str__(self) -> str:
        return f"{self.written} at {self.source}"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a module's forward reaches.

    Attributes:
        calls: Places that name the activation function.
        methods: The module's own methods that lead to such a place, `forward` among them.
        elsewhere: Places in methods that the forward does not reach: a loss, for example.
        repeated: Places that run again in the backward pass, outside of every forward: activation checkpointing of
            something that is neither a module nor a method.
    """

    calls: tuple[Call, ...] = ()
    methods: frozenset[str] = frozenset()
    elsewhere: tuple[Call, ...] = ()
    repeated: tuple[Call, ...] = ()


def find_calls(module: nn.Module, activation: str) -> Reach:
    """Read the source of a module's forward for functional calls of one activation.

    Warning:
        Torch's own modules are not read; see `find_handed_calls`.

    Args:
        module: Any module of a model; its children are not followed.
        activation: Catalogue name, `relu`.
    """
    if is_torch_class(type(module)):
        return Reach()
    # Someone may have put a wrapped forward on the instance; it mostly ends in the class's own.
    entries = [own for own in (vars(module).get("forward"), written_class(type(module)).forward) if own is not None]
    if entries[-1].__module__.partition(".")[0] == "torch":
        # torch's forward is not read; it may lead to anything that the user's class puts in place of torch's.
        entries += [method for _, method in _methods(written_class(type(module)))]
    start = [node for entry in entries for node in _nodes(entry, module)]
    reached = _closure(start, activation)
    calls = _calls(reached, activation)
    if not calls:
        return Reach(elsewhere=_elsewhere(module, reached, activation))
    methods = {"forward"}
    own = {id(method): name for name, method in _methods(written_class(type(module)))}
    for node in reached:
        name = own.get(id(node.function))
        if name is not None and _calls(_closure([node], activation), activation):
            methods.add(name)
    repeated: tuple[Call, ...] = ()
    if any(target in _CHECKPOINTS for node in reached for target, _, _ in _targets(node)):
        outside = [node for node in reached if node.inner or id(node.function) not in own]
        repeated = _calls(outside, activation)
    return Reach(calls, frozenset(methods), _elsewhere(module, reached, activation), repeated)


def find_handed_calls(function: Any, activation: str) -> tuple[Call, ...]:
    """Read a function that the user handed to a module: `nn.TransformerEncoderLayer(..., activation=my_function)`."""
    if isinstance(function, nn.Module) or is_function_of(function, activation):
        return ()
    return _calls(_closure(list(_nodes(function, None)), activation), activation)


@dataclass(frozen=True, eq=False, slots=True)
class _Node:
    """A function to read: its code (that of a function defined in it, if `inner`), and the module that is `self`."""

    function: types.FunctionType
    code: types.CodeType
    module: nn.Module | None
    inner: bool = False

    @property
    def key(self) -> tuple[int, int]:
        return id(self.code), id(self.module)


def _nodes(thing: Any, module: nn.Module | None) -> Iterator[_Node]:
    """The functions that calling `thing` runs, as far as they are neither torch's nor the standard library's."""
    if isinstance(thing, types.FunctionType):
        if not _foreign(thing):
            yield _Node(thing, thing.__code__, module)
        if (wrapped := vars(thing).get("__wrapped__")) is not None:
            yield from _nodes(wrapped, module)
    elif isinstance(thing, types.MethodType):
        yield from _nodes(thing.__func__, thing.__self__ if isinstance(thing.__self__, nn.Module) else None)
    elif isinstance(thing, functools.partial):
        yield from _nodes(thing.func, module)
    elif isinstance(thing, staticmethod | classmethod):
        yield from _nodes(thing.__func__, module)
    elif isinstance(thing, property):
        yield from _nodes(thing.fget, module)
    elif callable(thing) and not isinstance(thing, type | nn.Module):
        # What functools.lru_cache and the like return, or an object with a __call__ of its own.
        inner = getattr(thing, "__wrapped__", None) or inspect.getattr_static(type(thing), "__call__", None)
        if isinstance(inner, types.FunctionType | types.MethodType):
            yield from _nodes(inner, module)


def _foreign(function: types.FunctionType) -> bool:
    top = (function.__globals__.get("__name__") or "").partition(".")[0]
    return top in {"torch", "rectifier"} or top in sys.stdlib_module_names - {"__main__"}


def _closure(start: list[_Node], activation: str) -> list[_Node]:
    """Everything that can run, from these functions on."""
    found: dict[tuple[int, int], _Node] = {}
    waiting = list(start)
    while waiting:
        node = waiting.pop()
        if node.key in found:
            continue
        found[node.key] = node
        waiting += [_Node(node.function, code, node.module, inner=True) for code in nested(node.code)]
        for target, owner, _ in _targets(node):
            if not is_function_of(target, activation):
                waiting += _nodes(target, owner)
    return list(found.values())


def _calls(nodes: list[_Node], activation: str) -> tuple[Call, ...]:
    found: dict[Call, None] = {}
    for node in nodes:
        for target, _, (written, line) in _targets(node):
            names = written.rsplit(".", 1)
            unknown = target is _UNKNOWN and len(names) > 1 and names[1] in function_names(activation)
            if unknown or _computes(target, activation):
                found[Call(written, place(node.code, line))] = None
            elif isinstance(target, torch.jit.ScriptFunction) and _in_graph(target, activation):
                found[Call(written, place(node.code, line), scripted=True)] = None
    return tuple(sorted(found, key=str))


def _computes(target: Any, activation: str) -> bool:
    """Whether a value taken up in a forward is the activation, in whatever form."""
    if isinstance(target, nn.Module):
        choice = activation_of(target)
        return choice is not None and choice.activation.name == activation
    if isinstance(target, type):
        return class_of_activation(target) == activation
    if isinstance(target, dict):
        return any(is_function_of(value, activation) for value in target.values())
    if isinstance(target, list | tuple):
        return any(is_function_of(value, activation) for value in target)
    return is_function_of(target, activation)


def _in_graph(function: Any, activation: str) -> bool:
    text = str(function.graph)
    return any(f"aten::{name}(" in text or f"Function({name}" in text for name in function_names(activation))


def _targets(node: _Node) -> Iterator[_Target]:
    """Every value that a function takes up."""
    function = node.function
    if not node.inner:
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            if callable(default):
                name = getattr(default, "__name__", "a default argument")
                yield default, None, (name, node.code.co_firstlineno)
    for load in loads(node.code):
        written = ".".join(load.names) if load.base != "value" else "(…)." + ".".join(load.names)
        for target, owner in _resolve(load, node):
            yield target, owner, (written, load.line)


def _resolve(load: Load, node: _Node) -> Iterator[tuple[Any, nn.Module | None]]:
    function, module = node.function, node.module
    name, *attributes = load.names
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    if load.base == "value":
        yield _UNKNOWN, None
        if module is not None and not attributes and "super" in node.code.co_names:
            for method in _inherited(written_class(type(module)), function, name):
                yield method, module
    elif load.base == "global":
        yield _walk(function.__globals__.get(name, _ABSENT), attributes)
    elif module is not None and arguments and name == arguments[0]:
        if attributes:
            target, owner = _walk(module, attributes)
            # What hangs on the instance is replaced there; only the user's own functions are read on.
            if not _held(owner, attributes[-1]) or any(True for _ in _nodes(target, owner)):
                yield target, owner
    elif load.base == "cell":
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        try:
            start = cells[name].cell_contents
        except (KeyError, ValueError):
            start = _UNKNOWN
        yield _walk(start, attributes)
    elif attributes:
        yield _UNKNOWN, None


def _walk(thing: Any, names: Sequence[str]) -> tuple[Any, nn.Module | None]:
    """Follow attributes without running any code of the user's; also tell the module that the last was taken from."""
    owner: nn.Module | None = None
    for name in names:
        if thing is _UNKNOWN or isinstance(thing, torch.Tensor):
            return _UNKNOWN, None
        owner = thing if isinstance(thing, nn.Module) else None
        thing = _attribute(thing, name)
        if isinstance(thing, property) and name != names[-1]:
            return _UNKNOWN, None
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
    return getattr(thing, "__dict__", {}).get(name, _UNKNOWN)


def _inherited(cls: type, function: types.FunctionType, name: str) -> Iterator[Any]:
    """What `super().name` means in a method of the class."""
    after = False
    for ancestor in cls.__mro__:
        if after and name in vars(ancestor):
            yield vars(ancestor)[name]
            return
        after = after or any(value is function for value in vars(ancestor).values())


def _methods(cls: type) -> Iterator[tuple[str, types.FunctionType]]:
    """The functions that a class and its ancestors outside of torch define, but for the special ones."""
    for ancestor in cls.__mro__:
        if from_torch(ancestor) or ancestor is object:
            continue
        for name, value in vars(ancestor).items():
            value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if isinstance(value, types.FunctionType) and not (name.startswith("__") and name.endswith("__")):
                yield name, value


def _elsewhere(module: nn.Module, reached: list[_Node], activation: str) -> tuple[Call, ...]:
    seen = {id(node.function) for node in reached}
    rest = [
        _Node(method, method.__code__, module)
        for _, method in _methods(written_class(type(module)))
        if id(method) not in seen and not _foreign(method)
    ]
    return _calls(rest, activation)
