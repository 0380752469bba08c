"""Where the source of a model's forward names an activation function, found without running it.

A forward is read as the interpreter reads it: its compiled code, the code of the methods it takes from `self`, and
the Python functions it reaches through globals, closures, default arguments and attributes; never into torch or the
standard library. What only a running program can know (a method of a local variable, a function in a dictionary)
counts as named: a call is rather told once too often than missed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import checkpoint

from rectifier.hooks.modules import activation_of, class_of_activation, is_torch_class, written_class
from rectifier.hooks.replace.activation_functions import function_names, is_function_of
from rectifier.hooks.replace.bytecode import nested, place
from rectifier.hooks.replace.references import UNKNOWN, Body, bodies_of, is_foreign, methods_of, references_in

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
        entries += [method for _, method in methods_of(written_class(type(module)))]
    start = [body for entry in entries for body in bodies_of(entry, module)]
    reached = _closure(start, activation)
    calls = _calls(reached, activation)
    if not calls:
        return Reach(elsewhere=_elsewhere(module, reached, activation))
    methods = {"forward"}
    own = {id(method): name for name, method in methods_of(written_class(type(module)))}
    for body in reached:
        name = own.get(id(body.function))
        if name is not None and _calls(_closure([body], activation), activation):
            methods.add(name)
    repeated: tuple[Call, ...] = ()
    if any(target in _CHECKPOINTS for body in reached for target, _, _ in references_in(body)):
        outside = [body for body in reached if body.inner or id(body.function) not in own]
        repeated = _calls(outside, activation)
    return Reach(calls, frozenset(methods), _elsewhere(module, reached, activation), repeated)


def find_handed_calls(function: Any, activation: str) -> tuple[Call, ...]:
    """Read a function that the user handed to a module: `nn.TransformerEncoderLayer(..., activation=my_function)`."""
    if isinstance(function, nn.Module) or is_function_of(function, activation):
        return ()
    return _calls(_closure(list(bodies_of(function, None)), activation), activation)


def _closure(start: list[Body], activation: str) -> list[Body]:
    """Everything that can run, from these functions on."""
    found: dict[tuple[int, int], Body] = {}
    waiting = list(start)
    while waiting:
        body = waiting.pop()
        if body.key in found:
            continue
        found[body.key] = body
        waiting += [Body(body.function, code, body.module, inner=True) for code in nested(body.code)]
        for target, owner, _ in references_in(body):
            if not is_function_of(target, activation):
                waiting += bodies_of(target, owner)
    return list(found.values())


def _calls(bodies: list[Body], activation: str) -> tuple[Call, ...]:
    found: dict[Call, None] = {}
    for body in bodies:
        for target, _, (written, line) in references_in(body):
            names = written.rsplit(".", 1)
            unknown = target is UNKNOWN and len(names) > 1 and names[1] in function_names(activation)
            if unknown or _computes(target, activation):
                found[Call(written, place(body.code, line))] = None
            elif isinstance(target, torch.jit.ScriptFunction) and _in_graph(target, activation):
                found[Call(written, place(body.code, line), scripted=True)] = None
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


def _elsewhere(module: nn.Module, reached: list[Body], activation: str) -> tuple[Call, ...]:
    seen = {id(body.function) for body in reached}
    rest = [
        Body(method, method.__code__, module)
        for _, method in methods_of(written_class(type(module)))
        if id(method) not in seen and not is_foreign(method)
    ]
    return _calls(rest, activation)
