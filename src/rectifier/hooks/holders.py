"""Which module holds a tensor, found among all modules that are alive.

Only for what no model that is known holds: a layer in a plain list is no part of the module that has the list, and a
model whose `forward` is called by name is never seen to run.
"""

import gc
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

_MOST_ITEMS = 1_000
"""Of a plain container so many entries are looked at."""


@dataclass(frozen=True, slots=True)
class Held:
    """Where a tensor is held.

    Attributes:
        root: The outermost module above it.
        path: From there, as `named_parameters` would write it; `layers[0].weight` through a plain container.
        registered: Whether the way there leads through modules and parameters only.
        module: What holds the tensor itself.
        name: Under which name; None where it is a bare tensor in a container or an attribute.
    """

    root: nn.Module
    path: str
    registered: bool
    module: nn.Module
    name: str | None


def find_holders(tensors: Collection[Tensor]) -> dict[int, Held]:
    """Where each of these tensors is held, by its `id`; those that no module holds are left out."""
    wanted = {id(tensor) for tensor in tensors}
    modules = [one for one in gc.get_objects() if issubclass(type(one), nn.Module)]
    children = {id(child) for module in modules for child in _registered(module).values() if child is not None}
    roots = [module for module in modules if id(module) not in children]
    found: dict[int, Held] = {}
    loose: dict[int, tuple[nn.Module, str]] = {}
    owner: dict[int, tuple[nn.Module, str]] = {}
    for root in roots:
        for path, module in root.named_modules():
            owner.setdefault(id(module), (root, path))
            for name, item in _loose(module):
                loose.setdefault(id(item), (module, name))
    for root in roots:
        for path, module in root.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and id(parameter) in wanted:
                    found.setdefault(id(parameter), _held(root, _join(path, name), module, name, loose, owner))
    for key in wanted - found.keys():
        if key in loose:
            module, name = loose[key]
            root, path = owner.get(id(module), (module, ""))
            found[key] = Held(root, _join(path, name), False, module, None)
    return found


def find_optimizers() -> list[Optimizer]:
    """All optimizers that are alive, those that never stepped too."""
    return [one for one in gc.get_objects() if issubclass(type(one), Optimizer)]


def _held(
    root: nn.Module,
    path: str,
    module: nn.Module,
    name: str,
    loose: Mapping[int, tuple[nn.Module, str]],
    owner: Mapping[int, tuple[nn.Module, str]],
) -> Held:
    """Through the plain container that holds the root, where there is one."""
    if id(root) not in loose:
        return Held(root, path, True, module, name)
    above, place = loose[id(root)]
    # Modules that hold each other in a circle have no outermost one.
    outer, outer_path = owner.get(id(above), (above, ""))
    return Held(outer, _join(_join(outer_path, place), path), False, module, name)


def _registered(module: nn.Module) -> Mapping[str, nn.Module | None]:
    # A module whose `__init__` has not run yet has none.
    return module.__dict__.get("_modules") or {}


def _loose(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Modules and tensors that a module has without having registered them, with how one would write the place."""
    for name, value in list(module.__dict__.items()):
        if name in ("_modules", "_parameters", "_buffers"):
            continue
        if issubclass(type(value), nn.Module | Tensor):
            yield name, value
        elif isinstance(value, list | tuple):
            yield from _tellable(((f"{name}[{at}]", item) for at, item in enumerate(value[:_MOST_ITEMS])))
        elif type(value) is dict and len(value) <= _MOST_ITEMS:
            yield from _tellable(((f"{name}[{key!r}]", item) for key, item in value.items() if type(key) in (str, int)))


def _tellable(items: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((place, item) for place, item in items if issubclass(type(item), nn.Module | Tensor))


def _join(above: str, name: str) -> str:
    return f"{above}.{name}" if above and name else above or name
