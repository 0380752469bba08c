"""Looks at gradients and weights: taken at a step without waiting for the device, read later."""

import math
from dataclasses import dataclass

from torch import Tensor

from rectifier.monitor.training.parameters.measures import (
    Groups,
    bits_of,
    largest_of,
    local_part,
    measured,
    norms_of,
    range_of,
)
from rectifier.monitor.training.parameters.record import ParameterRecord

# Bits are compared before the first step, before step 32, and then each time that the steps have doubled: often enough
# to tell what happened in a short training, and rarely enough to cost nothing in a long one.
_FIRST_COMPARISON = 32


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was taken of the weights at one step, as long as it waits on its device.

    Attributes:
        step: The training's.
        places: Which parameters, by number.
        bits: One number from all bits of each.
        norms: Norm of each.
        ranges: (parameters, 2) the smallest and the largest number of each.
        gradients: Which had a gradient, and its norm; None where that was not looked at.
    """

    step: int
    places: list[int]
    bits: Tensor
    norms: Tensor
    ranges: Tensor
    gradients: tuple[list[int], Tensor | None] | None


class Looks:
    """What was taken of all parameters and is not read yet.

    Args:
        records: Theirs, written to as soon as it is read.
    """

    def __init__(self, records: list[ParameterRecord]) -> None:
        self._records = records
        self._looks: list[tuple[int, list[int], list[int], Tensor | None]] = []
        self._comparisons: list[Comparison] = []
        self._next_comparison = 0

    def take(self, step: int, tensors: list[Tensor | None], scale: Tensor | None) -> None:
        """What gradient came to each; where it is due, the weights' bits.

        Args:
            step: The training's.
            tensors: The parameters; None for one that is gone or that must not be looked at now.
            scale: What a GradScaler has multiplied the loss with.
        """
        none: list[int] = []
        some: Groups = {}
        for at, tensor in enumerate(tensors):
            if tensor is None:
                continue
            # What was frozen since keeps the gradient of an earlier training.
            gradient = local_part(tensor.grad) if tensor.requires_grad and tensor.grad is not None else None
            if gradient is None:
                none.append(at)
            elif gradient.numel():
                some.setdefault((gradient.device, gradient.dtype), []).append((at, gradient))
        found, largest = measured(some, largest_of)
        self._looks.append((step, none, found, largest))
        if step >= self._next_comparison:
            self._next_comparison = max(_FIRST_COMPARISON, 2 * step)
            self._compare(step, tensors, some, scale)

    def compare_at_end(self, step: int) -> None:
        """Take the weights' bits once more, where some steps were taken since the last time."""
        if self._records and step >= _FIRST_COMPARISON and step > self._next_comparison // 2:
            self._compare(step, [record.held() for record in self._records], None, None)

    def _compare(self, step: int, tensors: list[Tensor | None], gradients: Groups | None, scale: Tensor | None) -> None:
        weights: Groups = {}
        for at, tensor in enumerate(tensors):
            local = local_part(tensor.detach()) if tensor is not None else None
            if local is not None and local.numel():
                weights.setdefault((local.device, local.dtype), []).append((at, local))
        places, bits = measured(weights, bits_of)
        _, norms = measured(weights, norms_of)
        _, ranges = measured(weights, range_of)
        having, sizes = measured(gradients or {}, norms_of)
        if sizes is not None and scale is not None:
            sizes = sizes / scale.to(sizes.device)
        looked = None if gradients is None else (having, sizes)
        if bits is not None and norms is not None and ranges is not None:
            self._comparisons.append(Comparison(step, places, bits, norms, ranges, looked))

    def settle(self) -> None:
        """Read what was taken, and write it down; this waits for the device."""
        by_step: dict[int, dict[int, float]] = {}
        for step, none, found, largest in self._looks:
            state = by_step.setdefault(step, {})
            for at in none:
                state.setdefault(at, -1.0)
            for at, size in zip(found, largest.tolist() if largest is not None else (), strict=True):
                # NaN compares false: it stays, and is not 0.
                state[at] = size if not size <= state.get(at, -1.0) else state[at]
        self._looks.clear()
        for step in sorted(by_step):
            for at, size in by_step[step].items():
                self._records[at].note_look(step, size)
        for one in self._comparisons:
            taken = zip(one.places, one.bits.tolist(), one.norms.tolist(), one.ranges.tolist(), strict=True)
            for at, bits, norm, (low, high) in taken:
                self._records[at].note_comparison(one.step, bits, norm, low, high)
            if one.gradients is not None:
                having, sizes = one.gradients
                known = dict(zip(having, sizes.tolist() if sizes is not None else (), strict=True))
                for at in one.places:
                    self._records[at].gradient = known.get(at, math.nan)
        self._comparisons.clear()
