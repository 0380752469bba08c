"""Names of a room that load on first use, so that a training loads no more than it needs."""

from collections.abc import Callable, Mapping
from importlib import import_module


def on_first_use(room: dict[str, object], homes: Mapping[str, str]) -> Callable[[str], object]:
    """Make the `__getattr__` of a room's module.

    Args:
        room: Its `globals()`; they keep what was loaded. Not looked up by name: a script may have a `rectifier` of its
            own, and ours is then found by no name any more.
        homes: The module of each name.
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {room['__name__']!r} has no attribute {name!r}")
        value = room[name] = getattr(import_module(homes[name]), name)
        return value

    return load
