"""Inputs and targets standardised by the first batch, and everything in float32."""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rectifier.hooks.patch.attributes import wrap
from rectifier.hooks.patch.code import around_function
from rectifier.hooks.roots import Forward, map_tensors, route_roots
from rectifier.records import Change
from rectifier.treatment.interventions.intervening import Intervening

_SINGLE_ROWS = 32
"""Of a model that is given one row at a time, so many are gathered first."""
_CONVOLUTIONS = (nn.modules.conv._ConvNd,)
_REGRESSION_LOSSES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


class Scale(NamedTuple):
    """What is subtracted, and what divides."""

    mean: Tensor
    deviation: Tensor

    def of(self, tensor: Tensor) -> Tensor:
        """A tensor on this scale, in its own number format."""
        return ((tensor - self.mean) / self.deviation).to(tensor.dtype)


def scale_of(tensor: Tensor, axis: int | None) -> Scale:
    """Mean and deviation along one axis, of the finite numbers; a feature that does not vary is only shifted.

    Args:
        tensor: At least one row.
        axis: Of the features; None for one scale for all.
    """
    with torch.no_grad():
        values = tensor.detach().double()
        axes = [number for number in range(values.ndim) if axis is None or number != axis % values.ndim]
        finite = values.isfinite()
        count = finite.sum(axes, keepdim=True).clamp_min(1)
        mean = values.where(finite, 0).sum(axes, keepdim=True) / count
        variance = (values - mean).where(finite, 0).square().sum(axes, keepdim=True) / count
        deviation = variance.sqrt()
        still = deviation <= mean.abs() * torch.finfo(tensor.dtype).eps
        return Scale(mean, deviation.masked_fill(still, 1.0))


class StandardisedInputs(Intervening):
    """What each model is given first sets a scale, and everything that it is given is put on it."""

    def __init__(self) -> None:
        super().__init__(Change.STANDARDISE_INPUTS)
        self._scales: weakref.WeakKeyDictionary[nn.Module, dict[int, Scale]] = weakref.WeakKeyDictionary()
        self._rows: weakref.WeakKeyDictionary[nn.Module, dict[int, list[Tensor]]] = weakref.WeakKeyDictionary()

    def start(self) -> None:
        """Begin."""
        self._undo.append(route_roots(self._forward))

    def has_changed(self) -> bool:
        """Whether it has changed anything so far, or gathers the rows that will tell the scale."""
        return super().has_changed() or bool(self._rows)

    def _forward(self, module: nn.Module, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given, named = map_tensors(lambda place, value: self._put(module, place, value), args, kwargs)
        return forward(*given, **named)

    def _put(self, module: nn.Module, key: int, value: Tensor) -> Tensor:
        # What has a history is another model's output, not data.
        data = type(value) is Tensor and value.is_floating_point() and value.ndim and value.grad_fn is None
        if not data or not value.numel():
            return value
        known = self._scales.setdefault(module, {})
        if key not in known:
            if not torch.is_grad_enabled():
                return value
            scale = self._first(module, key, value)
            if scale is None:
                return value
            known[key] = scale
            mean, deviation = (float(number.abs().max()) for number in scale)
            self.details.setdefault(f"{type(module).__name__}: offset up to {mean:.3g}, scale up to {deviation:.3g}")
        self.times += 1
        return known[key].of(value)

    def _first(self, module: nn.Module, key: int, value: Tensor) -> Scale | None:
        axis = _feature_axis(module, value)
        rows = value.numel() // (value.shape[axis] if axis is not None else 1)
        if rows > 1:
            return scale_of(value, axis)
        gathered = self._rows.setdefault(module, {}).setdefault(key, [])
        gathered.append(value.detach().clone())
        if len(gathered) < _SINGLE_ROWS:
            return None
        stacked = torch.stack(gathered)
        scale = scale_of(stacked, None if axis is None else axis % value.ndim + 1)
        return Scale(scale.mean[0], scale.deviation[0])


def _feature_axis(module: nn.Module, value: Tensor) -> int | None:
    first = next((one for one in module.modules() if next(iter(one._parameters.values()), None) is not None), None)
    if isinstance(first, _CONVOLUTIONS):
        spatial = len(first.kernel_size)
        return value.ndim - spatial - 1 if value.ndim > spatial else None
    # A vector is one row of features for a linear layer, and a batch of numbers for anything else.
    if value.ndim == 1 and not (isinstance(first, nn.Linear) and first.in_features == len(value)):
        return None
    return value.ndim - 1


class StandardisedTargets(Intervening):
    """Targets of regression losses of torch are put on the scale of the first batch of each call."""

    def __init__(self) -> None:
        super().__init__(Change.STANDARDISE_TARGETS)
        self._scales: dict[tuple[str, tuple[int, ...]], Scale] = {}

    def start(self) -> None:
        """Begin."""
        for name in _REGRESSION_LOSSES:
            self._undo.append(around_function(getattr(F, name), self._around(name)))

    def _around(self, name: str) -> Callable[..., Tensor]:
        def around(original: Callable[..., Tensor], input: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002
            key = (name, tuple(target.shape[1:]))
            usual = target.is_floating_point() and target.grad_fn is None and target.numel() > 1
            if usual and key not in self._scales and torch.is_grad_enabled():
                # One scale for all units: a unit of its own for each would weigh them anew.
                self._scales[key] = scale_of(target, None)
                mean, deviation = (float(number) for number in self._scales[key])
                self.details.setdefault(f"{name}: offset {mean:.3g}, scale {deviation:.3g}")
            if usual and key in self._scales:
                self.times += 1
                target = self._scales[key].of(target)
            return original(input, target, *args, **kwargs)

        return around


class Float32(Intervening):
    """Models that are given in half precision, their inputs, and what autocast would round, in float32."""

    def __init__(self) -> None:
        super().__init__(Change.FLOAT32)

    def start(self) -> None:
        """Begin."""
        self._undo.append(route_roots(self._forward))
        self._undo.append(wrap(torch.autocast, "__init__", self._autocast))

    def _forward(self, module: nn.Module, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if any(parameter.dtype in (torch.float16, torch.bfloat16) for parameter in module.parameters()):
            module.float()
            self.details.setdefault(f"{type(module).__name__} in half precision")
        wide = any(parameter.dtype is torch.float32 for parameter in module.parameters())
        if wide:
            args, kwargs = map_tensors(lambda place, value: self._widened(value), args, kwargs)
        return forward(*args, **kwargs)

    def _widened(self, value: Tensor) -> Tensor:
        if value.dtype in (torch.float16, torch.bfloat16):
            self.times += 1
            return value.float()
        return value

    def _autocast(self, original: Callable[..., None], autocast: Any, *args: Any, **kwargs: Any) -> None:
        original(autocast, *args, **kwargs)
        if autocast._enabled:
            autocast._enabled = False
            self.note("autocast")
