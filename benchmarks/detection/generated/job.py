"""A training before it starts: all that a fault may change, and the loop that runs it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from generated.tasks import Task

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}

Forward = Callable[[nn.Module, Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Design:
    """What a network and its training are made from; a fault may change it before anything is built.

    Attributes:
        style: How activations are called: as modules in a row, or as functions in the forward.
        norm: Whether layers are normalised.
        last: What a network of its own ends in, if anything.
        bottleneck: Units of one layer in the middle, 0 for as many as the others.
        options: Of the optimizer.
    """

    architecture: str
    data: str
    activation: str
    width: int
    depth: int
    norm: bool
    style: str
    optimizer: str
    lr: float
    batch: int
    steps: int
    seed: int
    bottleneck: int = 0
    last: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Job:
    """A model, its data, its optimizer and how it is trained; a fault may change any of it.

    Attributes:
        forward: How the training calls the model.
        loss: Of the output and the targets, a mean over the batch.
        trained: Parameters that the optimizer is given.
        schedule: Factor of the learning rate by step.
        mode: Whether the model is in training mode.
        shuffled: Whether batches are drawn at random.
        zero_grad: When gradients are cleared: before the backward pass, after it, or never.
        steps_taken: Whether the optimizer is stepped.
        terms: What is added to the loss.
        beside: Optimizers that are made and never stepped.
    """

    model: nn.Module
    task: Task
    inputs: Tensor
    targets: Tensor
    design: Design
    forward: Forward
    loss: Loss
    trained: Callable[[nn.Module], Iterable[Tensor]] = lambda model: model.parameters()
    schedule: Callable[[int], float] | None = None
    clip: float | None = None
    mode: bool = True
    shuffled: bool = True
    zero_grad: str = "before"
    steps_taken: bool = True
    terms: list[Callable[[nn.Module], Tensor]] = field(default_factory=list)
    beside: list[torch.optim.Optimizer] = field(default_factory=list)

    def optimizer(self) -> torch.optim.Optimizer:
        """The one that its design names."""
        return OPTIMIZERS[self.design.optimizer](self.trained(self.model), lr=self.design.lr, **self.design.options)

    def score(self) -> float:
        """On all training data that are finite, in eval mode."""
        self.model.eval()
        usable = torch.ones(len(self.inputs), dtype=torch.bool)
        if self.inputs.is_floating_point():
            usable = self.inputs.flatten(1).isfinite().all(1)
            # Where no sample is finite there is nothing else to score on.
            usable |= ~usable.any()
        with torch.no_grad():
            output = self.forward(self.model, self.inputs[usable])
            finite = all(bool(parameter.isfinite().all()) for parameter in self.model.parameters())
            if not finite or not output.isfinite().all():
                return float("nan")
            return self.task.measure(output.float(), self.targets[usable])


def train(job: Job) -> Iterator[float]:
    """Take one step after the other; yields the loss of each."""
    optimizer = job.optimizer()
    scheduler = job.schedule and torch.optim.lr_scheduler.LambdaLR(optimizer, job.schedule)
    model, batch = job.model, job.design.batch
    order: list[Tensor] = []
    for _ in range(job.design.steps):
        if not order:
            samples = torch.randperm(len(job.inputs)) if job.shuffled else torch.arange(len(job.inputs))
            order = [chosen for chosen in samples.split(batch) if len(chosen) == batch][::-1]
        chosen = order.pop()
        model.train(job.mode)
        if job.zero_grad == "before":
            optimizer.zero_grad()
        loss = job.loss(job.forward(model, job.inputs[chosen]), job.targets[chosen])
        for term in job.terms:
            loss = loss + term(model)
        loss.backward()
        if job.zero_grad == "after":
            optimizer.zero_grad()
        if job.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), job.clip)
        if job.steps_taken:
            optimizer.step()
        if scheduler is not None:
            scheduler.step()
        yield loss.item()
