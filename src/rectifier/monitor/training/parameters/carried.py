"""Whether gradients are cleared when they should be: between two steps, and not before the step that uses them.

Several losses may come before a step (accumulated gradients, several optimizers): what was cleared before any of them
counts as cleared. Only an optimizer that steps is asked: one whose training has ended keeps its last gradients.
"""

import math
import weakref
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from rectifier.monitor.training.parameters.measures import largest_of, local_part

_MOST_OPTIMIZERS = 4
_MOST_TENSORS = 2
"""Of each optimizer the smallest ones stand for all: whoever clears gradients clears them of all."""
_MOST_LOSSES = 16
"""Losses before one step, of which more are not looked at."""


_MOST_USED = 8
"""Steps of an optimizer that tell whether the gradients that came are there when it uses them."""


class CarriedGradients:
    """Looks at a few gradients before each backward pass of a counted step."""

    def __init__(self) -> None:
        self._chosen: weakref.WeakKeyDictionary[Optimizer, list[Tensor]] = weakref.WeakKeyDictionary()
        self._open: weakref.WeakKeyDictionary[Optimizer, list[Tensor | None]] = weakref.WeakKeyDictionary()
        self._waiting: list[list[Tensor | None]] = []
        self._looks = self._carried = 0

    def note(self, optimizers: Sequence[weakref.ref[Optimizer]]) -> None:
        """A loss is about to be back-propagated.

        Args:
            optimizers: Those that have been met.
        """
        for known in optimizers[:_MOST_OPTIMIZERS]:
            optimizer = known()
            if optimizer is None:
                continue
            seen = self._open.setdefault(optimizer, [])
            if len(seen) < _MOST_LOSSES:
                seen.append(self._sizes(optimizer, first=not seen))

    def forget(self) -> None:
        """Nothing can be said of the losses since the last steps."""
        self._open.clear()

    def note_step(self, optimizer: Optimizer) -> None:
        """An optimizer has stepped: the losses since its last step were this one's.

        Args:
            optimizer: It.
        """
        losses = self._open.pop(optimizer, [])
        if losses:
            self._waiting.append(losses)

    def _sizes(self, optimizer: Optimizer, *, first: bool) -> Tensor | None:
        """The largest absolute value of each chosen gradient; None where one is missing, and so was cleared."""
        if optimizer not in self._chosen:
            held = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
            if not held or not first:
                # What later losses of a step find has come meanwhile.
                return None
            self._chosen[optimizer] = sorted(held, key=lambda one: one.numel())[:_MOST_TENSORS]
        found = [local_part(one.grad) for one in self._chosen[optimizer] if one.grad is not None]
        some = [one for one in found if one is not None and one.numel() and not one.is_meta]
        if not some or len(some) < len(self._chosen[optimizer]):
            return None
        sizes = [largest_of([one])[0] for one in some]
        together = len({one.device for one in sizes}) == 1
        return torch.stack(sizes if together else [one.cpu() for one in sizes])

    def read(self) -> tuple[int, int]:
        """Steps that were looked at so far, and those before whose every loss a gradient was there."""
        for losses in self._waiting:
            self._looks += 1
            self._carried += all(one is not None and _is_there(one.tolist()) for one in losses)
        self._waiting.clear()
        return self._looks, self._carried


class UsedGradients:
    """Looks at all gradients that an optimizer used, at its first counted steps: they may have been cleared before."""

    def __init__(self) -> None:
        self._largest: defaultdict[int, list[float]] = defaultdict(list)

    def note_step(self, number: int, optimizer: Optimizer) -> None:
        """An optimizer has stepped.

        Args:
            number: Its number.
            optimizer: It.
        """
        known = self._largest[number]
        if len(known) >= _MOST_USED:
            return
        gradients = [one.grad for group in optimizer.param_groups for one in group["params"]]
        local = [local_part(one) for one in gradients if one is not None]
        found = [one for one in local if one is not None and one.numel() and not one.is_meta]
        if found and len({one.device for one in found}) == 1:
            known.append(torch.stack([largest_of([one])[0] for one in found]).max())  # type: ignore[arg-type]

    def read(self) -> Mapping[int, Sequence[float]]:
        """The largest absolute value at each look, by the optimizer's number; this waits for the device."""
        for known in self._largest.values():
            known[:] = map(float, known)
        return self._largest


def _is_there(sizes: list[float]) -> bool:
    # NaN is not 0.
    return all(size > 0 or math.isnan(size) for size in sizes)
