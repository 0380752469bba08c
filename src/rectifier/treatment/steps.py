"""The few ways in which a model is altered, each done on creation and put back by `revert`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from rectifier.hooks import modules
from rectifier.hooks.replace import scoped


@dataclass(eq=False)
class ReplacedChild:
    """Another module stands in a parent's table of children."""

    parent: nn.Module
    name: str
    label: str
    old: nn.Module
    new: nn.Module

    def __post_init__(self) -> None:
        modules.put(self.parent, self.name, self.new)

    def blocked(self) -> str | None:
        """See `Step`."""
        return None if self.parent._modules.get(self.name) is self.new else self.label

    def revert(self) -> None:
        """See `Step`."""
        modules.put(self.parent, self.name, modules.take_after(self.old, self.new))


@dataclass(eq=False)
class ReplacedAttribute:
    """Another value hangs on a module under the same name; a module as value becomes a child."""

    module: nn.Module
    name: str
    label: str
    new: Any

    def __post_init__(self) -> None:
        values = vars(self.module)
        self.old = values[self.name]
        # The order of attributes is part of what repr and pickle show.
        self._order = list(values)
        if isinstance(self.new, nn.Module):
            del values[self.name]
            self.module._modules[self.name] = self.new
        else:
            values[self.name] = self.new

    def blocked(self) -> str | None:
        """See `Step`."""
        held = vars(self.module).get(self.name, self.module._modules.get(self.name))
        return None if held is self.new else self.label

    def revert(self) -> None:
        """See `Step`."""
        values = vars(self.module)
        if isinstance(self.new, nn.Module):
            del self.module._modules[self.name]
            values[self.name] = self.old
            added = [name for name in values if name not in self._order]
            for name in [*self._order, *added]:
                if name in values:
                    values[name] = values.pop(name)
        else:
            values[self.name] = self.old


@dataclass(eq=False)
class ReplacedEntry:
    """Another value stands in a plain list or dictionary that a module holds."""

    container: Any
    key: Any
    label: str
    new: Any

    def __post_init__(self) -> None:
        self.old = self.container[self.key]
        self.container[self.key] = self.new

    def blocked(self) -> str | None:
        """See `Step`."""
        try:
            return None if self.container[self.key] is self.new else self.label
        except (LookupError, TypeError):
            return self.label

    def revert(self) -> None:
        """See `Step`."""
        self.container[self.key] = self.old


@dataclass(eq=False)
class ScopedModule:
    """A module's methods run within a scope."""

    module: nn.Module
    label: str
    scope: scoped.Scope
    methods: frozenset[str]

    def __post_init__(self) -> None:
        scoped.enter(self.module, self.scope, self.methods)

    def blocked(self) -> str | None:
        """See `Step`."""
        return None if scoped.innermost_last(self.module) is self.scope else self.label

    def revert(self) -> None:
        """See `Step`."""
        scoped.leave(self.module, self.scope)


@dataclass(eq=False)
class BecameAnother:
    """A module without a parent took over class and contents of another, because only its user can rebind its name."""

    module: nn.Module
    label: str
    new: nn.Module

    def __post_init__(self) -> None:
        self.old_class, self.old_values = type(self.module), dict(vars(self.module))
        modules.take_after(self.new, self.module)
        self._set(type(self.new), vars(self.new))

    def blocked(self) -> str | None:
        """See `Step`."""
        return None if type(self.module) is type(self.new) else self.label

    def revert(self) -> None:
        """See `Step`."""
        training = self.module.training
        self._set(self.old_class, self.old_values)
        self.module.training = training

    def _set(self, cls: type, values: dict[str, Any]) -> None:
        self.module.__class__ = cls
        held = vars(self.module)
        held.clear()
        held.update(values)


@dataclass(eq=False)
class Withdrawn:
    """Something that a function takes back."""

    take_back: Callable[[], None]

    def blocked(self) -> str | None:
        """See `Step`."""
        return None

    def revert(self) -> None:
        """See `Step`."""
        self.take_back()
