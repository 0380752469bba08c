"""PReLU with a backward pass that does not materialise the gradient of the slopes.

torch's operator writes the slope's gradient for every element and then adds it up; its loop is not vectorised either.
Here the input is cut into pieces that stay in the cache, and each piece is added to the sum at once. The products are
held for a moment in the memory of the input's gradient, so that no other memory is needed. If the user asked for the
compiled kernel (`kernel.py`), that does it all in one pass.

With z the input, a the slopes and δ the gradient of the output:
`dz = δ·[z > 0] + a·δ·[z ≤ 0]`, `da = Σ δ·min(z, 0)`.

Both passes are operators of `torch.library`, `rectifier::prelu_forward` and `rectifier::prelu_backward`: whatever
traces, fakes or batches a backward pass sees one call from tensors to new tensors, and never what is done with their
memory. Autograd is `_PReLU`, a Function: `torch.library.register_autograd` does not work with torch.func.grad.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.compiler import is_compiling

from rectifier.activations import kernel, paths

# 2 MiB of float32: large enough for the calls of a piece to cost nothing, and three of them stay in a shared cache.
PIECE = 1 << 19

_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.grad_input
_threshold_backward = torch.ops.aten.threshold_backward.grad_input
_LIBRARY = torch.library.Library("rectifier", "FRAGMENT")  # type: ignore[no-untyped-call]


class _PReLU(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(z, slopes)
        if kernel.functions() is not None and z.is_contiguous():
            return prelu_forward(z, slopes)
        return torch.prelu(z, slopes)

    @staticmethod
    @paths.hidden_from_dynamo
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, Tensor]:
        z, slopes = ctx.saved_tensors
        # Where a graph of this backward is wanted, or it is itself transformed, torch's operator has all that.
        if torch.is_grad_enabled() or not (is_compiling() or paths.ordinary(delta, z, slopes)):
            return _torchs_backward(delta, z, slopes, _channel(z))
        return prelu_backward(delta, z, slopes)


prelu: Callable[[Tensor, Tensor], Tensor] = paths.applied(_PReLU)
"""`(z, slopes) -> h`, of what `paths.plain` lets through."""


def _forward(z: Tensor, slopes: Tensor) -> Tensor:
    """Compute the output, contiguous."""
    z = z.contiguous()
    h = kernel.forward(z, slopes, _channel(z))
    return torch.prelu(z, slopes) if h is None else h


def _forward_fake(z: Tensor, slopes: Tensor) -> Tensor:
    return torch.empty_like(z, memory_format=torch.contiguous_format)


def _forward_batched(info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor) -> tuple[Tensor, int]:
    z, slopes = _batch_first(info, in_dims, tensors)
    return torch.where(z > 0, z, _batch_beside(slopes, z) * z), 0


def _backward(delta: Tensor, z: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the gradients of the input, in its memory format, and of the slopes."""
    if delta.shape != z.shape or delta.dtype != z.dtype or slopes.dtype != z.dtype:
        raise RuntimeError(
            "rectifier::prelu_backward needs a gradient of the input's shape, and one dtype: the gradient is "
            f"{tuple(delta.shape)}, {delta.dtype}, the input {tuple(z.shape)}, {z.dtype}, the slopes {slopes.dtype}."
        )
    if z.is_contiguous():
        return _of_contiguous(delta.contiguous(), z, slopes, _channel(z))
    # The order of dimensions in which the result lies in memory: channels-last, transposed.
    strides = torch.empty_like(z, device="meta").stride()
    order = sorted(range(z.dim()), key=lambda dim: strides[dim], reverse=True)
    moved, delta_moved = z.permute(order).contiguous(), delta.permute(order).contiguous()
    d_z, d_slopes = _of_contiguous(delta_moved, moved, slopes, order.index(_channel(z)))
    return d_z.permute([order.index(dim) for dim in range(z.dim())]), d_slopes


