"""Initial weights and biases drawn anew before the first forward of each model, from a random stream of our own."""

import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.hooks.modules import on_parameters
from rectifier.hooks.optimizers import tensors_of
from rectifier.hooks.patch.attributes import on_construction
from rectifier.hooks.roots import Forward, route_roots
from rectifier.records import Change, ChangedPart
from rectifier.treatment.interventions.intervening import Intervening

_SMALL = 0.02
"""Standard deviation of small random weights, as BERT and GPT-2 begin with."""
_ROUNDED = 1.001
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)


class Fans(NamedTuple):
    """How many numbers go into each unit of a weight, and out of each."""

    into: int
    out: int


class Given(NamedTuple):
    """A tensor that learns, and what holds it."""

    name: str
    tensor: Tensor
    owner: nn.Module | None


Draw = Callable[[Given, torch.Generator], Tensor | None]
"""New values on the CPU; None for what stays."""


class Redrawn(Intervening):
    """Tensors that learn begin with other values.

    Args:
        change: Which change this is.
        draw: Draws them.
        seed: Of a stream of its own.
    """

    def __init__(self, change: Change, draw: Draw, seed: int) -> None:
        super().__init__(change)
        self._draw = draw
        self._generator = torch.Generator().manual_seed(seed)
        self._met: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._done: dict[int, weakref.ref[Tensor]] = {}
        self._owned: set[int] = set()

    def start(self) -> None:
        """Begin."""
        super().start()
        self._undo.append(route_roots(self._forward))
        self._undo.append(on_construction(Optimizer, self._constructed))
        self._undo.append(on_parameters(lambda parameter: self._owned.add(id(parameter))))

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """What has a gradient now has begun to learn, and is left alone."""
        for tensor in tensors_of(optimizer):
            if tensor.grad is not None and not self._is_done(tensor):
                self._done[id(tensor)] = weakref.ref(tensor)

    def _forward(self, module: nn.Module, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if module not in self._met:
            self._met.add(module)
            for path, owner in module.named_modules():
                for name, parameter in owner._parameters.items():
                    if parameter is not None:
                        self._redraw(Given(f"{path}.{name}" if path else name, parameter, owner))
        return forward(*args, **kwargs)

    def _constructed(self, optimizer: Optimizer) -> None:
        # A module's parameters wait for its forward: until then they may be loaded or moved.
        for number, tensor in enumerate(tensors_of(optimizer)):
            if id(tensor) not in self._owned:
                self._redraw(Given(f"tensor {number} of {type(optimizer).__name__}", tensor, None))

    def _redraw(self, given: Given) -> None:
        tensor = given.tensor
        plain = type(tensor) in (Tensor, nn.Parameter) and tensor.is_floating_point() and not tensor.is_meta
        if not plain or not tensor.requires_grad or self._is_done(tensor):
            return
        self._done[id(tensor)] = weakref.ref(tensor)
        drawn = self._draw(given, self._generator)
        if drawn is not None:
            with torch.no_grad():
                tensor.copy_(drawn)
            self.note(given.name, None if given.owner is None else ChangedPart(name="parameter", path=given.name))

    def _is_done(self, tensor: Tensor) -> bool:
        known = self._done.get(id(tensor))
        return known is not None and known() is tensor


def fans(given: Given) -> Fans | None:
    """Of a weight; None where it is none, or one that is looked up row by row.

    Modules of torch keep (out, in, …), what is multiplied by hand is (…, in, out).
    """
    shape, owner = given.tensor.shape, given.owner
    if len(shape) < 2 or isinstance(owner, _LOOKED_UP):
        return None
    # A module of the user's that is derived from torch's keeps its weight the same way.
    torchs = isinstance(owner, nn.Linear | nn.modules.conv._ConvNd) or type(owner).__module__.startswith("torch.nn.")
    if owner is None or not torchs:
        return Fans(shape[-2], shape[-1])
    field = shape[2:].numel()
    first, second = shape[0] * field, shape[1] * field
    return Fans(first, second) if isinstance(owner, _TRANSPOSED) else Fans(second, first)


def _normal(given: Given, generator: torch.Generator, variance: Callable[[Fans], float]) -> Tensor | None:
    found = fans(given)
    if found is None:
        return None
    return torch.randn(given.tensor.shape, generator=generator) * math.sqrt(variance(found))


def _he(given: Given, generator: torch.Generator) -> Tensor | None:
    return _normal(given, generator, lambda fans: 2 / max(fans.into, 1))


def _glorot(given: Given, generator: torch.Generator) -> Tensor | None:
    return _normal(given, generator, lambda fans: 2 / max(fans.into + fans.out, 1))


def _small(given: Given, generator: torch.Generator) -> Tensor | None:
    if given.tensor.ndim < 2 or bool(given.tensor.count_nonzero()):
        return None
    return torch.randn(given.tensor.shape, generator=generator) * _SMALL


def _zero_bias(given: Given, generator: torch.Generator) -> Tensor | None:
    named = given.owner is None or "bias" in given.name.rpartition(".")[2]
    if not named or given.tensor.ndim > 1 or not bool(given.tensor.count_nonzero()):
        return None
    usual = _usual_bias(given)
    if usual is not None and float(given.tensor.detach().abs().max()) <= usual:
        # As torch draws them: whatever other biases do, they would be another draw, and no more.
        return None
    return torch.zeros(given.tensor.shape)


def _usual_bias(given: Given) -> float | None:
    """The largest bias that torch draws beside this weight, 1/√fan-in; None where there is no weight to tell."""
    if given.owner is None:
        return None
    if isinstance(given.owner, nn.RNNBase | nn.RNNCellBase):
        return _ROUNDED / math.sqrt(given.owner.hidden_size)
    weight = given.owner._parameters.get("weight")
    if weight is None or weight.ndim < 2:
        return None
    # Modules differ in which of the two torch counts.
    return _ROUNDED / math.sqrt(max(min(weight.shape[:2]) * weight.shape[2:].numel(), 1))


_DRAWS: dict[Change, Draw] = {
    Change.WEIGHTS_HE: _he,
    Change.WEIGHTS_GLOROT: _glorot,
    Change.WEIGHTS_SMALL_RANDOM: _small,
    Change.ZERO_BIAS: _zero_bias,
}


def redrawn(change: Change, seed: int) -> Intervening | None:
    """The change of initial values that is meant; None where it is none of these."""
    draw = _DRAWS.get(change)
    return Redrawn(change, draw, seed) if draw is not None else None
