"""Whether gradients are ever cleared: those of the step before are there, and not 0, whenever a loss comes.

Several losses may come before a step (accumulated gradients, several optimizers): what was cleared before any of them
counts as cleared.
"""

import math
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from rectifier.monitor.training.parameters.measures import largest_of, local_part

_MOST_OPTIMIZERS = 4
_MOST_TENSORS = 2
"""Of each optimizer the smallest ones stand for all: whoever clears gradients clears them of all."""


class CarriedGradients:
    """Looks at a few gradients before each backward pass of a counted step."""

    def __init__(self) -> None:
        self._chosen: weakref.WeakKeyDictionary[Optimizer, list[Tensor]] = weakref.WeakKeyDictionary()
        self._empty: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self._waiting: list[tuple[int, list[int], Tensor | None]] = []
        self._open: dict[int, dict[int, float]] = {}
        self._looks = self._carried = 0

    def note(self, step: int, optimizers: Sequence[weakref.ref[Optimizer]]) -> None:
        """A loss is about to be back-propagated.

        Args:
            step: The training's.
            optimizers: Those that have been met.
        """
        every: list[int] = []
        some: list[Tensor] = []
        there: list[int] = []
        for known in optimizers[:_MOST_OPTIMIZERS]:
            optimizer = known()
            for number, one in enumerate(self._of(optimizer, step) if optimizer is not None else ()):
                key = id(optimizer) * _MOST_TENSORS + number
                every.append(key)
                gradient = local_part(one.grad) if one.grad is not None else None
                if gradient is not None and gradient.numel() and not gradient.is_meta:
                    there.append(key)
                    some.append(gradient)
        if not every:
            return
        self._waiting.append((step, [*there, *(key for key in every if key not in there)], _largest(some)))

    def _of(self, optimizer: Optimizer, step: int) -> list[Tensor]:
        """Its smallest parameters of those that had a gradient when a step's first loss came."""
        if optimizer not in self._chosen:
            held = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
            if not held:
                self._empty[optimizer] = step
            if self._empty.get(optimizer) == step:
                # What later losses of the step find has come meanwhile.
                return []
            self._chosen[optimizer] = sorted(held, key=lambda one: one.numel())[:_MOST_TENSORS]
        return self._chosen[optimizer]

    def read(self) -> tuple[int, int]:
        """Steps that were looked at so far, and those at which a gradient was there before every loss."""
        for step, keys, sizes in self._waiting:
            known = sizes.tolist() if sizes is not None else []
            smallest = self._open.setdefault(step, {})
            for at, key in enumerate(keys):
                size = known[at] if at < len(known) else 0.0
                smallest[key] = min(size, smallest.get(key, size)) if not math.isnan(size) else size
        self._waiting.clear()
        # NaN is not 0.
        looks = {step: any(not size <= 0 for size in smallest.values()) for step, smallest in self._open.items()}
        # More losses of the latest step may come.
        for step in sorted(looks)[:-1]:
            self._looks += 1
            self._carried += looks[step]
            del self._open[step]
        return self._looks, self._carried


def _largest(gradients: Sequence[Tensor]) -> Tensor | None:
    """The largest absolute value of each, without waiting for their device where that is one."""
    if not gradients:
        return None
    sizes = [largest_of([one])[0] for one in gradients]
    together = len({one.device for one in sizes}) == 1
    return torch.stack(sizes if together else [one.cpu() for one in sizes])
