"""Many small networks trained as one: S seeds of one plain MLP in batched matrix products.

Nothing is shared between members: each has its own initial weights, its own order of the data and its own
random streams, and Adam acts on every number by itself, so that each member is the run it would have been
alone (within the rounding of float32; tested). Two ensembles with the same draws differ in their activation
only.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rectifier.activations import function_for
from rectifier.catalogue import Choice
from rectifier.datasets import Split
from rectifier.records import Failure, FailureKind, FloatArray, Process, Trial
from rectifier.study.ensemble_observer import EnsembleObserver, Layers

CONSTANT_VARIANCE = 1e-6
"""Outputs that vary between samples by less than this share of their mean square are one constant."""


@dataclass(frozen=True, slots=True)
class Network:
    """A plain MLP: `hidden_layers` × (linear layer of `width` units, activation), then a linear output."""

    inputs: int
    hidden_layers: int
    width: int
    outputs: int

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(fan-in, fan-out) of every linear layer, the output layer last."""
        sizes = [self.inputs, *[self.width] * self.hidden_layers, self.outputs]
        return list(pairwise(sizes))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every member is trained: Adam on the cross-entropy.

    Attributes:
        observe_every: Every how many steps one is observed; the last step of an epoch always is. 0 observes
            no step and makes one pass over the training set at the very end, which is what the comparison
            needs.
    """

    epochs: int = 25
    batch_size: int = 64
    learning_rate: float = 5e-3
    observe_every: int = 2


@dataclass(frozen=True, slots=True)
class Draws:
    """The random streams of one member: equal draws, equal initial weights and order of the data."""

    weights: int
    order: int


def draws_for(seed: int, members: int, *, placebo: bool = False) -> tuple[Draws, ...]:
    """Independent streams for each member; those of the placebo are other ones with the same distribution.

    Example:
        >>> draws_for(0, 3)[:2] == draws_for(0, 2), draws_for(0, 2) == draws_for(0, 2, placebo=True)
        (True, False)
    """
    streams = [np.random.SeedSequence([seed, member, int(placebo)]) for member in range(members)]
    # 63 bits: torch takes seeds as signed integers.
    numbers = [[int(n) >> 1 for n in stream.generate_state(2, np.uint64)] for stream in streams]
    return tuple(Draws(weights, order) for weights, order in numbers)


def initial_weights(network: Network, draws: Draws) -> list[Tensor]:
    """He-normal weights of one member, (fan-in, fan-out) per layer; its biases start at zero.

    Source: He et al. 2015, arXiv:1502.01852.
    """
    generator = torch.Generator().manual_seed(draws.weights)
    return [
        torch.randn(fan_in, fan_out, generator=generator) * math.sqrt(2 / fan_in) for fan_in, fan_out in network.shapes
    ]


def batches(samples: int, recipe: Recipe, draws: Sequence[Draws]) -> Iterator[tuple[int, Tensor]]:
    """Yield (epoch, (S, B) indices of training samples) per step; each epoch shows every sample once."""
    generators = [torch.Generator().manual_seed(draw.order) for draw in draws]
    for epoch in range(recipe.epochs):
        orders = torch.stack([torch.randperm(samples, generator=generator) for generator in generators])
        for start in range(0, samples, recipe.batch_size):
            yield epoch, orders[:, start : start + recipe.batch_size]


class Members:
    """The stacked parameters of all members and their common forward pass."""

    def __init__(self, network: Network, choice: Choice, draws: Sequence[Draws]) -> None:
        weights = zip(*[initial_weights(network, draw) for draw in draws], strict=True)
        self.weights = [torch.stack(layer).requires_grad_() for layer in weights]
        self.biases = [torch.zeros(len(draws), 1, n).requires_grad_() for _, n in network.shapes]
        self.slopes: list[Tensor] = []
        if choice.activation.name == "prelu":
            start = choice.parameter if choice.parameter is not None else 0.25
            shape = (len(draws), 1, 1)
            self.slopes = [torch.full(shape, start).requires_grad_() for _ in range(network.hidden_layers)]
        else:
            self._activation = function_for(choice)

    @property
    def parameters(self) -> list[Tensor]:
        """Everything that is learned, each with the members as its first dimension."""
        return [*self.weights, *self.biases, *self.slopes]

    def forward(self, inputs: Tensor) -> tuple[Tensor, Layers]:
        """(S, B, d) to the (S, B, classes) outputs, and what the hidden layers computed."""
        layers = Layers([], [])
        hidden = inputs
        for layer, (weight, bias) in enumerate(zip(self.weights[:-1], self.biases[:-1], strict=True)):
            z = torch.baddbmm(bias, hidden, weight)
            hidden = self._activate(z, layer)
            layers.before.append(z)
            layers.after.append(hidden)
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1]), layers

    def outputs(self, inputs: Tensor) -> Tensor:
        """(S, B, d) to the (S, B, classes) outputs alone."""
        return self.forward(inputs)[0]

    def _activate(self, z: Tensor, layer: int) -> Tensor:
        if self.slopes:
            # One learned slope per layer and member: torch's prelu has no batched form.
            return torch.where(z > 0, z, self.slopes[layer] * z)
        return self._activation(z)


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """All members of one arm after their training.

    Attributes:
        loss: (steps, S) mean cross-entropy of each training batch.
        accuracy: (epochs, S) share of the test set classified rightly, after each epoch.
        failed: Why a member counts as a failure, or None.
        seconds: Of the whole ensemble.
    """

    network: Network
    recipe: Recipe
    choice: Choice
    draws: tuple[Draws, ...]
    loss: FloatArray
    accuracy: FloatArray
    failed: tuple[Failure | None, ...]
    observer: EnsembleObserver = field(repr=False)
    seconds: float

    def process(self, member: int) -> Process:
        """What one member's counters recorded, as if it had trained alone."""
        return self.observer.process(member, {"loss": self.loss[:, member]}, self.accuracy[:, member])

    def trials(self, arm: str) -> list[Trial]:
        """One trial per member; its seed is the member's number."""
        dead = self.observer.dead_fraction()
        return [
            Trial(
                arm=arm,
                seed=member,
                metric=float(self.accuracy[-1, member]),
                failed=self.failed[member],
                dead_fraction=None if dead is None else float(dead[member]),
                seconds=self.seconds / len(self.draws),
                fingerprint=hashlib.sha256(self.loss[:, member].tobytes()).hexdigest(),
            )
            for member in range(len(self.draws))
        ]


