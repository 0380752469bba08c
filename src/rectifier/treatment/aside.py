"""Running the user's model on the side: nothing of it, nor of any random stream, is different afterwards."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rectifier.errors import RectifierError


@dataclass(frozen=True, slots=True)
class Arguments:
    """A batch as a forward was called with it: positional and named arguments together."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def call(model: nn.Module, batch: Any, refused: type[RectifierError]) -> Any:
    """Call the model as its user would.

    Args:
        model: The module.
        batch: One tensor, a tuple or list of arguments, a mapping of named ones, or `Arguments`.
        refused: The error to raise where the model does not take it.
    """
    try:
        if isinstance(batch, Arguments):
            return model(*batch.args, **batch.kwargs)
        if isinstance(batch, Mapping):
            return model(**batch)
        return model(*batch) if isinstance(batch, tuple | list) else model(batch)
    except Exception as error:
        raise refused(
            f"{type(model).__name__} failed on the batch: {type(error).__name__}: {error}. Give what its "
            "forward takes, without the targets: batch=inputs, a tuple of arguments, or a dictionary of "
            "named ones."
        ) from error


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Put back modes and buffers at the end."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, values in buffers:
                module._buffers[name] = buffer
                if not same(buffer, values):
                    buffer.copy_(values)


@contextmanager
def random_kept(seed: int = 0) -> Iterator[None]:
    """Begin every random stream at a seed, and put them back where they were."""
    states: list[tuple[Callable[[Any], Any], Any]] = [
        (torch.set_rng_state, torch.get_rng_state()),
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
    ]
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if cuda:
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        states.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        # torch.manual_seed would also seed devices that are not in use yet.
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed_all(seed)
        if torch.backends.mps.is_available():
            torch.mps.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        # Its kernel calls no activation that could be observed.
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for put, state in states:
            put(state)


def eager(model: nn.Module) -> AbstractContextManager[None]:
    """Compiled parts run as they are written, so that their calls can be seen."""
    compiled = any(module._compiled_call_impl is not None or hasattr(module, "_orig_mod") for module in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


@contextmanager
def in_training(model: nn.Module) -> Iterator[None]:
    """The model as it is in training, whatever mode it is in now; at the end everything is as it was."""
    with kept(model), random_kept(), eager(model):
        if not model.training:
            model.train()
        yield


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested sequences, mappings and records, as forwards take and return them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from tensors_in(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_in(entry)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors_in(getattr(value, name))


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal in every entry, NaN taken as equal to itself."""
    return bool(((one == other) | (one.isnan() & other.isnan())).all())
