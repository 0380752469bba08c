"""Many models of one shape as one: stacked parameters, and one matrix product per layer for all of them."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from rectifier.activations import nn as own
from rectifier.catalogue import CATALOGUE

Forward = Callable[[Tensor], Tensor]
"""From (S, B, ...) inputs, each member's own, to the (S, B, ...) outputs."""

_ELEMENTWISE = frozenset(
    getattr(namespace, row.module)
    for row in CATALOGUE.values()
    for namespace in (nn, own)
    if row.name not in ("prelu", "rrelu") and row.module is not None and hasattr(namespace, row.module)
)
"""Activations that are the same function of every number: without parameters and without chance."""


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """What the hidden layers of all members computed in one forward pass, (S, B, U) per layer."""

    before: list[Tensor]
    after: list[Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Models as one.

    Attributes:
        forward: Of all of them.
        learned: Their parameters, each with the members as its first dimension.
        chain: The forward where they are plain stacks of layers, None for any other model.
    """

    forward: Forward
    learned: list[Tensor]
    chain: "Chain | None"
    _skeleton: nn.Module

    def eval(self) -> None:
        """Let layers do what they do after a training."""
        self._skeleton.eval()


def stack(models: Sequence[nn.Module]) -> Stack:
    """Stack models that differ in their numbers only; theirs stay as they are.

    Raises:
        RuntimeError: They cannot be stacked.
    """
    parameters, buffers = stack_module_state(list(models))
    # Its own weights are not used.
    skeleton = copy.deepcopy(models[0])
    chain = _chain(skeleton, parameters)
    if chain is not None:
        return Stack(chain.forward, chain.learned, chain, skeleton)
    return Stack(_any_model(skeleton, parameters, buffers), list(parameters.values()), None, skeleton)


class _Affine(torch.autograd.Function):
    """(S, B, i) times the (S, o, i) weights of each member, plus its (S, o) biases.

    The gradient of the weights is computed as they lie. Through a transposed view it comes out transposed, and is
    copied for that: an eighth of the time of a whole step.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        columns = weight.transpose(1, 2)
        return torch.bmm(inputs, columns) if bias is None else torch.baddbmm(bias.unsqueeze(1), inputs, columns)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        asked = ctx.needs_input_grad
        return (
            torch.bmm(delta, weight) if asked[0] else None,
            torch.bmm(delta.transpose(1, 2), inputs) if asked[1] else None,
            delta.sum(1) if asked[2] else None,
        )


def _affine(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply `_Affine` to (S, ..., i)."""
    rows = inputs.reshape(len(weight), -1, inputs.shape[-1])
    product: Tensor = _Affine.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return product.view(*inputs.shape[:-1], weight.shape[1])


class _Linear(torch.autograd.Function):
    """A linear layer that batches as one matrix product per member; vmap's own rule takes three times as long."""

    generate_vmap_rule = False

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(inputs, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        raise NotImplementedError  # Reached only without vmap, and nothing here trains without it.

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], inputs: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, int]:
        if in_dims[0] != 0 or in_dims[1] != 0:
            raise NotImplementedError("inputs and weights of a linear layer must both belong to the members")
        return _affine(inputs, weight, bias), 0


class _StackedLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name for it)
        result: Tensor = _Linear.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return result


