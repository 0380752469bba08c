"""Every random stream that a training may draw from: torch's on each device, NumPy's, Python's, a loader's own."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def streams_kept(*sources: object, seed: int | None = None) -> Iterator[None]:
    """Draw as one likes within; afterwards the process draws as if nothing had been.

    Args:
        sources: Where data come from: the generators of a loader and of its samplers are put back, too.
        seed: Begin every stream of the process there; None goes on from where they are.
    """
    states: list[tuple[Callable[[Any], Any], Any]] = [
        (torch.set_rng_state, torch.get_rng_state()),
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
    ]
    # Asking an unused GPU for its stream would start it.
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if cuda:
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        states.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))
    own = [getattr(part, "generator", None) for source in sources for part in (source, *_samplers(source))]
    states += [
        (generator.set_state, generator.get_state()) for generator in own if isinstance(generator, torch.Generator)
    ]
    try:
        if seed is not None:
            _begin(seed, cuda=cuda)
        yield
    finally:
        for put, state in states:
            put(state)


def _begin(seed: int, *, cuda: bool) -> None:
    # torch.manual_seed would also seed devices that are not in use yet.
    torch.default_generator.manual_seed(seed)
    if cuda:
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def _samplers(source: object) -> list[object]:
    sampler = getattr(source, "sampler", None)
    return [sampler, getattr(source, "batch_sampler", None), getattr(sampler, "sampler", None)]
