"""Running somebody's model outside of its training, and leaving everything as it was.

What is put back: each module's mode, buffers (a batch norm's statistics), which parameters ask for gradients, and the
random streams of torch, NumPy, Python and the data loader. `.grad` is never written. What cannot be: a plain
Python attribute that a forward changes, and files that it writes.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rectifier.errors import CannotProbe
from rectifier.monitor.models import is_activation
from rectifier.records import Site
from rectifier.sites import Location, find_unit_axis
from rectifier.sites.modules import unwrapped

Forward = Callable[[nn.Module, Any], Any]


def checked(model: object) -> nn.Module:
    """The module to run: without the wrappers of compilation and parallel training, through which nothing is seen.

    Raises:
        CannotProbe: It is no module, or one whose parameters have no shape yet.
    """
    if not isinstance(model, nn.Module):
        raise CannotProbe(f"this takes a torch.nn.Module first, and got a {type(model).__name__}.")
    model = unwrapped(model)
    lazy = [name for name, value in model.named_parameters() if nn.parameter.is_lazy(value)]
    if lazy:
        raise CannotProbe(
            f"{type(model).__name__} has parameters without a shape ({lazy[0]}). Run it on a batch first: model(batch)."
        )
    return model


def run(model: nn.Module, batch: Any, forward: Forward | None) -> Any:
    """Give a batch to a model as a training loop would.

    Args:
        model: Any module.
        batch: As a loader yields it. Of a tuple or list the first entry is the input, the rest are targets; a mapping
            is passed as keyword arguments; anything else is the one argument. Tensors go to the model's device.
        forward: Does it otherwise: `lambda model, batch: model(batch["x"], batch["mask"])`.

    Raises:
        CannotProbe: The forward raised; the text says what and how to call it otherwise.
    """
    try:
        batch = _to_device(batch, model)
        if forward is not None:
            return forward(model, batch)
        given = first_input(batch)
        return model(**given) if isinstance(given, Mapping) else model(given)
    except Exception as error:
        shown = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise CannotProbe(
            f"{type(model).__name__} could not be run on {describe(batch)}: {shown}\n"
            "If it is to be called in another way, say how: forward=lambda model, batch: model(...)"
        ) from error


def first_input(batch: Any) -> Any:
    """What of a batch is the model's input."""
    return batch[0] if isinstance(batch, tuple | list) and batch else batch


def describe(value: Any) -> str:
    """`a batch (float32 7 × 64, int64 7)`, for an error's text."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {' × '.join(map(str, value.shape)) or 'number'}"
    if isinstance(value, Mapping):
        return "a batch of " + ", ".join(f"{key}: {describe(item)}" for key, item in value.items())
    if isinstance(value, tuple | list):
        return f"a batch ({', '.join(describe(item) for item in value)})"
    return f"a {type(value).__name__}"


def _to_device(value: Any, model: nn.Module) -> Any:
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), None)
    return value if device is None else _moved(value, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(item, device) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(_moved(item, device) for item in value)
    return value


def site_of(model: nn.Module, place: Location, call: int, activation: str, tensor: Tensor) -> tuple[Site, int | None]:
    """An activation call as a site, and its unit axis.

    Args:
        model: Paths are relative to it.
        place: Where the call comes from.
        call: How many of the same owner's came before it in this forward.
        activation: As a user writes it.
        tensor: Its input, before the call.
    """
    found = find_unit_axis(tensor)
    paths = (path for path, module in model.named_modules() if module is place.owner)
    site = Site(
        model=type(model).__name__,
        path=next(paths, type(place.owner).__name__),
        call=call,
        activation=activation,
        kind="module" if is_activation(place.owner) else "function",
        source=place.source,
        units=int(tensor.shape[found.axis]) if found.axis is not None else None,
        unit_axis=found.reason,
        fed_by=next((name for name, weight in model.named_parameters() if weight is found.weight), None),
    )
    return site, found.axis


@contextmanager
def undisturbed(model: nn.Module, *sources: object, training: bool | None) -> Iterator[None]:
    """Within it the model may be run; afterwards it, and every random stream, is as it was.

    Args:
        model: Any module.
        sources: Where data come from: a loader's own generators are put back, too.
        training: The mode of every module within; None leaves each in its own.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    # torch's attention has a path for evaluation that no interception sees.
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with _random_streams(sources):
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for module, _ in modes:
                module.training = module.training if training is None else training
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
            for module, mode in modes:
                module.training = mode
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer
                # Written only if it was: a new version would break a graph that the user still holds. A batch norm
                # writes without one, so the values are what tells.
                if buffer is not None and before is not None and not torch.equal(buffer, before):
                    with torch.no_grad():
                        buffer.copy_(before)


@contextmanager
def gradients_asked(model: nn.Module) -> Iterator[None]:
    """Within it every parameter asks for a gradient: the graph tells where units are, of a frozen network, too."""
    frozen = [p for p in model.parameters() if p.is_leaf and p.is_floating_point() and not p.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


@contextmanager
def _random_streams(sources: tuple[object, ...]) -> Iterator[None]:
    own = [getattr(part, "generator", None) for source in sources for part in (source, *_parts(source))]
    generators = [(generator, generator.get_state()) for generator in own if isinstance(generator, torch.Generator)]
    python, array = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        for generator, state in generators:
            generator.set_state(state)


def _parts(source: object) -> list[object]:
    sampler = getattr(source, "sampler", None)
    return [sampler, getattr(source, "batch_sampler", None), getattr(sampler, "sampler", None)]
