"""The backward pass of PReLU without a slope gradient as large as the input.

Torch's operator writes the slope's gradient for every element and then adds it up; its loop is not vectorised
either. Here the input is cut into pieces that stay in the cache, and each piece adds to the sum at once.

With z the input, a the slopes and δ the gradient of the output:
`dz = δ·[z > 0] + a·δ·[z ≤ 0]`, `da = Σ δ·z·[z ≤ 0]`.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

# 1 MiB of float32: large enough for the five calls of a piece to cost nothing, small enough to stay in cache.
PIECE = 1 << 18
# Below this many elements in a channel, calls channel by channel cost more than they save.
_CHANNEL = 1 << 15

_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.grad_input._op
_threshold_backward = torch.ops.aten.threshold_backward.grad_input._op


class _PReLU(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(z, slopes)
        return torch.prelu(z, slopes)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        z, slopes = ctx.saved_tensors
        if torch.is_grad_enabled():  # a graph of this backward is wanted: torch's operator has one
            return _torchs(delta, z, slopes)
        return gradients(delta, z, slopes)


prelu = super(Function, _PReLU).apply
"""`(z, slopes) -> h`."""


def gradients(delta: Tensor, z: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the gradients of the input and of the slopes.

    The trap: a sum of products with zeros is wrong where a factor is infinite or NaN. Any such factor makes the
    slope's gradient non-finite, and then torch's operator gives both.

    Args:
        delta: Gradient of the output, of the shape of z.
        z: The input.
        slopes: One slope, or one for each entry of dimension 1.

    Returns:
        The gradient of z, in z's memory format, and that of the slopes, in their shape.
    """
    if z.dim() == 4 and not z.is_contiguous() and z.is_contiguous(memory_format=torch.channels_last):
        moved, d_slopes = _pieces(delta.permute(0, 2, 3, 1), z.permute(0, 2, 3, 1), slopes, channel=3)
        d_z = moved.permute(0, 3, 1, 2)
    else:
        d_z, d_slopes = _pieces(delta, z, slopes, channel=1)
    if not torch.isfinite(d_slopes).all():
        return _torchs(delta, z, slopes)
    return d_z, d_slopes.view(slopes.shape).to(slopes.dtype)


def _pieces(delta: Tensor, z: Tensor, slopes: Tensor, *, channel: int) -> tuple[Tensor, Tensor]:
    shape = z.shape
    delta, z = delta.contiguous(), z.contiguous()
    d_z = torch.empty_like(z)
    if slopes.numel() == 1:
        total = _one_slope(delta.view(-1), z.view(-1), slopes.item(), d_z.view(-1))
        return d_z, total
    after = prod(shape[channel + 1 :])
    before = prod(shape[:channel])
    cut = (before, shape[channel], after)
    delta, z, flat = delta.view(cut), z.view(cut), d_z.view(cut)
    if after > 1 and before * after >= _CHANNEL:
        slope_list = slopes.tolist()
        totals = [_one_slope(delta[:, c], z[:, c], slope_list[c], flat[:, c]) for c in range(shape[channel])]
        return d_z, torch.stack(totals)
    return d_z, _slope_each(delta, z, slopes.view(-1, 1), flat)


def _one_slope(delta: Tensor, z: Tensor, slope: float, d_z: Tensor) -> Tensor:
    """Fill d_z and return Σ δ·min(z, 0), for tensors of 1 or 2 dimensions that share a slope."""
    total = torch.zeros((), dtype=_wide(z))
    rows = max(1, PIECE // max(1, prod(z.shape[1:])))
    scratch = torch.empty((min(rows, z.shape[0]), *z.shape[1:]), dtype=z.dtype)
    for first in range(0, z.shape[0], rows):
        z_piece, delta_piece = z[first : first + rows], delta[first : first + rows]
        _leaky_relu_backward(delta_piece, z_piece, slope, False, grad_input=d_z[first : first + rows])
        product = scratch[: z_piece.shape[0]]
        torch.clamp_max(z_piece, 0, out=product)
        total += product.mul_(delta_piece).sum()
    return total


def _slope_each(delta: Tensor, z: Tensor, slopes: Tensor, d_z: Tensor) -> Tensor:
    """Fill d_z and return the sums for (before, channels, after) tensors with slopes (channels, 1)."""
    total = torch.zeros(z.shape[1], dtype=_wide(z))
    rows = max(1, PIECE // max(1, prod(z.shape[1:])))
    scratch = torch.empty((min(rows, z.shape[0]), *z.shape[1:]), dtype=z.dtype)
    for first in range(0, z.shape[0], rows):
        z_piece, delta_piece, d_z_piece = (t[first : first + rows] for t in (z, delta, d_z))
        left = scratch[: z_piece.shape[0]]
        _threshold_backward(delta_piece, z_piece, 0, grad_input=d_z_piece)
        torch.sub(delta_piece, d_z_piece, out=left)
        d_z_piece.addcmul_(left, slopes)
        total += left.mul_(z_piece).sum((0, 2))
    return total


def _wide(z: Tensor) -> torch.dtype:
    return torch.float64 if z.dtype == torch.float64 else torch.float32


def _torchs(delta: Tensor, z: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    shape = [1] * z.dim()
    if slopes.numel() > 1:
        shape[1] = slopes.numel()
    d_z, each = torch.ops.aten._prelu_kernel_backward(delta, z, slopes.view(shape))
    return d_z, each.sum_to_size(shape).view(slopes.shape)
