"""Ways to train the members of one arm: one after another, or in processes; `stacked` trains all of them as one.

They give the same trainings, each member's within the rounding of float32, and differ in their speed only.
"""

import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType

import cloudpickle
import torch
from loky import ProcessPoolExecutor
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.study.ensemble import Draws, Recipe, batches
from rectifier.study.question import BASELINE, PLACEBO, TREATED
from rectifier.treatment import swap


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
        stepping: Seconds of the training steps alone.
    """

    losses: Tensor
    outputs: Tensor
    seconds: float
    stepping: float


def member(task: Task, arm: str, draws: Draws) -> nn.Module:
    """One untrained model, its activations exchanged; the same draws give the same weights under every arm."""
    torch.manual_seed(draws.weights)
    model = task.build()
    if arm not in (BASELINE, PLACEBO):
        swap(model, TREATED, arm)
    return model


def train_alone(task: Task, arm: str, draws: Sequence[Draws], *, steps: int | None = None) -> Trained:
    """Train the members one after another, as everybody does."""
    began, stepping = time.perf_counter(), 0.0
    losses, predicted = [], []
    for draw in draws:
        model = member(task, arm, draw)
        optimizer = task.optimizer(model.parameters())
        own = []
        shown = (chosen[0] for _, chosen in batches(len(task.inputs), task.recipe, [draw]))
        first = time.perf_counter()
        for chosen in itertools.islice(shown, steps):
            optimizer.zero_grad()
            loss = task.loss(model(task.inputs[chosen]), task.targets[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            own.append(loss.detach())
        stepping += time.perf_counter() - first
        losses.append(torch.stack(own))
        model.eval()
        with torch.no_grad():
            # A copy: a model whose first layer works in place would change what the next one is asked.
            predicted.append(model(task.test_inputs.clone()))
    return Trained(torch.stack(losses, 1), torch.stack(predicted), time.perf_counter() - began, stepping)


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


class Processes:
    """As many processes as there are cores, with one thread each, that train members one after another.

    They start when they are first given something, get the task once, and nothing of them is left after the `with`.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(kill_workers=kind is not None)

    def start(self, arm: str, draws: Sequence[Draws]) -> "list[Future[Trained]]":
        """Put the members of an arm into the queue."""
        if self._pool is None:
            # Its own workers, not those that loky keeps and shares.
            self._pool = ProcessPoolExecutor(cores(), initializer=_begin, initargs=(cloudpickle.dumps(self._task),))
        return [self._pool.submit(_train_one, arm, draw) for draw in draws]


def gathered(running: "Sequence[Future[Trained]]") -> Trained:
    """Wait for all members of an arm."""
    done = [each.result() for each in running]
    return Trained(
        torch.cat([one.losses for one in done], 1),
        torch.cat([one.outputs for one in done]),
        sum(one.seconds for one in done),
        sum(one.stepping for one in done),
    )


_task: Task
"""What a worker process was sent when it began."""


def _begin(task: bytes) -> None:
    global _task  # noqa: PLW0603 - a worker has one task all its life
    torch.set_num_threads(1)
    _task = cloudpickle.loads(task)


def _train_one(arm: str, draws: Draws) -> Trained:
    return train_alone(_task, arm, [draws])