class Chain:
    """A plain stack of linear layers and elementwise activations needs no vmap, which takes a third of its time.

    Weights lie as (S, i, o), so that their gradients come out as they lie and nothing of a step waits for Python
    but the names of its operations.

    Attributes:
        learned: All parameters.
        weights: (S, i, o) of each linear layer.
        biases: (S, o) of each linear layer that has its own.
    """

    def __init__(self) -> None:
        self.learned: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        self._layers: list[Forward] = []
        self._kept: list[tuple[Forward, bool]] = []
        """The same ones without what works in place, and whether each is an activation."""

    def add_linear(self, weight: Tensor, bias: Tensor | None, *, learns: bool) -> None:
        """Add a linear layer.

        Args:
            weight: (S, o, i)
            bias: (S, o)
            learns: Whether its weights are to be trained.
        """
        columns = weight.detach().transpose(1, 2).contiguous().requires_grad_(learns)
        own = [columns] if bias is None else [columns, bias]
        self.learned += own
        self.weights.append(columns)
        self.biases += own[1:]
        self._add(partial(_linear, columns, bias))

    def add_activation(
        self, function: Forward, *, in_place: Forward | None = None, slopes: Tensor | None = None
    ) -> None:
        """Add an activation.

        Args:
            function: Of its input, which it leaves as it is.
            in_place: The same in the place of its input, where that is nobody's.
            slopes: What it learns.
        """
        self.learned += [] if slopes is None else [slopes]
        self._add(function, in_place, activation=True)

    def _add(self, function: Forward, in_place: Forward | None = None, *, activation: bool = False) -> None:
        self._layers.append(in_place or function)
        self._kept.append((function, activation))

    def forward(self, inputs: Tensor) -> Tensor:
        """(S, B, i) to (S, B, o)."""
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    def observed(self, inputs: Tensor) -> tuple[Tensor, Layers]:
        """The outputs, and what every activation was given and gave."""
        layers = Layers([], [])
        for layer, is_activation in self._kept:
            before, inputs = inputs, layer(inputs)
            if is_activation:
                layers.before.append(before)
                layers.after.append(inputs)
        return inputs, layers


def _chain(model: nn.Module, parameters: dict[str, Tensor]) -> Chain | None:
    if type(model) is not nn.Sequential or any(_is_hooked(module) for module in model.modules()):
        return None
    chain, linear = Chain(), False
    for name, layer in model._modules.items():
        if type(layer) is nn.Linear and f"{name}.weight" in parameters:
            weight, bias = parameters[f"{name}.weight"], parameters.get(f"{name}.bias")
            if bias is None and layer.bias is not None:
                return None  # It is another layer's, too.
            chain.add_linear(weight, bias, learns=weight.requires_grad)
        elif type(layer) in _ELEMENTWISE:
            chain.add_activation(_out_of_place(layer), in_place=_in_place(layer) if linear else None)
        elif type(layer) in (nn.PReLU, own.PReLU) and f"{name}.weight" in parameters:
            slopes = parameters[f"{name}.weight"]
            if slopes.shape[1] != 1:
                return None
            chain.add_activation(partial(_prelu, slopes), slopes=slopes)
        else:
            return None
        # Its output is nobody's; an activation's may be kept for its gradient, and the first layer's input is the data.
        linear = type(layer) is nn.Linear
    return chain


def _linear(columns: Tensor, bias: Tensor | None, inputs: Tensor) -> Tensor:
    """(S, ..., i) to (S, ..., o); of (S, B, i) no view, since what changes a view in place copies all of it."""
    rows = inputs if inputs.dim() == 3 else inputs.reshape(len(columns), -1, inputs.shape[-1])
    product = torch.bmm(rows, columns) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, columns)
    return product if inputs.dim() == 3 else product.view(*inputs.shape[:-1], columns.shape[2])


def _in_place(layer: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The activation in the place of its input, where its gradient is the same to the bit; None elsewhere."""
    if isinstance(layer, nn.ReLU):
        return torch.relu_
    if isinstance(layer, nn.LeakyReLU) and layer.negative_slope > 0:
        return partial(nn.functional.leaky_relu, negative_slope=layer.negative_slope, inplace=True)
    return None


def _out_of_place(layer: nn.Module) -> nn.Module:
    if getattr(layer, "inplace", False):
        layer.inplace = False  # type: ignore[assignment]
    return layer


def _is_hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _prelu(slopes: Tensor, inputs: Tensor) -> Tensor:
    """One slope per member: torch's own has none for each of a batch."""
    return torch.where(inputs > 0, inputs, slopes.view(-1, *[1] * (inputs.dim() - 1)) * inputs)


def _any_model(skeleton: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Forward:
    # Without weights of its own: a parameter that was forgotten cannot pass unnoticed.
    skeleton.to("meta")
    for module in skeleton.modules():
        if type(module) is nn.Linear:
            module.__class__ = _StackedLinear

    def one(own: dict[str, Tensor], kept: dict[str, Tensor], inputs: Tensor) -> Tensor:
        result: Tensor = functional_call(skeleton, (own, kept), (inputs,))
        return result

    every = vmap(one, randomness="error")
    return lambda inputs: every(parameters, buffers, inputs)
