"""Under which names and as which objects torch offers an activation as a function."""

import functools
import types
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from rectifier.activations import functional as ours
from rectifier.catalogue import CATALOGUE
from rectifier.hooks.calls.stand_ins import original

_HOLDERS = (F, torch, torch.Tensor, ours)


@functools.lru_cache(maxsize=64)
def function_names(activation: str) -> frozenset[str]:
    """Names under which torch offers one activation as a function: `relu`, `relu_`."""
    written = CATALOGUE[activation].function or activation
    return frozenset({written, f"{written}_"})


@functools.lru_cache(maxsize=64)
def functions_of(activation: str) -> frozenset[Callable[..., Any]]:
    """Functions and tensor methods that compute one activation, as torch (or Rectifier) made them."""
    found = (getattr(holder, name, None) for name in function_names(activation) for holder in _HOLDERS)
    return frozenset(original(function) for function in found if callable(function))


@functools.lru_cache(maxsize=64)
def in_place_functions_of(activation: str) -> frozenset[Callable[..., Any]]:
    """Those among them that overwrite their input unasked: `F.relu_`, `Tensor.relu_`."""
    name = f"{CATALOGUE[activation].function or activation}_"
    found = (getattr(holder, name, None) for holder in _HOLDERS)
    return frozenset(original(function) for function in found if callable(function))


def is_function_of(thing: Any, activation: str) -> bool:
    """Whether `thing` is one of the activation's functions, or one with arguments bound to it."""
    if isinstance(thing, functools.partial):
        thing = thing.func
    kinds = types.FunctionType | types.BuiltinFunctionType | types.MethodDescriptorType
    return isinstance(thing, kinds) and original(thing) in functions_of(activation)
