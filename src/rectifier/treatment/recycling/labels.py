"""Labels, one number for each unit, that are sent through a forward in place of the values.

Which entry of a tensor belongs to which unit is not reasoned about: the labels go through the same views,
concatenations and paddings as the activations did. Where they come out mixed, the answer is a refusal with its reason.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from rectifier.errors import CannotRecycle
from rectifier.sandbox import tensors_in
from rectifier.treatment.recycling.slots import Layer
from rectifier.treatment.recycling.trace import Op

_FOREIGN = -1
"""In place of a unit's number: what comes from elsewhere."""


def names_for(units: int, device: torch.device) -> Tensor:
    """A number for each unit, such that no mean of several is one of them."""
    own = torch.Generator().manual_seed(0x1ABE1)
    jitter = torch.rand(units, generator=own, dtype=torch.float64)
    return (1 + (torch.arange(units, dtype=torch.float64) + jitter / 2) / units).to(device)


def spread(names: Tensor, axis: int, shape: Iterable[int]) -> Tensor:
    """The units' numbers along one axis of a tensor of that shape."""
    shape = list(shape)
    view = [1] * len(shape)
    view[axis] = len(names)
    return names.reshape(view).expand(shape)


def reshaped(op: Op, known: dict[int, Tensor]) -> list[Tensor]:
    """Do to the labels what was done to the values; what comes from elsewhere is not a number."""

    def stand_in(value: Any) -> Any:
        if isinstance(value, Tensor):
            if id(value) in known:
                return known[id(value)]
            foreign = value.is_floating_point() and value.ndim
            return torch.full(value.shape, torch.nan, dtype=torch.float64, device=value.device) if foreign else value
        if isinstance(value, list | tuple):
            return type(value)([stand_in(entry) for entry in value])
        return value

    args, kwargs = stand_in(op.args), {name: stand_in(value) for name, value in op.kwargs.items()}
    kwargs.pop("dtype", None)
    if op.name.endswith("_") and not op.name.startswith("__"):
        args = tuple(a.clone() if isinstance(a, Tensor) else a for a in args)
    if op.name in ("view", "view_as"):
        args = (args[0].contiguous(), *args[1:])
    try:
        made = list(tensors_in(op.function(*args, **kwargs)))
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        raise CannotRecycle(f"what torch's {op.name} does to a single unit could not be told: {error}") from error
    if [tuple(label.shape) for label in made] != [tuple(output.shape) for output in op.outputs]:
        raise CannotRecycle(f"what torch's {op.name} does to a single unit could not be told")
    return made


def pooled(labels: Tensor, output: Tensor) -> Tensor:
    """Pooling moves nothing between channels; the channels stand before the positions."""
    for spatial in (1, 2, 3):
        axis = -spatial - 1
        if labels.ndim < spatial + 1 or labels.ndim != output.ndim:
            break
        channels = _thin(labels, axis).movedim(axis, 0).reshape(labels.shape[axis], -1)
        first = channels[:, 0]
        same = torch.equal(channels.nan_to_num(_FOREIGN), first[:, None].expand_as(channels).nan_to_num(_FOREIGN))
        if same and output.shape[axis] == len(first):
            return spread(first, axis, output.shape)
    raise CannotRecycle("a pooling mixes its units")


def _thin(labels: Tensor, axis: int) -> Tensor:
    """One of many equal slices: along an axis that was only expanded, every slice is the same memory."""
    for other in range(-labels.ndim, 0):
        if other != axis and labels.stride(other) == 0:
            labels = labels.narrow(other, 0, 1)
    return labels


def features_of(labels: Tensor, names: Tensor, layer: Layer) -> list[list[int]]:
    """For each unit the features of a layer's input that hold it."""
    features = labels.shape[layer.feature_axis]
    table = _thin(labels, layer.feature_axis).movedim(layer.feature_axis, -1).reshape(-1, features)
    foreign = table.isnan()
    # A padding puts zeros beside a unit's values.
    padding = table == 0
    high = table.nan_to_num(_FOREIGN).amax(0)
    low = table.masked_fill(padding, torch.inf).nan_to_num(_FOREIGN, posinf=torch.inf).amin(0)
    empty = padding.all(0) | foreign.all(0)
    # A mean of equal numbers differs from them in the last place.
    if bool(((high - low).abs() > 1e-9)[~empty].any()) or bool((foreign.any(0) & ~empty).any()):
        raise CannotRecycle(f"on the way to {layer.path} its units are mixed into the same features")
    place = torch.searchsorted(names, high - 1e-9).clamp_max(len(names) - 1)
    if bool(((names[place] - high).abs() > 1e-9)[~empty].any()):
        raise CannotRecycle(f"on the way to {layer.path} its units are mixed into the same features")
    found: list[list[int]] = [[] for _ in names]
    for feature, (unit, missing) in enumerate(zip(place.tolist(), empty.tolist(), strict=True)):
        if not missing:
            found[unit].append(feature)
    return found
