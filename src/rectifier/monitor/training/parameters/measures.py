"""Numbers from many tensors at once, without waiting for their device."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

_CHUNK = 1 << 20
Groups = dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]]
"""Tensors with the number of each, by what can be computed at once."""
_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def can_be_followed(tensor: Tensor) -> bool:
    """Whether a tensor can be a parameter that is followed: with numbers of its own, in memory of its own."""
    # What computes by itself may hold no numbers at all (FakeTensor); sharded ones hold a part of them.
    computes = type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__
    if is_lazy(tensor) or (computes and not hasattr(tensor, "to_local")):
        return False
    return (tensor.is_floating_point() or tensor.is_complex()) and not tensor.is_meta and tensor.layout is torch.strided


def number_of(value: object) -> float:
    """A setting of an optimizer's; NaN where it is none, or lies on a device."""
    # A tensor may live on the device, and is not waited for.
    if isinstance(value, Tensor):
        return float(value) if value.is_cpu and value.numel() == 1 else math.nan
    return float(value) if isinstance(value, int | float) else math.nan


def local_part(tensor: Tensor) -> Tensor | None:
    """This rank's part of a sharded one; None of one without memory of its own, or whose values are sparse."""
    to_local: Any = getattr(tensor, "to_local", None)
    local: Tensor = tensor if to_local is None else to_local()
    if local.layout is torch.sparse_coo:
        local = local._values()
    if local.layout is not torch.strided or not torch._C._has_storage(local):
        return None
    return torch.view_as_real(local) if local.is_complex() else local


def largest_of(tensors: list[Tensor]) -> Tensor:
    """The largest absolute value of each. A norm would not do: its squares can be 0 where no value is."""
    low, high = zip(*(torch.aminmax(one) for one in tensors), strict=True)
    return torch.maximum(-torch.stack(low), torch.stack(high)).float()


def range_of(tensors: list[Tensor]) -> Tensor:
    """(tensors, 2) the smallest and the largest value of each."""
    low, high = zip(*(torch.aminmax(one) for one in tensors), strict=True)
    return torch.stack([torch.stack(low), torch.stack(high)], 1).float()


def norms_of(tensors: list[Tensor]) -> Tensor:
    """The norm of each. Half precision holds none above 65,504."""
    wide = torch.float32 if tensors[0].element_size() < 4 else None
    return torch.stack(torch._foreach_norm(tensors, 2.0, dtype=wide)).float()


def bits_of(tensors: list[Tensor]) -> Tensor:
    """One number of 64 bits from all bits of each."""
    return torch.stack([_bits(one) for one in tensors])


def measured(groups: Groups, measure: Callable[[list[Tensor]], Tensor]) -> tuple[list[int], Tensor | None]:
    """A number of each; of several devices brought to the host, of one left there."""
    parts, places = [], []
    for pairs in groups.values():
        parts.append(measure([one for _, one in pairs]))
        places += [at for at, _ in pairs]
    if not parts:
        return places, None
    together = len({part.device for part in parts}) == 1
    return places, torch.cat(parts if together else [part.cpu() for part in parts])


_odd: dict[torch.device, Tensor] = {}


def _bits(tensor: Tensor) -> Tensor:
    """One number of 64 bits from all bits of a tensor: an integer product with odd factors, in any order the same."""
    flat = tensor.contiguous().reshape(-1)
    whole = flat.view(_WHOLE[flat.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=flat.device)
    # Slices: a function of torch's that is written in Python would be compiled by a Dynamo that runs around us.
    for number, chunk in enumerate(whole[at : at + _CHUNK] for at in range(0, len(whole), _CHUNK)):
        if flat.device not in _odd:
            # Its own generator: the user's random stream is not touched.
            own = torch.Generator().manual_seed(0x5EED)
            _odd[flat.device] = (torch.randint(-(2**62), 2**62, (_CHUNK,), generator=own) * 2 + 1).to(flat.device)
        total = total + (chunk.to(torch.int64) * _odd[flat.device][: len(chunk)]).sum() * (2 * number + 1)
    return total
