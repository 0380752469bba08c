"""The backward pass of PReLU without a slope gradient as large as the input.

Torch's operator writes the slope's gradient for every element and then adds it up; its loop is not vectorised
either. Where there is a C compiler, `kernel.py` does all in one pass. Without one, the input is cut into pieces that
stay in the cache, and each piece adds to the sum at once; the products stand for a moment where the input's gradient
will be, so that no memory is needed beside it.

With z the input, a the slopes and δ the gradient of the output:
`dz = δ·[z > 0] + a·δ·[z ≤ 0]`, `da = Σ δ·min(z, 0)`.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rectifier.activations import kernel, owned, paths

# 2 MiB of float32: large enough for the calls of a piece to cost nothing, and three of them stay in a shared cache.
PIECE = 1 << 19

# The overload's own callable: torch.ops' packet looks the overload up at every call.
_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.grad_input._op
_threshold_backward = torch.ops.aten.threshold_backward.grad_input._op


class _PReLU(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(z, slopes)
        owned.prepare(z)
        h = kernel.values(z, slopes, _channel(z)) if z.is_contiguous() else None
        return torch.prelu(z, slopes) if h is None else h

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, Tensor]:
        z, slopes = ctx.saved_tensors
        # Where a graph of this backward is wanted, or it is itself transformed, torch's operator has all that.
        if torch.is_grad_enabled() or not paths.ordinary(delta, z, slopes):
            return _torchs(delta, z, slopes, _channel(z))
        # In a statement of its own: an argument that waits for its neighbour is one holder more.
        into = owned.place(delta, z)
        return gradients(delta, z, slopes, into)


# Function.apply first asks whether torch.func is active, which `paths.plain` has already denied: 4 µs saved.
prelu: Callable[[Tensor, Tensor], Tensor] = super(Function, _PReLU).apply
"""`(z, slopes) -> h`, of what `paths.plain` lets through."""


def gradients(delta: Tensor, z: Tensor, slopes: Tensor, into: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Compute the gradients of the input and of the slopes.

    The trap: without the kernel, products with zeros are wrong where a factor is infinite or NaN. Any such factor
    makes the slopes' gradient or the slopes themselves non-finite, and then torch's operator gives both.

    Args:
        delta: Gradient of the output, of the shape of z.
        z: The input.
        slopes: One slope, or one for each entry of dimension 1.
        into: delta itself, where the gradient of z may take its place.

    Returns:
        The gradient of z, in z's memory format where z is dense, and that of the slopes, in their shape.
    """
    if z.is_contiguous():
        return _of_contiguous(delta.contiguous(), z, slopes, _channel(z), into)
    order = _as_in_memory(z)
    moved, delta_moved = z.permute(order).contiguous(), delta.permute(order).contiguous()
    d_z, d_slopes = _of_contiguous(delta_moved, moved, slopes, order.index(_channel(z)))
    return d_z.permute([order.index(dim) for dim in range(z.dim())]), d_slopes


def _channel(z: Tensor) -> int:
    return 1 if z.dim() > 1 else 0


def _of_contiguous(
    delta: Tensor, z: Tensor, slopes: Tensor, channel: int, into: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    found = kernel.gradients(delta, z, slopes, channel, into)
    if found is not None:
        return found
    d_z, total = _in_pieces(delta, z, slopes, channel)
    if not torch.isfinite(total + slopes.view(-1)).all():
        return _torchs(delta, z, slopes, channel)
    return d_z, total.view(slopes.shape).to(slopes.dtype)


def _as_in_memory(z: Tensor) -> list[int]:
    """The order of dimensions in which z is contiguous (channels-last, transposed), or its own if there is none."""
    own = list(range(z.dim()))
    strides = z.stride()
    order = sorted(own, key=lambda dim: strides[dim], reverse=True)
    return order if z.permute(order).is_contiguous() else own


def _in_pieces(delta: Tensor, z: Tensor, slopes: Tensor, channel: int) -> tuple[Tensor, Tensor]:
    d_z = torch.empty_like(z)
    if slopes.numel() == 1:
        return d_z, _one_slope(delta.view(-1), z.view(-1), slopes.item(), d_z.view(-1))
    cut = (prod(z.shape[:channel]), z.shape[channel], prod(z.shape[channel + 1 :]))
    return d_z, _slope_each(delta.view(cut), z.view(cut), slopes.view(-1, 1), d_z.view(cut))


def _one_slope(delta: Tensor, z: Tensor, slope: float, d_z: Tensor) -> Tensor:
    """Fill d_z and return Σ δ·min(z, 0), for flat tensors that share a slope."""
    total = torch.zeros((), dtype=_wide(z))
    for first in range(0, z.numel(), PIECE):
        z_piece, delta_piece, d_z_piece = (t[first : first + PIECE] for t in (z, delta, d_z))
        torch.clamp_max(z_piece, 0, out=d_z_piece)
        total += torch.dot(d_z_piece, delta_piece)
        _leaky_relu_backward(delta_piece, z_piece, slope, False, grad_input=d_z_piece)
    return total


def _slope_each(delta: Tensor, z: Tensor, slopes: Tensor, d_z: Tensor) -> Tensor:
    """Fill d_z and return the sums for (before, channels, after) tensors with slopes (channels, 1)."""
    total = torch.zeros(z.shape[1], dtype=_wide(z))
    rows = max(1, PIECE // max(1, prod(z.shape[1:])))
    for first in range(0, z.shape[0], rows):
        z_piece, delta_piece, d_z_piece = (t[first : first + rows] for t in (z, delta, d_z))
        torch.clamp_max(z_piece, 0, out=d_z_piece)
        total += d_z_piece.mul_(delta_piece).sum((0, 2))
        _threshold_backward(delta_piece, z_piece, 0, grad_input=d_z_piece)
        d_z_piece.lerp_(delta_piece, slopes)  # from δ·[z > 0] towards δ by the slope: leaves δ, or a·δ
    return total


def _wide(z: Tensor) -> torch.dtype:
    return torch.float64 if z.dtype == torch.float64 else torch.float32


def _torchs(delta: Tensor, z: Tensor, slopes: Tensor, channel: int) -> tuple[Tensor, Tensor]:
    shape = [1] * z.dim()
    if slopes.numel() != 1:
        shape[channel] = slopes.numel()
    d_z, each = torch.ops.aten._prelu_kernel_backward(delta, z, slopes.view(shape))
    return d_z, each.sum_to_size(shape).view(slopes.shape)
