"""The layers whose weights have a scale to set: linear ones and convolutions."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A linear layer or convolution with weights of its own.

    Attributes:
        path: Its first path in the model.
        module: Itself.
        weight: Its weight.
        fan_in: Inputs that one output sums over.
    """

    path: str
    module: nn.Module
    weight: nn.Parameter
    fan_in: float

    @property
    def gain(self) -> float:
        """`√(fan_in·E[w²])`: 1 of a layer that keeps the mean square of inputs with mean 0, √2 after ReLU."""
        return math.sqrt(self.fan_in) * root_mean_square(self.weight)


def root_mean_square(values: Tensor) -> float:
    """√E[x²] in double precision; NaN of nothing."""
    wide = torch.float32 if values.device.type == "mps" else torch.float64
    return float(values.detach().to(wide).square().mean().sqrt())


def deviation(values: Tensor) -> float:
    """Standard deviation over all entries, in double precision."""
    wide = torch.float32 if values.device.type == "mps" else torch.float64
    return float(values.detach().to(wide).std(correction=0))


def layers(model: nn.Module) -> tuple[list[Layer], list[tuple[str, str]]]:
    """All such layers in the order of `named_modules`, and what looks like one but is left alone, with the reason."""
    found, left = [], []
    holders = _holders(model)
    for path, module in model.named_modules():
        if not isinstance(module, _KINDS) and not _is_transformers_conv1d(module):
            continue
        weight = module._parameters.get("weight")
        if parametrize.is_parametrized(module, "weight") or weight is None:
            left.append((path, "its weight is computed by a parametrisation, which has a scale of its own"))
        elif other := next((name for name in holders[id(weight)] if not _is_layer(model, name)), None):
            left.append((path, f"its weight is tied to {other}, which is no layer"))
        elif not weight.requires_grad:
            left.append((path, "it is frozen"))
        else:
            found.append(Layer(path, module, weight, _fan_in(module, weight)))
    return found, left


def others(model: nn.Module) -> Iterator[str]:
    """Kinds of modules that have weight matrices and are no such layer, with their number: `2 × Embedding`."""
    kinds: dict[str, int] = {}
    known = {id(layer.module) for layer in layers(model)[0]}
    for module in model.modules():
        matrices = (p for p in module._parameters.values() if p is not None and p.ndim > 1)
        if id(module) not in known and not isinstance(module, _KINDS) and any(True for _ in matrices):
            kinds[type(module).__name__] = kinds.get(type(module).__name__, 0) + 1
    for kind, number in kinds.items():
        yield f"{number} × {kind}"


def _holders(model: nn.Module) -> dict[int, list[str]]:
    """Which modules hold each parameter."""
    holders: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                holders.setdefault(id(parameter), []).append(path)
    return holders


def _is_layer(model: nn.Module, path: str) -> bool:
    module = model.get_submodule(path)
    return isinstance(module, _KINDS) or _is_transformers_conv1d(module)


def _is_transformers_conv1d(module: nn.Module) -> bool:
    """GPT-2's linear layer, with its weight transposed."""
    cls = type(module)
    return cls.__name__ == "Conv1D" and cls.__module__ == "transformers.pytorch_utils"


def _fan_in(module: nn.Module, weight: nn.Parameter) -> float:
    if isinstance(module, _TRANSPOSED):
        # Each input is spread over the kernel, each output gathers a stride-th of it, from its own group.
        return weight.shape[0] / module.groups * math.prod(weight.shape[2:]) / math.prod(module.stride)
    if _is_transformers_conv1d(module):
        return float(weight.shape[0])
    return float(math.prod(weight.shape[1:]))
