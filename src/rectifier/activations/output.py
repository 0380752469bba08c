"""Backward passes of Leaky ReLU and the ELU family that keep the output, where torch's keep the input.

The layer that follows keeps this output anyway, so nothing is stored twice. It is enough: f(z) and z are positive
together when the slope is above 0, and the exponential side has f′(z) = input_scale·(f(z) + alpha·scale).

Leaky ReLU's is torch's own backward, whose saved tensor is exchanged: two thirds of what a Function costs. Where the
user has hooks on saved tensors, these have already got the input, and a Function it is; so it is for large tensors,
whose gradient takes the place of the one that arrives (`owned.py`).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.compiler import is_compiling

from rectifier.activations import owned

# The overload's own callable: torch.ops' packet looks the overload up at every call, 2.5 µs of a 20 µs backward.
_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.default._op
_leaky_relu_backward_into = torch.ops.aten.leaky_relu_backward.grad_input._op
_elu_backward = torch.ops.aten.elu_backward.default._op
_elu_backward_into = torch.ops.aten.elu_backward.grad_input._op


class _LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, slope: float) -> Tensor:
        h: Tensor = torch._C._nn.leaky_relu(z, slope)
        ctx.save_for_backward(h)
        ctx.slope = slope
        return h

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None]:
        (h,) = ctx.saved_tensors
        into = None if torch.is_grad_enabled() else owned.place(delta, h)
        if into is not None:
            return _leaky_relu_backward_into(delta, h, ctx.slope, True, grad_input=into), None
        return _leaky_relu_backward(delta, h, ctx.slope, True), None


class _ELU(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
        h: Tensor = torch._C._nn.elu(z, alpha, scale, input_scale)
        ctx.save_for_backward(h)
        ctx.constants = (alpha, scale, input_scale)
        return h

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None, None, None]:
        (h,) = ctx.saved_tensors
        into = None if torch.is_grad_enabled() else owned.place(delta, h)
        if into is not None:
            return _elu_backward_into(delta, *ctx.constants, True, h, grad_input=into), None, None, None
        return _elu_backward(delta, *ctx.constants, True, h), None, None, None


def leaky_relu(z: Tensor, slope: float) -> Tensor:
    """Apply Leaky ReLU of a slope above 0 to what `paths.plain` lets through."""
    if z.nbytes > owned.LARGE or torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
        owned.prepare(z)
        return _leaky_relu_function(z, slope)
    h: Tensor = torch._C._nn.leaky_relu(z, slope)
    # Detached, or the graph would hold itself; it shares the memory and the count of changes in place.
    kept = h.detach()
    h.grad_fn._raw_saved_self.register_hooks(lambda _: kept, _unchanged)  # type: ignore[union-attr]
    return h


def _unchanged(kept: Tensor) -> Tensor:
    # While compiled autograd traces, a version is a symbol that nothing may depend on.
    if not is_compiling() and kept._version:
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: the "
            f"{tuple(kept.shape)} output of leaky_relu is at version {kept._version}; expected version 0 instead. "
            "Hint: change a copy (h = h + skip in the place of h += skip), or call torch.nn.functional.leaky_relu, "
            "which keeps its input."
        )
    return kept


# Function.apply first asks whether torch.func is active, which `paths.plain` has already denied: 4 µs saved.
_leaky_relu_function: Callable[[Tensor, float], Tensor] = super(Function, _LeakyReLU).apply
_elu_function: Callable[[Tensor, float, float, float], Tensor] = super(Function, _ELU).apply


def elu(z: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    """Apply ELU's family for an alpha above 0, in float32 or float64, to what `paths.plain` lets through."""
    owned.prepare(z)
    return _elu_function(z, alpha, scale, input_scale)
