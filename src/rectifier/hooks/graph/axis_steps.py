"""How single operations move the axis that holds units, by what autograd recorded of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rectifier.hooks.graph.places import Place, Shape, aligned, reshaped

Move = Callable[[Any, Place, Shape, Shape, int], Place | None]
"""Given a node, the place in one operand, its shape, that of the output, and which operand: the place in the output."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation.

    Attributes:
        move: How it moves units.
        over: Which operands are followed; None for all.
        reshapes: Whether it is a view of another shape.
        keeps_values: Whether what comes out holds the numbers that went in.
        folded: Whether units that views have folded with other axes can pass.
    """

    move: Move
    over: tuple[int, ...] | None = (0,)
    reshapes: bool = False
    keeps_values: bool = True
    folded: bool = False

    def operands(self, node: Any) -> tuple[int, ...]:
        """The operands that are followed."""
        count = len(node.next_functions)
        return tuple(range(count)) if self.over is None else tuple(at for at in self.over if at < count)

    def moved(self, node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
        """The place in the output; None where it cannot be told."""
        if place.axis is None and not self.folded:
            return None
        return self.move(node, place, below, above, operand)


def _dim(value: int, ndim: int) -> int:
    """A dimension as autograd keeps it; a negative one is kept as a large number."""
    return (value - (1 << 64) if value >= 1 << 63 else value) % max(ndim, 1)


def _dims(values: Any, ndim: int) -> set[int]:
    values = (values,) if isinstance(values, int) else values or ()
    return {_dim(int(value), ndim) for value in values}


def _axis(place: Place) -> int:
    assert place.axis is not None
    return place.axis


def _same(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    """The axis stays, of whatever length it is afterwards."""
    return Place.at(_axis(place), above) if len(below) == len(above) else None


def _same_units(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    """The axis stays, and so does its length."""
    axis = _axis(place)
    return Place.at(axis, above) if len(below) == len(above) and above[axis] == place.units else None


def _along(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    """Works along one axis, and must leave units alone."""
    along = _dim(int(node._saved_dim), len(above))
    return None if along == _axis(place) else _same_units(node, place, below, above, operand)


def _view(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    if any(size < 1 for size in below) or any(size < 1 for size in above):
        return None
    return reshaped(place, below, above)


def _without(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    """Takes one entry of an axis."""
    taken, axis = _dim(int(node._saved_dim), len(below)), _axis(place)
    return None if taken == axis else Place.at(axis - (taken < axis), above)


def _squeeze(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    dims = getattr(node, "_saved_dim", None)
    candidates = set(range(len(below))) if dims is None else _dims(dims, len(below))
    gone = {axis for axis in candidates if below[axis] == 1}
    axis = _axis(place)
    if axis in gone or len(above) != len(below) - len(gone):
        return None
    return Place.at(axis - sum(one < axis for one in gone), above)


def _unsqueeze(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    new, axis = _dim(int(node._saved_dim), len(above)), _axis(place)
    return Place.at(axis + (new <= axis), above)


def _transpose(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    ndim, axis = len(below), _axis(place)
    one, two = _dim(int(node._saved_dim0), ndim), _dim(int(node._saved_dim1), ndim)
    return Place.at({one: two, two: one}.get(axis, axis), above)


def _t(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    return Place.at(len(below) - 1 - _axis(place), above)


def _permute(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    order = [_dim(int(value), len(below)) for value in node._saved_dims]
    return Place.at(order.index(_axis(place)), above)


def _broadcast(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    return aligned(place, below, above)


def _cat(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    axis = _axis(place)
    # Of tensors that are put side by side along the units, each still has its own there.
    return Place.at(axis, above) if len(below) == len(above) else None


def _index(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    """One index of samples: `x[rows]`, `x[mask]`, `x[:, positions]`."""
    indices = node._saved_indices
    used = [(at, index) for at, index in enumerate(indices) if index is not None]
    if len(used) != 1:
        return None
    at, index = used[0]
    # A mask takes as many axes as it has, and leaves one.
    is_mask = str(index.dtype) in ("torch.bool", "torch.uint8")
    taken, left = (index.ndim, 1) if is_mask else (1, index.ndim)
    axis = _axis(place)
    if at <= axis < at + taken:
        return None
    return Place.at(axis if axis < at else axis - taken + left, above)


def _index_put(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    """`x[rows] = values`: rows of both have their units on the last axes."""
    axis = _axis(place)
    if operand == 0:
        return _same_units(node, place, below, above, operand)
    used = [at for at, index in enumerate(node._saved_indices) if index is not None]
    if used != [0] or not 0 < axis == len(below) - 1 or above[-1] != place.units:
        return None
    return Place.at(len(above) - 1, above)


def _reduce(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
    """A mean, sum or maximum over other axes."""
    dims = getattr(node, "_saved_dim", None)
    if dims is None:
        return None
    gone = _dims(dims, len(below)) or set(range(len(below)))
    axis = _axis(place)
    if axis in gone:
        return None
    return Place.at(axis if getattr(node, "_saved_keepdim", False) else axis - sum(one < axis for one in gone), above)


def _spatial(count: int) -> Move:
    """Works on the last axes, and must leave units alone."""

    def move(node: Any, place: Place, below: Shape, above: Shape, operand: int) -> Place | None:
        return None if _axis(place) >= len(below) - count else _same_units(node, place, below, above, operand)

    return move


# Element by element: no axis moves.
ELEMENTWISE = {
    "Add", "Sub", "Rsub", "Mul", "Div", "Neg", "Pow", "Exp", "Log", "Sqrt", "Rsqrt", "Abs", "Square", "Addcmul",
    "Lerp", "NativeDropout", "FeatureDropout", "ToCopy", "Clone", "Alias", "Contiguous", "Relu", "LeakyRelu", "Elu",
    "PreluKernel", "Gelu", "Silu", "Mish", "Tanh", "Sigmoid", "Softplus", "Hardtanh", "Hardswish", "Hardsigmoid",
    "Threshold", "Clamp", "ClampMin", "ClampMax", "MaskedFill", "Where", "Maximum", "Minimum",
    # Rectifier's own backwards.
    "_LeakyReLU", "_ELU", "_PReLU", "_ReLULeaky",
}  # fmt: skip
# What comes out holds the numbers that went in: a bias is still added to them as it was.
KEEPS_VALUES = {"ToCopy", "Clone", "Alias", "Contiguous"}
AXIS_STEPS: dict[str, Step] = {
    **dict.fromkeys(("View", "UnsafeView", "Reshape", "ReshapeAlias"), Step(_view, reshapes=True, folded=True)),
    **dict.fromkeys(("Split", "SplitWithSizes", "Slice"), Step(_same)),
    "Select": Step(_without),
    "Unbind": Step(_without),
    "Squeeze": Step(_squeeze),
    "Unsqueeze": Step(_unsqueeze),
    "Transpose": Step(_transpose),
    "T": Step(_t),
    "Permute": Step(_permute),
    "Expand": Step(_broadcast),
    "Repeat": Step(_broadcast),
    "Cat": Step(_cat, over=None),
    "Stack": Step(_unsqueeze, over=None),
    "Index": Step(_index),
    "IndexSelect": Step(_along),
    "Gather": Step(_along),
    "Scatter": Step(_along, over=(0, 1), keeps_values=False),
    "ScatterAdd": Step(_along, over=(0, 1), keeps_values=False),
    "ScatterReduce": Step(_along, over=(0, 1), keeps_values=False),
    "IndexAdd": Step(_along, over=(0, 1), keeps_values=False),
    "IndexCopy": Step(_along, over=(0, 1), keeps_values=False),
    "IndexPut": Step(_index_put, over=(0, 1), keeps_values=False),
    "Mean": Step(_reduce, keeps_values=False),
    "Sum": Step(_reduce, keeps_values=False),
    "Amax": Step(_reduce),
    "Amin": Step(_reduce),
    "Max": Step(_reduce),
    **dict.fromkeys(("MaxPool2DWithIndices",), Step(_spatial(2))),
    **dict.fromkeys(("MaxPool3DWithIndices",), Step(_spatial(3))),
    **dict.fromkeys(
        ("AvgPool2D", "AdaptiveAvgPool2D", "MkldnnAdaptiveAvgPool2D", "AdaptiveMaxPool2D", "UpsampleNearest2D",
         "UpsampleBilinear2D", "UpsampleBicubic2D", "ReflectionPad2D", "ReplicationPad2D"),
        Step(_spatial(2), keeps_values=False),
    ),
    **dict.fromkeys(
        ("AvgPool3D", "AdaptiveAvgPool3D", "AdaptiveMaxPool3D", "UpsampleNearest3D", "UpsampleTrilinear3D"),
        Step(_spatial(3), keeps_values=False),
    ),
    **dict.fromkeys(
        ("UpsampleNearest1D", "UpsampleLinear1D", "ReflectionPad1D", "ReplicationPad1D"),
        Step(_spatial(1), keeps_values=False),
    ),
    "ConstantPadNd": Step(_same_units, keeps_values=False),
}  # fmt: skip
