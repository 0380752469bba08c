"""Names of a package that load on first use, so that a training loads no more than it needs."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module


def on_first_use(
    package: dict[str, object], names: Mapping[str, str], modules: Collection[str] = ()
) -> Callable[[str], object]:
    """Make the `__getattr__` of a package.

    Args:
        package: Its `globals()`; they keep what was loaded. Not looked up by name: a script may have a `rectifier` of
            its own, and ours is then found by no name any more.
        names: Module within the package -> the names that it has, separated by spaces.
        modules: Names that are modules of the package themselves.
    """
    homes = {name: module for module, group in names.items() for name in group.split()}

    def load(name: str) -> object:
        value: object
        if name in homes:
            value = getattr(import_module(f"{package['__name__']}.{homes[name]}"), name)
        elif name in modules:
            value = import_module(f"{package['__name__']}.{name}")
        else:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        package[name] = value
        return value

    return load