def _backward_fake(delta: Tensor, z: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(z), torch.empty_like(slopes, memory_format=torch.contiguous_format)


def _backward_batched(
    info: Any, in_dims: tuple[int | None, ...], *tensors: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    delta, z, slopes = _batch_first(info, in_dims, tensors)
    beside = _batch_beside(slopes, z)
    d_z, each = torch.ops.aten._prelu_kernel_backward(delta, z, beside)
    return (d_z, each.sum_to_size(beside.shape).reshape(slopes.shape)), (0, 0)


def _batch_first(info: Any, in_dims: tuple[int | None, ...], tensors: tuple[Tensor, ...]) -> list[Tensor]:
    return [
        tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        for tensor, dim in zip(tensors, in_dims, strict=True)
    ]


def _batch_beside(slopes: Tensor, z: Tensor) -> Tensor:
    shape, each = [len(slopes)] + [1] * (z.dim() - 1), slopes.shape[1:].numel()
    if each != 1:
        shape[2 if z.dim() > 2 else 1] = each
    return slopes.reshape(shape)


def _operator(
    schema: str,
    real: Callable[..., Any],
    fake: Callable[..., Any],
    batched: Callable[..., Any],
    differentiable: Callable[..., Any],
) -> Callable[..., Any]:
    """Register an operator for CPU tensors, and give it.

    Args:
        schema: Its name and types.
        real: Computes new tensors from tensors.
        fake: Gives empty tensors of the same shapes, strides and types.
        batched: Its rule under `torch.vmap`.
        differentiable: Computes the same with torch's operators, where a graph of the operator itself is wanted.
    """

    def on_cpu(*tensors: Tensor) -> Any:
        # The caller's modes and default device are for its own calls, not for those in here.
        with torch.no_grad(), torch._C.DisableTorchFunction():
            return real(*tensors)

    def recorded(*tensors: Tensor) -> Any:
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return differentiable(*tensors)
        with torch._C._AutoDispatchBelowAutograd():
            return overload(*tensors)

    name, namespace = schema.partition("(")[0], _LIBRARY.ns
    _LIBRARY.define(schema, tags=torch.Tag.pt2_compliant_tag)  # type: ignore[no-untyped-call]
    overload: Callable[..., Any] = getattr(getattr(torch.ops, namespace), name).default
    for key, function in (("CPU", on_cpu), ("Autograd", recorded)):
        _LIBRARY.impl(name, paths.hidden_from_dynamo(function), key)  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"{namespace}::{name}", fake, lib=_LIBRARY)
    torch.library.register_vmap(f"{namespace}::{name}", batched, lib=_LIBRARY)
    return overload


def _channel(z: Tensor) -> int:
    return 1 if z.dim() > 1 else 0


def _of_contiguous(delta: Tensor, z: Tensor, slopes: Tensor, channel: int) -> tuple[Tensor, Tensor]:
    found = kernel.backward(delta, z, slopes, channel)
    if found is not None:
        return found
    d_z, total = _in_pieces(delta, z, slopes, channel)
    # Products with zeros are wrong where a factor is infinite or NaN. Any such factor makes the slopes' gradient or the
    # slopes themselves non-finite.
    if not torch.isfinite(total + slopes.view(-1)).all():
        return _torchs_backward(delta, z, slopes, channel)
    return d_z, total.view(slopes.shape).to(slopes.dtype)


def _in_pieces(delta: Tensor, z: Tensor, slopes: Tensor, channel: int) -> tuple[Tensor, Tensor]:
    d_z = torch.empty_like(z)
    if slopes.numel() == 1:
        return d_z, _one_slope(delta.view(-1), z.view(-1), slopes.item(), d_z.view(-1))
    cut = (prod(z.shape[:channel]), z.shape[channel], prod(z.shape[channel + 1 :]))
    return d_z, _slope_each(delta.view(cut), z.view(cut), slopes.view(-1, 1), d_z.view(cut))


def _one_slope(delta: Tensor, z: Tensor, slope: float, d_z: Tensor) -> Tensor:
    """Fill d_z and return Σ δ·min(z, 0), for flat tensors that share a slope."""
    total = z.new_zeros((), dtype=_wide(z))
    for first in range(0, z.numel(), PIECE):
        z_piece, delta_piece, d_z_piece = (t[first : first + PIECE] for t in (z, delta, d_z))
        torch.clamp_max(z_piece, 0, out=d_z_piece)
        total += torch.dot(d_z_piece, delta_piece)
        _leaky_relu_backward(delta_piece, z_piece, slope, False, grad_input=d_z_piece)
    return total


def _slope_each(delta: Tensor, z: Tensor, slopes: Tensor, d_z: Tensor) -> Tensor:
    """Fill d_z and return the sums for (before, channels, after) tensors with slopes (channels, 1)."""
    total = z.new_zeros(z.shape[1], dtype=_wide(z))
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


def _torchs_backward(delta: Tensor, z: Tensor, slopes: Tensor, channel: int) -> tuple[Tensor, Tensor]:
    shape = [1] * z.dim()
    if slopes.numel() != 1:
        shape[channel] = slopes.numel()
    d_z, each = torch.ops.aten._prelu_kernel_backward(delta, z, slopes.view(shape))
    return d_z, each.sum_to_size(shape).view(slopes.shape)


prelu_forward: Callable[[Tensor, Tensor], Tensor] = _operator(
    "prelu_forward(Tensor z, Tensor slopes) -> Tensor",
    _forward, _forward_fake, _forward_batched, torch.prelu,
)  # fmt: skip
"""The operator `rectifier::prelu_forward(z, slopes) -> h`; without the kernel it is torch's."""

prelu_backward: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = _operator(
    "prelu_backward(Tensor delta, Tensor z, Tensor slopes) -> (Tensor, Tensor)",
    _backward, _backward_fake, _backward_batched,
    lambda delta, z, slopes: _torchs_backward(delta, z, slopes, _channel(z)),
)  # fmt: skip
"""The operator `rectifier::prelu_backward(delta, z, slopes) -> (d_z, d_slopes)`."""
