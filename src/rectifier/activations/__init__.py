"""The one folder that defines an activation, as a function and as a module.

`functional` and `nn` are drop-ins for torch's; `function_for` and `module_for` build what a `Choice` names.
"""

import inspect
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from rectifier.activations import functional as functional
from rectifier.activations import nn as nn
from rectifier.catalogue import Choice
from rectifier.errors import CannotSwap

# The classes that torch does not have.
_OWN = {
    "relu_squared": nn.ReLUSquared,
    "surrogate_gradient": nn.SurrogateGradientReLU,
    "quick_gelu": nn.QuickGELU,
    "gelu_10": nn.GELU10,
    "laplace": nn.Laplace,
    "sqrt_softplus": nn.SqrtSoftplus,
    "identity": nn.Identity,
}
# What the row's one parameter does not say.
_FIXED: dict[str, dict[str, object]] = {"gelu_tanh": {"approximate": "tanh"}, "threshold": {"value": 0.0}}


def module_for(
    choice: Choice,
    *,
    inplace: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> torch.nn.Module:
    """Build the module that a choice names: Rectifier's where it has its own, otherwise torch's.

    Warning:
        `inplace` is dropped silently where torch's module has no such argument, and for a negative slope or
        alpha, where torch's backward refuses it.

    Args:
        choice: An activation with its parameter.
        inplace: Overwrite the input where that is possible.
        device: Device of a learned slope.
        dtype: Dtype of a learned slope.

    Returns:
        A new module in training mode; a `prelu` has one slope.

    Raises:
        AttributeError: The catalogue has a row that no module answers to.

    Example:
        >>> from rectifier.catalogue import parse
        >>> module_for(parse("leaky_relu:0.1"))
        LeakyReLU(negative_slope=0.1)
    """
    row = choice.activation
    if row.name == "prelu":
        return nn.PReLU(init=_value(choice), device=device, dtype=dtype)
    module: Callable[..., torch.nn.Module] = _OWN.get(row.name) or getattr(nn, row.module or "")
    arguments = _arguments(choice)
    possible = choice.parameter is None or row.name == "threshold" or choice.parameter >= 0
    if inplace and possible and "inplace" in inspect.signature(module).parameters:
        arguments["inplace"] = True
    return module(**arguments)


def function_for(choice: Choice) -> Callable[[Tensor], Tensor]:
    """Give the function of one tensor that a choice names; it pickles.

    Args:
        choice: An activation with its parameter.

    Returns:
        A function from a tensor to a tensor.

    Raises:
        CannotSwap: A function has no place for what it needs: PReLU's learned slopes, RReLU's training mode.

    Example:
        >>> from rectifier.catalogue import parse
        >>> function_for(parse("elu:2.0"))(torch.tensor([-1.0]))
        tensor([-1.2642])
    """
    row = choice.activation
    if row.name in ("prelu", "rrelu"):
        lacks = "a learned slope" if row.name == "prelu" else "a training mode"
        raise CannotSwap(
            f"{choice.spec} cannot replace a functional call: it needs {lacks}, and a function has no place for it. "
            f"Write rectifier.nn.{row.module}() as a module there, or choose leaky_relu:{row.default or 0.25}."
        )
    if row.name == "identity":
        return nn.Identity()
    function: Callable[..., Tensor] = getattr(functional, row.function or row.name)
    arguments = _arguments(choice)
    return partial(function, **arguments) if arguments else function


def _arguments(choice: Choice) -> dict[str, object]:
    arguments = dict(_FIXED.get(choice.activation.name, {}))
    if choice.activation.parameter is not None:
        arguments[choice.activation.parameter] = choice.parameter
    return arguments


def _value(choice: Choice) -> float:
    assert choice.parameter is not None
    return choice.parameter
