"""The optimizers of a process, from the moment at which they are made."""

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def on_construction(react: Callable[[Optimizer], None]) -> Callable[[], None]:
    """Let `react` see each optimizer once its groups are there; returns the undo."""
    construct = Optimizer.__init__
    active = True

    @functools.wraps(construct)
    def constructing(self: Optimizer, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        if active:
            react(self)

    Optimizer.__init__ = constructing  # type: ignore[method-assign]

    def forget() -> None:
        nonlocal active
        active = False
        if Optimizer.__init__ is constructing:
            Optimizer.__init__ = construct  # type: ignore[method-assign]

    return forget


class Optimizers:
    """Those that are made from `start` on and still exist."""

    def __init__(self) -> None:
        self._made: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def start(self) -> Callable[[], None]:
        """Begin to note them; returns the undo."""
        return on_construction(self._made.add)

    def __iter__(self) -> Iterator[Optimizer]:
        return iter(tuple(self._made))

    def held(self) -> set[int]:
        """Identities of all tensors that one of them has."""
        return {id(tensor) for optimizer in self for tensor in tensors_of(optimizer)}


def tensors_of(optimizer: Optimizer) -> Iterator[Tensor]:
    """Every tensor of every group."""
    for group in optimizer.param_groups:
        yield from group["params"]
