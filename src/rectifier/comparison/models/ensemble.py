"""The trainer of ensembles: many small networks as one, in batched matrix products, or one after another.

Nothing is shared between members: each has its own initial weights, its own order of the data and its own random
streams, and the optimizer acts on every number by itself, so that each member is the run it would have been alone
(within the rounding of float32; tested). Two ensembles with the same draws differ in their activation only.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from rectifier.comparison.models.draws import Draws, Recipe, batches, built
from rectifier.comparison.models.stacked import Forward, stack
from rectifier.comparison.models.threads import Part, Stopped, in_threads, threads_each
from rectifier.comparison.question import BASELINE, PLACEBO, TREATED
from rectifier.records import Failure, FailureKind, FloatArray
from rectifier.treatment import swap

CONSTANT_VARIANCE = 1e-6
"""Outputs that vary between samples by less than this share of their mean square are one constant."""

CHUNK = 1_000
"""Samples that go through all members at a time when nothing is learned."""

MEMBERS_PER_THREAD = 2
"""With one alone, a thread of a small network waits for Python more than it computes."""

TRIED_STEPS = 3
TOLERANCE = 1e-3
"""Largest relative difference of the losses of the first steps between both ways: float32's rounding, summed in another
order, is about a thousandth of this; another algorithm is far above it."""

_IGNORED = -100
"""The target that `cross_entropy` leaves out of the mean."""


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
        seconds: Of everything.
    """

    losses: Tensor
    outputs: Tensor
    seconds: float


def member(task: Task, arm: str, draws: Draws) -> nn.Module:
    """One untrained model, its activations exchanged; the same draws give the same weights under every arm."""
    model = built(task.build, draws)
    if arm not in (BASELINE, PLACEBO):
        swap(model, TREATED, arm)
    return model


def refusal(task: Task, arm: str, draws: Sequence[Draws]) -> str | None:
    """Why the members of an arm cannot be trained as one; None where two of them have the losses that they have alone.

    Args:
        task: What they do.
        arm: Whose activation they have.
        draws: Of the arm's members; two are tried, for a few steps.
    """
    # Only losses are compared here: whole test sets would cost more than the steps.
    short, two = replace(task, test_inputs=task.test_inputs[:1]), draws[:2]
    alone = train_alone(short, arm, two, steps=TRIED_STEPS)
    try:
        stacked = train_together(short, arm, two, steps=TRIED_STEPS)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return f"the model cannot be stacked: {reason[:120]}"
    if torch.allclose(stacked.losses, alone.losses, rtol=TOLERANCE, atol=1e-6, equal_nan=True):
        return None
    return "stacked, the first steps differ from those of a single training"


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
            # A copy: a model whose first layer works in place would change what the next one is asked.
            predicted.append(model(task.test_inputs.clone()))
    return Trained(torch.stack(losses, 1), torch.stack(predicted), time.perf_counter() - began)


def train_together(task: Task, arm: str, draws: Sequence[Draws], *, steps: int | None = None) -> Trained:
    """Train all members as one, or on several threads as one part each: no thread waits for another within a step.

    Raises:
        RuntimeError: The model does what cannot be stacked: it draws random numbers in its forward, or its course
            depends on values; or the optimizer treats parameters by their shape.
    """
    began = time.perf_counter()
    models = [member(task, arm, draw) for draw in draws]
    threads = torch.get_num_threads()
    # Elsewhere than on the processor one queue takes all work, and what is set for a thread (a default device) stays.
    count = min(threads, max(1, len(draws) // MEMBERS_PER_THREAD)) if task.inputs.device.type == "cpu" else 1
    cuts = [len(draws) * number // count for number in range(count + 1)]
    shares = [slice(*ends) for ends in itertools.pairwise(cuts)]
    if count == 1:
        parts = [_train_part(task, models, draws, steps, Event())]
    else:
        with threads_each(threads // count):
            parts = in_threads([partial(_train_part, task, models[own], draws[own], steps) for own in shares])
    losses, found = torch.cat([losses for losses, _ in parts], 1), torch.cat([found for _, found in parts])
    return Trained(losses, found, time.perf_counter() - began)


def train(
    forward: Forward,
    optimizer: Optimizer,
    inputs: Tensor,
    batches: Iterable[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Train on the sum over members of their own losses, so that none feels another.

    Warning:
        The optimizer must treat every number by itself (SGD, Adam and their relatives do; what takes a norm or a line
        search over all of them does not).

    Args:
        forward: Of all members.
        optimizer: Of all that they learn.
        inputs: (n, ...) all training inputs.
        batches: (S, B) indices of training samples, one tensor a step.
        loss: From the outputs and the (S, B) indices to the (S,) mean losses.
        on_step: Called with the number of steps done.

    Returns:
        (steps, S) losses.
    """
    losses = []
    for step, chosen in enumerate(batches):
        optimizer.zero_grad()
        each = loss(forward(inputs[chosen]), chosen)
        each.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(each.detach())
        on_step(step + 1)
    return torch.stack(losses)


def outputs(forward: Forward, inputs: Tensor, members: int) -> Tensor:
    """(S, n, ...) of all members on all inputs."""
    with torch.no_grad():
        parts: Sequence[Tensor] = torch.split(inputs, CHUNK)
        return torch.cat([forward(part.expand(members, *part.shape)) for part in parts], 1)


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


def _train_part(
    task: Task, models: Sequence[nn.Module], draws: Sequence[Draws], steps: int | None, stop: Event
) -> Part:
    stacked = stack(models)
    each_loss = _cross_entropies if task.loss is cross_entropy else vmap(task.loss)
    shown = itertools.islice((chosen for _, chosen in batches(len(task.inputs), task.recipe, draws)), steps)
    optimizer = task.optimizer(stacked.learned)
    _check_grouping(task, optimizer, stacked.learned, list(models[0].parameters()))
    losses = train(
        stacked.forward,
        optimizer,
        task.inputs,
        _until(stop, shown),
        lambda predicted, chosen: each_loss(predicted, task.targets[chosen]),
    )
    if stop.is_set():
        raise Stopped
    stacked.eval()
    return losses, outputs(stacked.forward, task.test_inputs, len(draws))


def _until(stop: Event, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    for chosen in batches:
        if stop.is_set():
            raise Stopped
        yield chosen


def _check_grouping(task: Task, optimizer: Optimizer, stacked: Sequence[Tensor], own: Sequence[Tensor]) -> None:
    """Refuse an optimizer whose groups depend on shapes: no weight decay on what has one dimension, for instance."""
    options = [
        {id(tensor): {**group, "params": None} for group in made.param_groups for tensor in group["params"]}
        for made in (optimizer, task.optimizer(own))
    ]
    if any(options[0].get(id(one)) != options[1].get(id(other)) for one, other in zip(stacked, own, strict=True)):
        raise RuntimeError(
            "the optimizer groups stacked parameters otherwise than those of one model: it looks at their shapes"
        )


def _cross_entropies(predicted: Tensor, targets: Tensor) -> Tensor:
    """The (S,) mean losses without vmap, which sorts the dimensions in a way that is slow here."""
    if predicted.dim() != 3 or targets.dim() != 2:
        each: Tensor = vmap(cross_entropy)(predicted, targets)
        return each
    each = cross_entropy(predicted.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    return each.sum(1) / (targets != _IGNORED).sum(1)
