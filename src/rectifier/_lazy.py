"""Names of a package that load on first use, so that a training loads no more than it needs."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module


def on_first_use(
    namespace: dict[str, object], homes: Mapping[str, str], modules: Collection[str] = ()
) -> Callable[[str], object]:
    """Make the `__getattr__` of a package's module.

    Args:
        namespace: Its `globals()`; they keep what was loaded. Not looked up by name: a script may have a `rectifier` of
            its own, and ours is then found by no name any more.
        homes: The module of each name.
        modules: Names that are modules of the package themselves.
    """

    def load(name: str) -> object:
        value: object
        if name in homes:
            value = getattr(import_module(homes[name]), name)
        elif name in modules:
            value = import_module(f"{namespace['__name__']}.{name}")
        else:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        namespace[name] = value
        return value

    return load
