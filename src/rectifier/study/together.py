"""The training loop of many members at once, whatever computes their outputs."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

CHUNK = 1_000
"""Samples that go through all members at a time when nothing is learned."""

Forward = Callable[[Tensor], Tensor]
"""From (S, B, ...) inputs, each member's own, to the (S, B, ...) outputs."""


def train(
    forward: Forward,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    batches: Iterable[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Train on the sum over members of their own losses, so that none feels another.

    Args:
        forward: Of all members.
        optimizer: Of all that they learn. The trap: it must treat every number by itself (SGD, Adam and their
            relatives do; what takes a norm or a line search over all of them does not).
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
