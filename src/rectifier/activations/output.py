"""Backward passes of Leaky ReLU and the ELU family that keep the output, where torch's keep the input.

The layer that follows keeps this output anyway, so nothing is stored twice. It is enough: f(z) and z are positive
together when the slope is above 0, and the exponential side has f′(z) = input_scale·(f(z) + alpha·scale).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rectifier.activations import paths

# Overloads, not their packets: a packet looks its overload up at every call.
_leaky_relu = torch.ops.aten.leaky_relu.default
_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.default
_elu = torch.ops.aten.elu.default
_elu_backward = torch.ops.aten.elu_backward.default


class _LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, slope: float) -> Tensor:
        h: Tensor = _leaky_relu(z, slope)
        ctx.save_for_backward(h)
        ctx.slope = slope
        return h

    @staticmethod
    @paths.hidden_from_dynamo
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None]:
        (h,) = ctx.saved_tensors
        return _leaky_relu_backward(delta, h, ctx.slope, True), None


class _ELU(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
        h: Tensor = _elu(z, alpha, scale, input_scale)
        ctx.save_for_backward(h)
        ctx.constants = (alpha, scale, input_scale)
        return h

    @staticmethod
    @paths.hidden_from_dynamo
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None, None, None]:
        (h,) = ctx.saved_tensors
        return _elu_backward(delta, *ctx.constants, True, h), None, None, None


leaky_relu: Callable[[Tensor, float], Tensor] = paths.applied(_LeakyReLU)
"""`(z, slope) -> h` for a slope above 0, of what `paths.plain` lets through."""

elu: Callable[[Tensor, float, float, float], Tensor] = paths.applied(_ELU)
"""`(z, alpha, scale, input_scale) -> h` for an alpha above 0, of float32 or float64 that `paths.plain` lets through."""
