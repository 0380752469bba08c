"""Where units are in a tensor, and where they are after a view or broadcasting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Shape = Sequence[int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where units are in a tensor.

    Attributes:
        axis: Their axis, counted from 0; None where views have folded it with others.
        units: How many.
        inner: How many entries one unit has in a row, where the tensor is written out row by row.
    """

    axis: int | None
    units: int
    inner: int

    @classmethod
    def at(cls, axis: int, shape: Shape) -> "Place":
        """On an axis of a tensor of this shape."""
        return cls(axis, shape[axis], math.prod(shape[axis + 1 :]))

    def agrees(self, other: "Place") -> bool:
        """Whether two places in tensors of one shape are the same."""
        if self.axis is not None and other.axis is not None:
            return self.axis == other.axis
        return (self.units, self.inner) == (other.units, other.inner)

    def position(self, shape: Shape) -> int | None:
        """The axis in a tensor of this shape; None where there is none of its own."""
        return self.axis if self.axis is not None and self.axis < len(shape) else None


def shape_of(node: Any, number: int) -> tuple[int, ...]:
    """Of one output of a node, as autograd keeps it to check gradients."""
    return tuple(int(size) for size in node._input_metadata[number].shape)


def aligned(place: Place, below: Shape, above: Shape) -> Place | None:
    """The place after broadcasting, which aligns the last axes; None where the units themselves are broadcast."""
    if place.axis is None:
        return place if tuple(below) == tuple(above) else None
    axis = place.axis + len(above) - len(below)
    return Place.at(axis, above) if axis >= 0 and above[axis] == place.units else None


def reshaped(place: Place, below: Shape, above: Shape) -> Place | None:
    """The place after a view: units stay where they are if the tensor is written out row by row."""
    inner = place.inner
    fits = [axis for axis, size in enumerate(above) if size == place.units and math.prod(above[axis + 1 :]) == inner]
    if len(fits) > 1:
        # Axes of one entry: the last stays the last, and the same from the front stays so.
        last = place.axis == len(below) - 1
        fits = [axis for axis in fits if (axis == len(above) - 1 if last else axis == place.axis)]
    if len(fits) == 1:
        return Place.at(fits[0], above)
    return Place(None, place.units, inner)
