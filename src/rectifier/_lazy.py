"""Names of a room that load on first use, so that a training loads no more than it needs."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module


def on_first_use(
    room: dict[str, object], homes: Mapping[str, str], modules: Collection[str] = ()
) -> Callable[[str], object]:
    """Make the `__getattr__` of a room's module.

    Args:
        room: Its `globals()`; they keep what was loaded. Not looked up by name: a script may have a `rectifier` of its
            own, and ours is then found by no name any more.
        homes: The module of each name.
        modules: Names that are modules of the room themselves.
    """

    def load(name: str) -> object:
        value: object
        if name in homes:
            value = getattr(import_module(homes[name]), name)
        elif name in modules:
            value = import_module(f"{room['__name__']}.{name}")
        else:
            raise AttributeError(f"module {room['__name__']!r} has no attribute {name!r}")
        room[name] = value
        return value

    return load
