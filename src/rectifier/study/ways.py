"""Ways to train the members of one arm: all of them as one batched ensemble, one after another, or in processes.

They give the same trainings, each member's within the rounding of float32, and differ in their speed only.
"""

import copy
import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle
import torch
from loky import ProcessPoolExecutor
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from rectifier.catalogue import CATALOGUE
from rectifier.study.ensemble import Draws, Recipe, batches
from rectifier.study.question import BASELINE, PLACEBO, TREATED
from rectifier.study.together import Forward, outputs, train
from rectifier.treatment import swap

_ELEMENTWISE = frozenset(
    getattr(nn, row.module)
    for row in CATALOGUE.values()
    if row.module is not None and row.name not in ("prelu", "rrelu")
)
"""Activations that are the same function of every number: without parameters and without chance."""


@dataclass(frozen=True, slots=True)
class Task:
    """What every member does.

    Attributes:
        build: Makes an untrained model, drawing from torch's random stream.
        inputs: (n, ...) to train on.
        targets: (n, ...)
        test_inputs: (m, ...)
        test_targets: (m, ...)
        recipe: Epochs and batch size; the rest is the optimizer's.
        optimizer: Makes one for parameters.
        loss: Mean loss of (B, ...) outputs and targets.
        score: The metric of (m, ...) outputs and targets.
    """

    build: Callable[[], nn.Module]
    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    recipe: Recipe
    optimizer: Callable[[Iterable[Tensor]], Optimizer]
    loss: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor, Tensor], float]

    @property
    def steps(self) -> int:
        """Of one training."""
        return self.recipe.epochs * math.ceil(len(self.inputs) / self.recipe.batch_size)


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """All members of one arm.

    Attributes:
        losses: (steps, S)
        outputs: (S, m, ...) on the test inputs, in eval mode.
    """

    losses: Tensor
    outputs: Tensor
    seconds: float


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


def member(task: Task, arm: str, draws: Draws) -> nn.Module:
    """One untrained model, its activations exchanged; the same draws give the same weights under every arm."""
    torch.manual_seed(draws.weights)
    model = task.build()
    if arm not in (BASELINE, PLACEBO):
        swap(model, TREATED, arm)
    return model


def train_together(task: Task, arm: str, draws: Sequence[Draws], *, steps: int | None = None) -> Trained:
    """Train all members as one: stacked parameters, and `vmap` over the model's own forward.

    Raises:
        RuntimeError: The model does what cannot be stacked: it draws random numbers in its forward, or its course
            depends on values.
    """
    began = time.perf_counter()
    models = [member(task, arm, draw) for draw in draws]
    parameters, buffers = stack_module_state(models)
    # Its own weights are not used.
    skeleton = copy.deepcopy(models[0])
    forward = _chain(skeleton, parameters) or _any_model(skeleton, parameters, buffers)
    each_loss = _cross_entropies if task.loss is cross_entropy else vmap(task.loss)
    losses = train(
        forward,
        task.optimizer(parameters.values()),
        task.inputs,
        itertools.islice((chosen for _, chosen in batches(len(task.inputs), task.recipe, draws)), steps),
        lambda predicted, chosen: each_loss(predicted, task.targets[chosen]),
    )
    skeleton.eval()
    return Trained(losses, outputs(forward, task.test_inputs, len(draws)), time.perf_counter() - began)


def _cross_entropies(predicted: Tensor, targets: Tensor) -> Tensor:
    """The (S,) mean losses without vmap, which sorts the dimensions in a way that is slow here."""
    if predicted.dim() != 3 or targets.dim() != 2:
        each: Tensor = vmap(cross_entropy)(predicted, targets)
        return each
    return cross_entropy(predicted.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape).mean(1)


def _chain(model: nn.Module, parameters: dict[str, Tensor]) -> Forward | None:
    """A plain stack of linear layers and elementwise activations needs no vmap, which takes a third of its time.

    Returns:
        The forward of all members, None for any other model.
    """
    if type(model) is not nn.Sequential:
        return None
    layers: list[Callable[[Tensor], Tensor]] = []
    for name, layer in model._modules.items():
        if type(layer) is nn.Linear and f"{name}.weight" in parameters:
            weight, bias = parameters[f"{name}.weight"], parameters.get(f"{name}.bias")
            layers.append(lambda inputs, weight=weight, bias=bias: _affine(inputs, weight, bias))  # type: ignore[misc]
        elif type(layer) in _ELEMENTWISE:
            layers.append(layer)
        else:
            return None

    def forward(inputs: Tensor) -> Tensor:
        for layer in layers:
            inputs = layer(inputs)
        return inputs

    return forward


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


def train_alone(task: Task, arm: str, draws: Sequence[Draws], *, steps: int | None = None) -> Trained:
    """Train the members one after another, as everybody does."""
    began = time.perf_counter()
    losses, predicted = [], []
    for draw in draws:
        model = member(task, arm, draw)
        optimizer = task.optimizer(model.parameters())
        own = []
        shown = (chosen[0] for _, chosen in batches(len(task.inputs), task.recipe, [draw]))
        for chosen in itertools.islice(shown, steps):
            optimizer.zero_grad()
            loss = task.loss(model(task.inputs[chosen]), task.targets[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            own.append(loss.detach())
        losses.append(torch.stack(own))
        model.eval()
        with torch.no_grad():
            predicted.append(model(task.test_inputs))
    return Trained(torch.stack(losses, 1), torch.stack(predicted), time.perf_counter() - began)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def can_be_sent(task: Task) -> bool:
    """Whether other processes can be given a task; one that holds an open file, a lock or a generator cannot."""
    try:
        cloudpickle.dumps(task)
    except Exception:  # Whatever the objects of the user's raise.
        return False
    return True


def train_in_processes(task: Task, arm: str, draws: Sequence[Draws]) -> Trained:
    """Train the members one after another in as many processes as there are cores, with one thread each."""
    began = time.perf_counter()
    jobs = min(cores(), len(draws))
    shares = [draws[first::jobs] for first in range(jobs)]
    # Its own workers, not those that loky keeps and shares: nothing of them is left afterwards.
    with ProcessPoolExecutor(jobs) as pool:
        done = list(pool.map(_share, [task] * jobs, [arm] * jobs, shares))
    place = torch.cat([torch.arange(len(draws))[first::jobs] for first in range(jobs)]).argsort()
    losses, predicted = torch.cat([part.losses for part in done], 1), torch.cat([part.outputs for part in done])
    return Trained(losses[:, place], predicted[place], time.perf_counter() - began)


def _share(task: Task, arm: str, draws: Sequence[Draws]) -> Trained:
    torch.set_num_threads(1)
    return train_alone(task, arm, draws)
