"""An ensemble of plain MLPs whose units are counted while it trains: what `rectifier demo` shows."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rectifier.activations import module_for
from rectifier.catalogue import Choice
from rectifier.comparison.models.draws import Draws, Recipe, batches, built
from rectifier.comparison.models.ensemble import failures, train
from rectifier.comparison.models.observer import EnsembleObserver
from rectifier.comparison.models.stacked import Chain, Layers, stack
from rectifier.datasets import Split
from rectifier.records import Failure, FloatArray, Process, Trial
from rectifier.sandbox import streams_kept

_LEARNING_RATE = 5e-3


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


def plain_mlp(network: Network, choice: Choice) -> nn.Sequential:
    """Build one network: He-normal weights, drawn from torch's random stream, and biases of zero.

    Source: He et al. 2015, arXiv:1502.01852.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in network.shapes:
        linear: nn.Linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            linear.weight.copy_((torch.randn(fan_in, fan_out) * math.sqrt(2 / fan_in)).T)
            linear.bias.zero_()
        layers += [linear, module_for(choice)]
    return nn.Sequential(*layers[:-1])


def stacked_mlps(network: Network, choice: Choice, draws: Sequence[Draws]) -> Chain:
    """One network per member, as one; torch's random stream is afterwards as it was."""
    with streams_kept():
        chain = stack([built(partial(plain_mlp, network, choice), draw) for draw in draws]).chain
    assert chain is not None, f"{choice.spec} is not the same function of every number"
    return chain


@dataclass(frozen=True, slots=True, eq=False)
class Ensemble:
    """All members of one arm after their training.

    Attributes:
        loss: (steps, S) mean cross-entropy of each training batch.
        accuracy: (epochs, S) share of the test set classified rightly, after each epoch.
        failed: Why a member counts as a failure, or None.
        seconds: Of the whole ensemble.
    """

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
                failed=failed,
                dead_fraction=None if dead is None else float(dead[member]),
                seconds=self.seconds / len(self.failed),
                fingerprint=hashlib.sha256(self.loss[:, member].tobytes()).hexdigest(),
            )
            for member, failed in enumerate(self.failed)
        ]


def train_observed(
    data: Split,
    network: Network,
    recipe: Recipe,
    choice: Choice,
    draws: Sequence[Draws],
    *,
    observe_every: int = 2,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Ensemble:
    """Train one member per entry of `draws`, all at once, with Adam, and count what their units do.

    Two kinds of observation are counted: the batches of every `observe_every`-th step, and one pass over the whole
    training set before the first and after every epoch's last step, so that "dead" is known and not sampled.

    Args:
        data: What to learn.
        network: The shape of every member.
        recipe: How long to train.
        choice: The activation of all hidden layers.
        draws: One entry per member.
        observe_every: Every how many steps one is observed; the last step of an epoch always is. 0 observes no step
            and makes one pass over the training set at the very end, which is what the comparison needs.
        on_epoch: Called with the number of epochs finished.

    Returns:
        The trained ensemble's record; the weights are not kept.
    """
    started = time.perf_counter()
    training = _Training(data, network, recipe, choice, draws, observe_every, on_epoch)
    chain = training.chain
    losses = train(
        training.forward,
        torch.optim.Adam(chain.learned, lr=_LEARNING_RATE, fused=True),
        training.inputs,
        (chosen for _, chosen in batches(len(training.inputs), recipe, draws)),
        training.loss,
        on_step=training.after_step,
    )
    history = losses.double().numpy()
    return Ensemble(
        loss=history,
        accuracy=torch.stack(training.accuracies).numpy(),
        failed=failures(training.predicted, history),
        observer=training.observer,
        seconds=time.perf_counter() - started,
    )


class _Training:
    """What happens within and after each step of an observed training.

    Attributes:
        accuracies: (S,) after each epoch.
        predicted: (S, m, classes) on the test set, after the last epoch so far.
    """

    predicted: Tensor

    def __init__(
        self,
        data: Split,
        network: Network,
        recipe: Recipe,
        choice: Choice,
        draws: Sequence[Draws],
        observe_every: int,
        on_epoch: Callable[[int], None],
    ) -> None:
        self.chain = stacked_mlps(network, choice, draws)
        self.inputs, self._labels = torch.from_numpy(data.train_inputs), torch.from_numpy(data.train_labels)
        self._test_inputs, self._test_labels = torch.from_numpy(data.test_inputs), torch.from_numpy(data.test_labels)
        self._members = len(draws)
        self._observe_every = observe_every
        self._on_epoch = on_epoch
        self._steps_per_epoch = -(-len(self.inputs) // recipe.batch_size)
        self._steps = self._steps_per_epoch * recipe.epochs
        self._step = 0
        self._observed: tuple[Layers, list[Tensor]] | None = None
        self.accuracies: list[Tensor] = []
        self.observer = EnsembleObserver(
            members=len(draws),
            layers=network.hidden_layers,
            width=network.width,
            samples=len(self.inputs),
            choice=choice,
        )
        if observe_every:
            self._see_everything()

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs of this step; where it is observed, what its layers compute is kept until it has been taken."""
        self._observed = None
        if not self._is_observed:
            return self.chain.forward(inputs)
        predicted, layers = self.chain.observed(inputs)
        for before in layers.before:
            before.retain_grad()
        self._observed = layers, [weight.detach().clone() for weight in self.chain.weights[:-1]]
        return predicted

    def loss(self, predicted: Tensor, chosen: Tensor) -> Tensor:
        """(S,) mean cross-entropies of this step."""
        self._chosen = chosen
        each = cross_entropy(predicted.flatten(0, 1), self._labels[chosen].flatten(), reduction="none")
        return each.view(self._members, -1).mean(1)

    def after_step(self, taken: int) -> None:
        """Count what this step showed; after an epoch, test."""
        step, last_of_epoch = self._step, self._ends_epoch
        if self._observed is not None:
            layers, old = self._observed
            deltas = [before.grad for before in layers.before if before.grad is not None]
            new = [weight.detach() for weight in self.chain.weights[:-1]]
            self.observer.see_step(step, self._chosen, layers, deltas, (old, new))
        if last_of_epoch:
            if self._observed is not None or taken == self._steps:
                self._see_everything()
            with torch.no_grad():
                self.predicted = self.chain.forward(self._for_all(self._test_inputs))
            self.accuracies.append((self.predicted.argmax(2) == self._test_labels).double().mean(1))
        if self._observed is not None and (step == 0 or last_of_epoch):
            self.observer.snapshot(step, [bias.unsqueeze(1) for bias in self.chain.biases[:-1]])
        if last_of_epoch:
            self._on_epoch(taken // self._steps_per_epoch)
        self._step = taken

    @property
    def _ends_epoch(self) -> bool:
        return (self._step + 1) % self._steps_per_epoch == 0

    @property
    def _is_observed(self) -> bool:
        return bool(self._observe_every) and (self._step % self._observe_every == 0 or self._ends_epoch)

    def _see_everything(self) -> None:
        with torch.no_grad():
            self.observer.see_everything(self.chain.observed(self._for_all(self.inputs))[1], self._step)

    def _for_all(self, inputs: Tensor) -> Tensor:
        return inputs.expand(self._members, -1, -1)
