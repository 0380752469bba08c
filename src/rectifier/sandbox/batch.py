"""A batch, and how a model is given it: one rule wherever a user hands over both.

A batch is what a loader yields, targets and all. The model gets what its forward takes: of a tuple or list as many of
the first entries as the forward requires, mostly one; of a mapping the entries that the forward names; anything else
as the one argument. Where that does not fit, the user says how, with `forward=`.
"""

import copy
import inspect
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rectifier.errors import RectifierError
from rectifier.hooks.modules import unwrapped

Forward = Callable[[nn.Module, Any], Any]
"""How a model is called on a batch, where the rule does not fit: `lambda model, batch: model(batch["x"], 0.5)`."""

_OTHERWISE = "If it is to be called in another way, say how: forward=lambda model, batch: model(...)"


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a forward is called with: positional and named arguments together."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Pass:
    """A batch on its way through a model.

    Attributes:
        model: The user's module.
        batch: As it was handed over, its tensors on the model's device.
        inputs: What of it the model gets; of a batch that goes through the user's own `forward=`, which may do
            anything, what it would get without.

    Args:
        model: Any module.
        batch: As a loader yields it, or the `Arguments` of a call that was seen, which are left as they are.
        forward: How to call the model otherwise.
        refused: The error to raise where the model does not take the batch.
    """

    def __init__(self, model: nn.Module, batch: Any, forward: Forward | None, refused: type[RectifierError]) -> None:
        self.model = model
        self.batch, self._forward, self._refused = batch, forward, refused
        try:
            self.batch = batch if isinstance(batch, Arguments) else _on_device_of(model, batch)
            self.inputs = _arguments(model, self.batch)
        except Exception as error:
            if forward is None:
                raise self._failed(error) from error
            self.inputs = Arguments((self.batch,), {})

    def run(self) -> Any:
        """Call the model; returns what it returns.

        Raises:
            RectifierError: Of the kind that was named: the forward raised. The text says what, and what to write.
        """
        try:
            if self._forward is not None:
                return self._forward(self.model, self.batch)
            return self.model(*self.inputs.args, **self.inputs.kwargs)
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> RectifierError:
        shown = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if isinstance(error, _Unfit):
            shown = str(error)
        return self._refused(
            f"{type(self.model).__name__} could not be run on {describe(self.batch)}: {shown}\n{_OTHERWISE}"
        )


class _Unfit(Exception):
    """The batch has less than the forward requires."""


def _arguments(model: nn.Module, batch: Any) -> Arguments:
    if isinstance(batch, Arguments):
        return batch
    named, required, open_ended = _parameters(model)
    if isinstance(batch, Mapping):
        if set(required) <= batch.keys() and (open_ended or named & batch.keys()):
            return Arguments((), {str(key): value for key, value in batch.items() if open_ended or key in named})
        if len(required) <= 1:
            return Arguments((batch,), {})
        missing = ", ".join(name for name in required if name not in batch)
        raise _Unfit(f"its forward requires {', '.join(required)}, and {missing} is not among these names.")
    if not isinstance(batch, tuple | list) or not batch:
        return Arguments((batch,), {})
    if isinstance(batch[0], Mapping) or (len(required) > 1 and isinstance(batch[0], tuple | list)):
        return _arguments(model, batch[0])
    count = max(1, len(required))
    if len(batch) < count:
        raise _Unfit(f"its forward requires {', '.join(required)}, and the batch has {len(batch)} of these.")
    return Arguments(tuple(batch[:count]), {})


def _parameters(model: nn.Module) -> tuple[set[str], list[str], bool]:
    """Names that a forward takes, those it requires, and whether it takes any other name."""
    try:
        found = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return set(), [], False
    fixed = [p for p in found.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    required = [p.name for p in fixed if p.default is p.empty and p.kind is not p.KEYWORD_ONLY]
    named = {p.name for p in fixed if p.kind is not p.POSITIONAL_ONLY}
    return named, required, any(p.kind is p.VAR_KEYWORD for p in found.values())


def own_module(model: object, refused: type[RectifierError]) -> nn.Module:
    """The module to run: without the wrappers of compilation and parallel training, through which nothing is seen.

    Raises:
        RectifierError: Of the kind that is named: it is no module, or one whose parameters have no shape yet.
    """
    if not isinstance(model, nn.Module):
        raise refused(f"this takes a torch.nn.Module first, and got a {type(model).__name__}.")
    model = unwrapped(model)
    lazy = [name for name, value in model.named_parameters() if nn.parameter.is_lazy(value)]
    if lazy:
        raise refused(
            f"{type(model).__name__} has parameters without a shape ({lazy[0]}). Run it on a batch first: model(batch)."
        )
    return model


def describe(value: Any) -> str:
    """`a batch (float32 7 × 64, int64 7)`, for an error's text."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {' × '.join(map(str, value.shape)) or 'number'}"
    if isinstance(value, Mapping):
        return "a batch of " + ", ".join(f"{key}: {describe(item)}" for key, item in value.items())
    if isinstance(value, tuple | list):
        return f"a batch ({', '.join(describe(item) for item in value)})"
    if isinstance(value, Arguments):
        return describe({**dict(enumerate(value.args)), **value.kwargs})
    return f"a {type(value).__name__}"


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested sequences, mappings and records, as forwards take and return them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from tensors_in(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_in(entry)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors_in(getattr(value, name))


def _on_device_of(model: nn.Module, value: Any) -> Any:
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), None)
    return value if device is None else _moved(value, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        moved = {key: _moved(item, device) for key, item in value.items()}
        if all(moved[key] is item for key, item in value.items()):
            return value
        if not isinstance(value, dict | UserDict):
            # A copy of another kind may share its entries with the user's own.
            return moved
        copied = copy.copy(value)
        for key, item in moved.items():
            copied[key] = item
        return copied
    if isinstance(value, tuple | list):
        items = [_moved(item, device) for item in value]
        if all(one is other for one, other in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
