"""Whether a backward pass may write its result into the gradient that it was given, because nobody else has it.

A fresh result of more than 32 MiB is memory that the system maps anew: on Linux each page of it is a fault, which takes
four times as long as the gradient itself. torch's own accumulation of gradients takes over a gradient that nobody else
holds in the same way (`AccumulateGrad`); torch has no public word for it, so that the counts are measured once, on
gradients that are and are not somebody else's, and nothing is ever reused where they do not tell these apart.
"""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

LARGE = 32 << 20
"""Bytes above which glibc maps every block anew, whatever it has learned (mallopt(3), M_MMAP_THRESHOLD)."""

Counts = tuple[int, int, int]


def place(delta: Tensor, like: Tensor) -> Tensor | None:
    """Where the gradient for `like` may be written: the incoming one, or None for a fresh result.

    The trap: to be called by a `Function.backward` itself, with the very `delta` that it was given; a frame or a
    variable more is one holder more.

    Args:
        delta: The incoming gradient.
        like: A tensor of the shape, type and memory format that the result has.
    """
    if (
        delta.nbytes <= LARGE
        or delta.dtype != like.dtype
        or delta.shape != like.shape
        or delta.stride() != like.stride()
        or delta.requires_grad
        or not delta.untyped_storage().resizable()  # The memory of an array of NumPy's, for instance.
    ):
        return None
    return delta if _counts(delta) == alone() else None


def prepare(z: Tensor) -> None:
    """Take the counts while nothing is computed backwards, if the gradients of z are large enough to ask."""
    if z.nbytes > LARGE:
        alone()


def _counts(delta: Tensor) -> Counts:
    """The holders of the memory, of the tensor, and of its Python object."""
    return (
        torch._C._storage_Use_Count(delta.untyped_storage()._cdata),
        delta._use_count(),  # type: ignore[attr-defined]
        sys.getrefcount(delta),
    )


class _Asked(Function):
    """Says how many hold the gradient that arrives; it is asked exactly as `place` is."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, told: list[Counts]) -> Tensor:
        ctx.told = told
        return z.neg()

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None]:
        _tell(delta, ctx.told)
        return delta.neg(), None


def _tell(delta: Tensor, told: list[Counts]) -> None:
    told.append(_counts(delta))


def alone() -> Counts | None:
    """The counts of a gradient that nobody else holds; None where this torch or this Python do not tell.

    The trap: while Dynamo's hook is in place, frames hold what is passed to them once more, and counts taken then
    would later be those of a gradient that somebody keeps: there is an answer for each such state, none under a tracer.
    """
    if sys.gettrace() is not None or sys.getprofile() is not None:
        return None
    return _counts_of_nobodys(_passed_on(object()))


def _passed_on(given: object) -> int:
    return sys.getrefcount(given)


@cache
def _counts_of_nobodys(held_by_frames: int) -> Counts | None:
    try:
        # It may be asked for the first time inside of a Function's forward, where gradients are off.
        with torch.inference_mode(False), torch.enable_grad():
            own = _told(lambda h, z: h.neg())
            held = [_told(case) for case in (_kept_by_a_hook, _kept_in_part_by_a_hook, _shared_with_a_second, _given)]
    except Exception:  # Names of torch's that are not public may go.
        return None
    return own if own not in held else None


def _told(case: Callable[[Tensor, Tensor], Tensor | None]) -> Counts:
    told: list[Counts] = []
    z = torch.zeros(3, device="cpu", dtype=torch.float32, requires_grad=True)
    h: Tensor = _Asked.apply(z, told)  # type: ignore[no-untyped-call]
    end = case(h, z)
    if end is not None:
        torch.autograd.grad(end.sum(), z)
    return told[0]


def _kept_by_a_hook(h: Tensor, z: Tensor) -> Tensor:
    kept: list[Tensor] = []
    h.register_hook(kept.append)  # type: ignore[no-untyped-call]
    return h.neg()


def _kept_in_part_by_a_hook(h: Tensor, z: Tensor) -> Tensor:
    kept: list[Tensor] = []
    h.register_hook(lambda delta: kept.append(delta[1:]))  # type: ignore[no-untyped-call]
    return h.neg()


def _shared_with_a_second(h: Tensor, z: Tensor) -> Tensor:
    # The gradient of a sum is one tensor for both of its terms.
    return (h + z).neg()


def _given(h: Tensor, z: Tensor) -> None:
    delta = torch.ones_like(h)
    torch.autograd.grad(h, z, delta)
