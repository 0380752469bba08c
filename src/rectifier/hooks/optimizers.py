"""The optimizers of a process, from the moment at which they are made."""

import weakref
from collections.abc import Callable, Iterator

from torch import Tensor
from torch.optim import Optimizer

from rectifier.hooks.patch.attributes import on_construction


class Optimizers:
    """Those that are made from `start` on and still exist."""

    def __init__(self) -> None:
        self._made: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def start(self) -> Callable[[], None]:
        """Begin to note them; returns the undo."""
        return on_construction(Optimizer, self._made.add)

    def __iter__(self) -> Iterator[Optimizer]:
        return iter(tuple(self._made))

    def held(self) -> set[int]:
        """Identities of all tensors that one of them has."""
        return {id(tensor) for optimizer in self for tensor in tensors_of(optimizer)}


def tensors_of(optimizer: Optimizer) -> Iterator[Tensor]:
    """Every tensor of every group."""
    for group in optimizer.param_groups:
        yield from group["params"]