def train_ensemble(
    data: Split,
    network: Network,
    recipe: Recipe,
    choice: Choice,
    draws: Sequence[Draws],
    *,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Ensemble:
    """Train one member per entry of `draws`, all at once, and count what their units do.

    Two kinds of observation are counted: the batches of every `observe_every`-th step, and one pass over the
    whole training set before the first and after every epoch's last step, so that "dead" is known and not
    sampled.

    Args:
        data: What to learn.
        network: The shape of every member.
        recipe: How to train.
        choice: The activation of all hidden layers.
        draws: One entry per member.
        on_epoch: Called with the number of epochs finished.

    Returns:
        The trained ensemble's record; the weights are not kept.
    """
    started = time.perf_counter()
    members = Members(network, choice, draws)
    inputs, labels = torch.from_numpy(data.train_inputs), torch.from_numpy(data.train_labels)
    test_inputs, test_labels = torch.from_numpy(data.test_inputs), torch.from_numpy(data.test_labels)
    optimizer = torch.optim.Adam(members.parameters, lr=recipe.learning_rate, fused=True)
    observer = EnsembleObserver(
        members=len(draws),
        layers=network.hidden_layers,
        width=network.width,
        samples=len(inputs),
        choice=choice,
    )
    steps_per_epoch = -(-len(inputs) // recipe.batch_size)
    losses, accuracies = [], []
    steps = steps_per_epoch * recipe.epochs
    if recipe.observe_every:
        with torch.no_grad():
            observer.see_everything(members.forward(_for_all(inputs, draws))[1], step=0)
    for step, (epoch, chosen) in enumerate(batches(len(inputs), recipe, draws)):
        last_of_epoch = (step + 1) % steps_per_epoch == 0
        observed = bool(recipe.observe_every) and (step % recipe.observe_every == 0 or last_of_epoch)
        outputs, layers = members.forward(inputs[chosen])
        loss = cross_entropy(outputs.flatten(0, 1), labels[chosen].flatten(), reduction="none")
        loss = loss.view(len(draws), -1).mean(1)
        if observed:
            for z in layers.before:
                z.retain_grad()
        optimizer.zero_grad()
        # A sum over members: no member's gradient contains another's.
        loss.sum().backward()  # type: ignore[no-untyped-call]
        if observed:
            old = [weight.detach().clone() for weight in members.weights[:-1]]
        optimizer.step()
        losses.append(loss.detach())
        if observed:
            deltas = [z.grad for z in layers.before if z.grad is not None]
            new = [weight.detach() for weight in members.weights[:-1]]
            observer.see_step(step, chosen, layers, deltas, (old, new))
        if last_of_epoch:
            with torch.no_grad():
                if observed or step == steps - 1:
                    observer.see_everything(members.forward(_for_all(inputs, draws))[1], step)
                outputs = members.forward(_for_all(test_inputs, draws))[0]
            accuracies.append((outputs.argmax(2) == test_labels).double().mean(1))
        if observed and (step == 0 or last_of_epoch):
            observer.snapshot(step, members.biases[:-1])
        if last_of_epoch:
            on_epoch(epoch + 1)
    history = torch.stack(losses).double().numpy()
    return Ensemble(
        network=network,
        recipe=recipe,
        choice=choice,
        draws=tuple(draws),
        loss=history,
        accuracy=torch.stack(accuracies).numpy(),
        failed=failures(outputs, history),
        observer=observer,
        seconds=time.perf_counter() - started,
    )


def _for_all(inputs: Tensor, draws: Sequence[Draws]) -> Tensor:
    return inputs.expand(len(draws), -1, -1)


def failures(outputs: Tensor, losses: FloatArray) -> tuple[Failure | None, ...]:
    """Name the members that ended as a constant, or with numbers that are none.

    Args:
        outputs: (S, m, classes) on the test set, after the training.
        losses: (steps, S).
    """
    wide = outputs.detach().double()
    variance = wide.var(1, correction=0).mean(1)
    constant = (variance < CONSTANT_VARIANCE * wide.square().mean((1, 2))).tolist()
    finite = (wide.isfinite().all(2).all(1).numpy() & np.isfinite(losses).all(0)).tolist()
    return tuple(
        Failure(FailureKind.DIVERGED) if not fine else Failure(FailureKind.CONSTANT_OUTPUT) if same else None
        for fine, same in zip(finite, constant, strict=True)
    )
