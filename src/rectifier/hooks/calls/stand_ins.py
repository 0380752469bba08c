"""What takes the names of torch's builtins, which have no code to exchange."""

import functools
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function

from rectifier.hooks.calls.interception import intercepted, switch, traced


def original(function: Callable[..., Any]) -> Callable[..., Any]:
    """The builtin of torch's behind a name that is wrapped at the moment; anything else is returned as it is."""
    wrapped = getattr(function, "__rectifier_original__", function)
    assert callable(wrapped)
    return wrapped


class StandIn(functools.partial[Tensor]):
    """Replaces one of torch's builtins under its name, and behaves like it.

    Like a builtin, it does not become a method of a class that holds it (`act = torch.relu` in a class body), pickles
    by name, and copies as itself. It equals the builtin, so that each finds the other's entry in a dictionary.
    """

    __rectifier_original__: Callable[..., Tensor]

    if hasattr(functools.partial, "__get__"):
        # From Python 3.14 on a partial would bind.
        def __get__(self, instance: object, owner: type | None = None) -> Any:
            return self

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # What `isinstance` and `inspect.isbuiltin` go by; `torch.fx` asks before it looks up a signature.
        return type(self.__rectifier_original__)

    def __eq__(self, other: object) -> bool:
        return self.__rectifier_original__ is getattr(other, "__rectifier_original__", other)

    def __hash__(self) -> int:
        return hash(self.__rectifier_original__)

    def __reduce__(self) -> str:
        return self.__qualname__  # type: ignore[attr-defined,no-any-return]

    def __repr__(self) -> str:
        return repr(self.__rectifier_original__)


class MethodStandIn(StandIn):
    """The same for a method of `torch.Tensor`, which binds."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)


def make_stand_in(builtin: Callable[..., Tensor], name: str, holder: Any, attribute: str) -> Callable[..., Tensor]:
    """What stands in for a builtin under a name that some holder has for it; `name` is the catalogue's."""
    compiling = torch.compiler.is_compiling
    overridden = torch._C._has_torch_function
    # A replacement hears of an in-place form as inplace=True; the builtin itself takes no such word.
    in_place = attribute.endswith("_") and name != "clamp"

    def call(*args: Any, **kwargs: Any) -> Tensor:
        # torch would hand the builtin to a mode, a subclass or a tracer, which knows it by the name that we have taken.
        given = (*args, *kwargs.values()) if kwargs else args
        if overridden(given):
            return handle_torch_function(wrapper, given, *args, **kwargs)
        return builtin(*args, **kwargs)

    def replaceable(*args: Any, inplace: bool = True, **kwargs: Any) -> Tensor:
        return call(*args, **kwargs)

    def traceable(*args: Any, inplace: bool = True, **kwargs: Any) -> Tensor:
        return builtin(*args, **kwargs)

    def intercept(*args: Any, **kwargs: Any) -> Tensor:
        if compiling():
            if in_place:
                return traced(name, traceable, args, {**kwargs, "inplace": True})
            return traced(name, builtin, args, kwargs)
        if switch.armed:
            if in_place:
                return intercepted(name, replaceable, args, {**kwargs, "inplace": True})
            return intercepted(name, call, args, kwargs)
        return call(*args, **kwargs)

    wrapper = (MethodStandIn if isinstance(holder, type) else StandIn)(intercept)
    call.__rectifier_original__ = replaceable.__rectifier_original__ = builtin  # type: ignore[attr-defined]
    wrapper.__rectifier_original__ = builtin
    functools.update_wrapper(wrapper, builtin, assigned=("__name__", "__doc__"), updated=())
    # Pickled by name, so that what is saved while we watch loads where we are not.
    wrapper.__qualname__ = f"{holder.__name__}.{attribute}" if isinstance(holder, type) else attribute  # type: ignore[attr-defined]
    wrapper.__module__ = "torch" if isinstance(holder, type) else holder.__name__
    return wrapper
