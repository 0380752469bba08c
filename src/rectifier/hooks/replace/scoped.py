"""Replaces activation functions while the forward of certain modules runs, and nowhere else.

The module gets a class of its own, as FSDP2 does it: a subclass of the user's, of the same name, whose methods enter
a `TorchFunctionMode`. Copies, pickles and `torch.compile` follow it. `type(module) is Net` is no longer true,
`isinstance(module, Net)` is.

Within a mode torch's attention takes no fast path: evaluated without gradients, a `MultiheadAttention` that runs in
the forward of such a module may round differently in the last bit.
"""

import functools
import inspect
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from rectifier.errors import CannotSwap
from rectifier.hooks.replace.activation_functions import functions_of
from rectifier.hooks.replace.replacement import Replacement

Layers = tuple[tuple["Scope", frozenset[str]], ...]


class Scope(TorchFunctionMode):
    """Within it, calls of one activation's functions are computed as another.

    Attributes:
        replacement: The rule; None keeps the activation as it is, whatever the scopes further out replace.
        name: Catalogue name of the activation that is replaced, or kept.
        rectifier_replaces: The same, None where it is kept: read off the stack of modes by those who observe calls,
            because what they see next is the new activation's call.
    """

    rectifier_mode = True

    def __init__(self, name: str, replacement: Replacement | None) -> None:
        super().__init__()
        self.name = name
        self.rectifier_replaces = None if replacement is None else name
        self.replacement = replacement
        self.functions = functions_of(name)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Torch looks the method up by its name, and finds the wrapper of those who observe calls.
        func = getattr(func, "__rectifier_original__", func)
        if func in self.functions:
            if self.replacement is not None:
                return self.replacement.call(func, *args, **kwargs)
            with torch._C.DisableTorchFunction():
                return func(*args, **kwargs)
        return func(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return scope, (self.name, self.replacement)


@functools.lru_cache(maxsize=256)
def scope(name: str, replacement: Replacement | None) -> Scope:
    """The scope for a rule; the same one each time, so that copies of a model share their class."""
    return Scope(name, replacement)


def enter(module: nn.Module, new: Scope, methods: Iterable[str]) -> None:
    """Let these methods of a module run within a scope; an earlier scope comes first, and this one sees its result.

    Raises:
        CannotSwap: The module's class refuses a subclass, or its instances another class.
    """
    cls = type(module)
    base, layers = _base(cls), _layers(cls)
    _become(module, _scoped_class(base, (*layers, (new, frozenset(methods)))))


def leave(module: nn.Module, old: Scope) -> None:
    """Take away the scope that was entered last."""
    cls = type(module)
    assert innermost_last(module) is old
    base, layers = _base(cls), _layers(cls)[:-1]
    _become(module, _scoped_class(base, layers) if layers else base)


def innermost_last(module: nn.Module) -> Scope | None:
    """The scope that was entered last, None where the module has none or got another class since."""
    layers = _layers(type(module))
    return layers[-1][0] if layers else None


def produced(module: nn.Module) -> list[tuple[Replacement, frozenset[str]]]:
    """What the module's scopes compute instead of something else, and in which methods."""
    return [
        (entered.replacement, methods) for entered, methods in _layers(type(module)) if entered.replacement is not None
    ]


def _base(cls: type) -> type:
    base: type = vars(cls).get("__rectifier_base__", cls)
    return base


def _layers(cls: type) -> Layers:
    layers: Layers = vars(cls).get("__rectifier_layers__", ())
    return layers


def _become(module: nn.Module, cls: type) -> None:
    try:
        module.__class__ = cls
    except TypeError as error:
        raise CannotSwap(
            f"The functional calls of {type(module).__name__} cannot be replaced, its class cannot be changed "
            f"({error}). Write the new activation into its forward."
        ) from error


_classes: "weakref.WeakValueDictionary[tuple[type, Layers], type]" = weakref.WeakValueDictionary()


def _scoped_class(base: type, layers: Layers) -> type:
    known = _classes.get((base, layers))
    if known is not None:
        return known

    inherited: Callable[[Any, Any], Any] = base.__reduce_ex__  # type: ignore[assignment]

    def reduce(self: Any, protocol: Any) -> Any:
        # Pickle finds a class by its name, and that is the user's.
        made = inherited(self, protocol)
        if isinstance(made, str) or type(self) is not cls:
            return made
        function, args, *rest = made
        return _restore, (function, tuple(base if arg is cls else arg for arg in args), layers), *rest

    def fill(body: dict[str, Any]) -> None:
        body["__module__"] = base.__module__
        body["__qualname__"] = base.__qualname__
        body["__doc__"] = base.__doc__
        body["__rectifier_base__"] = base
        body["__rectifier_layers__"] = layers
        body["__reduce_ex__"] = reduce
        for name in {name for _, methods in layers for name in methods}:
            body[name] = _scoped_method(base, name, [entered for entered, methods in layers if name in methods])

    try:
        cls: type = types.new_class(base.__name__, (base,), exec_body=fill)
    except Exception as error:
        raise CannotSwap(
            f"The functional calls of {base.__name__} cannot be replaced: its class allows no subclass "
            f"({type(error).__name__}: {error}). Write the new activation into its forward."
        ) from error
    _classes[base, layers] = cls
    return cls


def _scoped_method(base: type, name: str, scopes: list[Scope]) -> Any:
    static = inspect.getattr_static(base, name)
    method = static.__func__ if isinstance(static, staticmethod | classmethod) else static
    for entered in scopes:
        method = within(method, entered)
    return type(static)(method) if isinstance(static, staticmethod | classmethod) else method


def within(function: Callable[..., Any], entered: Scope) -> Callable[..., Any]:
    """The function, run within a scope."""

    @functools.wraps(function)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        with entered:
            return function(*args, **kwargs)

    return scoped


class ScopedFunction:
    """A function that hangs on an instance (`model.forward = ...`), run within a scope; it copies and pickles."""

    def __init__(self, function: Callable[..., Any], entered: Scope) -> None:
        self.__wrapped__ = function
        self.scope = entered

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        with self.scope:
            return self.__wrapped__(*args, **kwargs)


def _restore(function: Callable[..., Any], args: tuple[Any, ...], layers: Layers) -> Any:
    """Bring a copied or unpickled module back to life, with its scopes."""
    module = function(*args)
    if not _layers(type(module)):
        module.__class__ = _scoped_class(type(module), layers)
    return module
