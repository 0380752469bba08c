"""A training that no optimizer of torch's steps: its steps are told by weights that change between backward passes.

Keras, fastai and hand-written loops move weights by themselves. Where nothing moves them at all, each backward pass
counts as a step, so that a report can say so.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# As many backward passes without any step may be one step's (accumulated gradients), or an analysis before a training.
PATIENCE = 48
_MOST_TENSORS = 16
_MOST_VALUES = 64


class Taken:
    """A few values of a tensor, as they were.

    Attributes:
        leaf: Weak reference to it.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.leaf = weakref.ref(tensor)
        self._version, self._values = tensor._version, _sample(tensor)

    def has_changed(self) -> bool:
        """Whether anything has written to it since."""
        tensor = self.leaf()
        # What is written through `.data` has a count of changes of its own.
        return tensor is not None and (
            tensor._version != self._version or not torch.equal(_sample(tensor), self._values)
        )


def _sample(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(-1)[:_MOST_VALUES].clone()


class OwnSteps:
    """Stands in for the optimizer of a training that has none of torch's.

    Attributes:
        param_groups: None, whose settings could be read.
        passes_per_step: Backward passes that make one step; None until that is known.
    """

    def __init__(self) -> None:
        self.param_groups: list[dict[str, Any]] = []
        self.passes_per_step: int | None = None
        self._passes = 0
        self._taken: list[Taken] = []

    def note_pass(self, tensors: Sequence[Tensor]) -> bool:
        """A backward pass has ended.

        Args:
            tensors: What is trained.

        Returns:
            Whether a step ends with it, as far as is known by now.
        """
        self._passes += 1
        if self.passes_per_step is None:
            if self._passes < PATIENCE:
                self._take(tensors)
                return False
            self.passes_per_step = 1
        if self._passes < self.passes_per_step:
            return False
        self._passes = 0
        return True

    def look(self) -> bool:
        """Before the next forward or backward: whether the first step is seen to have been taken meanwhile."""
        if self.passes_per_step is not None or not any(one.has_changed() for one in self._taken):
            return False
        self.passes_per_step, self._passes = self._passes, 0
        self._taken.clear()
        return True

    def _take(self, tensors: Sequence[Tensor]) -> None:
        some = tensors[:: -(-len(tensors) // _MOST_TENSORS)] if tensors else []
        self._taken = [Taken(one) for one in some]
