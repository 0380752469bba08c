"""Plain trainings of many members at once, for results whose loss or counting is not that of the demonstration."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from rectifier.study.ensemble import Members

_CHUNK = 1_000
"""Samples that go through all members at a time when nothing is learned."""


def train(
    members: Members,
    inputs: Tensor,
    batches: Iterable[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    learning_rate: float,
    on_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Adam on the sum over members of their own losses, so that none feels another.

    Args:
        members: Changed in place.
        inputs: (n, d) all training inputs.
        batches: (S, B) indices of training samples, one tensor a step.
        loss: From (S, B, outputs) and the (S, B) indices to the (S,) mean losses.
        learning_rate: Adam's, with its other defaults.
        on_step: Called with the number of steps done.
    """
    optimizer = torch.optim.Adam(members.parameters, lr=learning_rate, fused=True)
    for step, chosen in enumerate(batches):
        optimizer.zero_grad()
        loss(members.forward(inputs[chosen])[0], chosen).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        on_step(step + 1)


def outputs(members: Members, inputs: Tensor) -> Tensor:
    """(S, n, outputs) of all members on all inputs."""
    size = len(members.weights[0])
    with torch.no_grad():
        parts = [members.forward(part.expand(size, -1, -1))[0] for part in torch.split(inputs, _CHUNK)]
    return torch.cat(parts, 1)
