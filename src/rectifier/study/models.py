"""A comparison of networks that are small enough to train many at once: all seeds of an arm as one batched ensemble."""

import copy
import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim import Optimizer

from rectifier.aside import streams_kept
from rectifier.catalogue import CATALOGUE, parse
from rectifier.errors import NothingToCompare
from rectifier.records import Comparison, Trial
from rectifier.study.ensemble import Draws, Recipe, batches, draws_for, failures
from rectifier.study.looks import checked_looks
from rectifier.study.question import BASELINE, PLACEBO, TREATED
from rectifier.study.statistics import compare_trials
from rectifier.study.together import Forward, outputs, train
from rectifier.treatment import swap

Way = Literal["together", "one by one"]

TRIED_STEPS = 3
TOLERANCE = 1e-3
"""Largest relative difference of the losses of the first steps between both ways: float32's rounding, summed in another
order, is about a thousandth of this; another algorithm is far above it."""

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


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of the samples whose largest output is that of their class."""
    return float((predicted.argmax(1) == labels).double().mean())


def activations(arms: Iterable[str]) -> list[str]:
    """Arms in the catalogue's spelling, each once.

    Raises:
        UnknownActivation: A name or parameter is not in the catalogue.
        NothingToCompare: No arm is left beside the models as they are.
    """
    specs = dict.fromkeys(parse(arm).spec for arm in arms)
    specs.pop(TREATED, None)
    if not specs:
        raise NothingToCompare("arms names nothing but relu. Write for example: arms=['leaky_relu:0.1', 'elu']")
    return list(specs)


def _affine(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(S, ..., i) times the (S, o, i) weights of each member, plus its (S, o) biases."""
    rows = inputs.reshape(len(weight), -1, inputs.shape[-1])
    columns = weight.transpose(1, 2)
    product = torch.bmm(rows, columns) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, columns)
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
    each_loss = vmap(task.loss)
    losses = train(
        forward,
        task.optimizer(parameters.values()),
        task.inputs,
        itertools.islice((chosen for _, chosen in batches(len(task.inputs), task.recipe, draws)), steps),
        lambda predicted, chosen: each_loss(predicted, task.targets[chosen]),
    )
    skeleton.eval()
    return Trained(losses, outputs(forward, task.test_inputs, len(draws)), time.perf_counter() - began)


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


def choose(task: Task, arm: str, draws: Sequence[Draws]) -> tuple[Way, str]:
    """Try both ways for a few steps: the faster one, if they agree at all.

    Returns:
        The way, and why in a few words.
    """
    two = draws[:2]
    alone = train_alone(task, arm, two, steps=TRIED_STEPS)
    try:
        check = train_together(task, arm, two, steps=TRIED_STEPS)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        return "one by one", f"the model cannot be stacked: {str(error).splitlines()[0][:120]}"
    if not torch.allclose(check.losses, alone.losses, rtol=TOLERANCE, atol=1e-6, equal_nan=True):
        return "one by one", "stacked, the first steps differ from those of a single training"
    # Again, because the first calls of everything are slow.
    alone = train_alone(task, arm, two, steps=TRIED_STEPS)
    check = train_together(task, arm, draws, steps=TRIED_STEPS)
    gain = alone.seconds / len(two) / (check.seconds / len(draws))
    return ("together" if gain > 1 else "one by one"), f"{gain:.1f} × the speed of one by one over the first steps"


def compare_trained(
    task: Task,
    arms: Sequence[str],
    seeds: int,
    *,
    looks: Sequence[int] | None,
    seed: int,
    metric: str,
    higher_is_better: bool,
    margin: float | None,
    way: Way | None,
    on_arm: Callable[[str], None],
) -> Comparison:
    """Train every arm and weigh them, look after look; the random stream of torch is afterwards as it was.

    Raises:
        NothingToCompare: There is nothing to learn from, or a look at which nothing could be found.
    """
    if not len(task.inputs) or len(task.inputs) != len(task.targets):
        raise NothingToCompare(
            f"there are {len(task.inputs)} inputs and {len(task.targets)} targets to train on: as many of each are "
            "needed, and at least one. data is (inputs, targets, test inputs, test targets), all of them tensors."
        )
    planned = (seeds,) if looks is None else checked_looks(looks, seeds, len(arms))
    began = time.perf_counter()
    trials: list[Trial] = []
    ways: dict[str, tuple[Way, str]] = {}
    undecided, before = list(arms), 0
    for now in planned:
        with streams_kept():
            for arm in (BASELINE, *undecided, PLACEBO):
                draws = draws_for(seed, now, placebo=arm == PLACEBO)[before:]
                if arm not in ways:
                    ways[arm] = (way, "as asked") if way is not None else choose(task, arm, draws)
                trained = (train_together if ways[arm][0] == "together" else train_alone)(task, arm, draws)
                trials += _trials(task, arm, trained, before)
                on_arm(arm)
        comparison = compare_trials(
            trials,
            baseline=BASELINE,
            placebo=PLACEBO,
            arms=arms,
            metric=metric,
            higher_is_better=higher_is_better,
            margin=margin,
            title="Many small networks: does another activation help?",
            seconds=time.perf_counter() - began,
            looks=planned,
            settings={
                "training": f"{task.recipe.epochs} epochs of batches of {task.recipe.batch_size}, {task.steps} steps",
                "failure": "constant output on the test inputs, or a number that is not finite",
                "seed": str(seed),
                **{f"trained, {arm}": f"{chosen} ({why})" for arm, (chosen, why) in ways.items()},
            },
        )
        undecided = [row.arm for row in comparison.arms if row.arm in undecided and row.verdict == "undecided"]
        if not undecided:
            break
        before = now
    return comparison


def _trials(task: Task, arm: str, trained: Trained, first: int) -> list[Trial]:
    history = trained.losses.double().numpy()
    flat = trained.outputs.reshape(*trained.outputs.shape[:2], -1)
    found = []
    for number, failed in enumerate(failures(flat, history)):
        value = float(task.score(trained.outputs[number], task.test_targets))
        found.append(
            Trial(
                arm=arm,
                seed=first + number,
                metric=value if math.isfinite(value) else None,
                failed=failed or (None if math.isfinite(value) else "the metric is not finite"),
                seconds=trained.seconds / trained.losses.shape[1],
                fingerprint=hashlib.sha256(history[:, number].tobytes()).hexdigest(),
            )
        )
    return found
