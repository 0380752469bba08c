"""What members of an ensemble draw at random, and in which order they are shown the data."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rectifier.comparison.question import MODEL_BATCH_SIZE, MODEL_EPOCHS


@dataclass(frozen=True, slots=True)
class Draws:
    """The random streams of one member: equal draws, equal initial weights and order of the data."""

    weights: int
    order: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long every member is trained, and on how many samples a step; the rest is the optimizer's."""

    epochs: int = MODEL_EPOCHS
    batch_size: int = MODEL_BATCH_SIZE


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


def built(build: Callable[[], nn.Module], draws: Draws) -> nn.Module:
    """An untrained model with a member's own weights; torch's random stream is afterwards another one."""
    torch.manual_seed(draws.weights)
    return build()


def batches(samples: int, recipe: Recipe, draws: Sequence[Draws]) -> Iterator[tuple[int, Tensor]]:
    """Yield (epoch, (S, B) indices of training samples) per step; each epoch shows every sample once."""
    generators = [torch.Generator().manual_seed(draw.order) for draw in draws]
    for epoch in range(recipe.epochs):
        orders = torch.stack([torch.randperm(samples, generator=generator) for generator in generators])
        for start in range(0, samples, recipe.batch_size):
            yield epoch, orders[:, start : start + recipe.batch_size]
