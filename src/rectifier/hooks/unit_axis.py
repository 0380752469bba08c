"""Which axis of an activation's input holds the units, told from what computed it.

The rule of the definitions is "the last parametrised layer before it". The autograd graph says which one that is in
terms of data flow: a linear layer's units are the last axis, a convolution's or batch norm's are axis 1. Views, sums,
dropout and casts on the way are followed; where they could have moved the axis the answer is "unknown", never a guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from rectifier.records import AxisSource, UnitAxis

_LAST_AXIS = {
    "Addmm",
    "Mm",
    "Linear",
    "MkldnnLinear",
    "NativeLayerNorm",
    "FusedRmsNorm",
    "Embedding",
    "EmbeddingBag",
}
_AXIS_ONE = {
    "Convolution", "ConvolutionOverrideable", "MkldnnConvolution", "SlowConv2D", "NativeBatchNorm", "CudnnBatchNorm",
    "MiopenBatchNorm", "BatchNormWithUpdate", "NativeGroupNorm",
}  # fmt: skip
# Element by element, or over spatial positions only: neither axis moves.
_KEEPS_AXES = {
    "Add", "Sub", "Mul", "Div", "Neg", "NativeDropout", "ToCopy", "Clone", "Alias", "Contiguous", "Relu", "LeakyRelu",
    "Elu", "PreluKernel", "Gelu", "Silu", "Tanh", "Sigmoid", "Hardtanh", "Threshold", "ClampMin", "FeatureDropout",
    "MaxPool2DWithIndices", "MaxPool3DWithIndices", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D",
    "MkldnnAdaptiveAvgPool2D",
    # Rectifier's own backwards.
    "_LeakyReLU", "_ELU", "_PReLU", "_ReLULeaky",
}  # fmt: skip
# What comes out holds the numbers that went in: a bias is still added to them as it was.
_KEEPS_VALUES = {"ToCopy", "Clone", "Alias", "Contiguous", "MaxPool2DWithIndices", "MaxPool3DWithIndices"}
_RESHAPES = {"View", "UnsafeView", "Reshape", "ReshapeAlias"}
_TO_A_WEIGHT = {"T", "ToCopy", "Transpose", "View", "Reshape", "Clone", "Permute", "Unsqueeze", "Expand"}
# Where an operation has its weight (each place that may be one) and its bias among its operands.
_OPERANDS: dict[str, tuple[tuple[int, ...], int | None]] = {
    "Addmm": ((2, 1), 0), "Baddbmm": ((2, 1), 0), "Embedding": ((0,), None), "EmbeddingBag": ((0,), None),
    **dict.fromkeys(
        ("Convolution", "ConvolutionOverrideable", "MkldnnConvolution", "SlowConv2D", "MkldnnLinear", "Linear",
         "NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "BatchNormWithUpdate", "NativeLayerNorm",
         "NativeGroupNorm"),
        ((1,), 2),
    ),
}  # fmt: skip
_MOST_STEPS = 24


@dataclass(frozen=True, slots=True)
class FeedingLayer:
    """Where the units are, and the layer that they are told from.

    Attributes:
        unit_axis: Where they are, or why that is unknown.
        weight: The weight of the layer that decided it, None where it is not a parameter of its own.
        layer_bias: That layer's bias: no gradient of a unit reaches it where none reaches the unit.
        bias: The same, where nothing but it was added to the product with the weight: what moves it moves the unit's
            input by as much.
    """

    unit_axis: UnitAxis
    weight: Tensor | None = None
    layer_bias: Tensor | None = None
    bias: Tensor | None = None

    @property
    def axis(self) -> int | None:
        """1, -1, or None for unknown."""
        return self.unit_axis.axis


def _unknown(ndim: int, source: AxisSource, **details: Any) -> FeedingLayer:
    return FeedingLayer(UnitAxis(axis=None, ndim=ndim, source=source, **details))


def _told_by(node: Any, kind: str, axis: int, ndim: int) -> FeedingLayer:
    weight, bias = parameters_of(node)
    return FeedingLayer(UnitAxis(axis=axis, ndim=ndim, source=AxisSource.LAYER, operation=kind), weight, bias, bias)


def kind_of(node: Any) -> str:
    """The operation of a node, as autograd names it without what it adds: `Addmm`."""
    return str(node.name()).rpartition("::")[2].partition("Backward")[0]


def parameters_of(node: Any) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias that enter this node directly, through a transposition or a cast.

    By their place among its operands: an input for which a gradient is asked (gradient penalties, physics-informed
    networks) is a leaf as well, and no weight.
    """
    weight_at, bias_at = _OPERANDS.get(kind_of(node), ((1, 0), None))
    leaves = [_leaf(parent) for parent, _ in node.next_functions]
    found = [leaves[at] for at in weight_at if at < len(leaves) and leaves[at] is not None]
    # Of two leaves that are multiplied, whichever was made to be a parameter.
    weight = next((leaf for leaf in found if isinstance(leaf, nn.Parameter)), next(iter(found), None))
    bias = leaves[bias_at] if bias_at is not None and bias_at < len(leaves) else None
    return weight, bias if bias is not None and bias.ndim == 1 else None


def _leaf(parent: Any) -> Tensor | None:
    for _ in range(4):
        if parent is None:
            return None
        variable: Tensor | None = getattr(parent, "variable", None)
        if variable is not None:
            return variable
        if kind_of(parent) not in _TO_A_WEIGHT:
            return None
        parent = parent.next_functions[0][0]
    return None


def find_unit_axis(tensor: Tensor) -> FeedingLayer:
    """The unit axis of an activation's input; read it before the call, which may be in place."""
    if tensor.ndim == 0:
        return _unknown(0, AxisSource.NO_AXES)
    return _follow(tensor.grad_fn, tuple(tensor.shape), _MOST_STEPS)


def _follow(node: Any, shape: Sequence[int], steps: int) -> FeedingLayer:
    """Decide from the graph above a tensor of this shape."""
    ndim = len(shape)
    if node is None:
        return _unknown(ndim, AxisSource.NO_HISTORY)
    kind = kind_of(node)
    if steps == 0:
        return _unknown(ndim, AxisSource.TOO_FAR, operations=_MOST_STEPS)
    if kind in _LAST_AXIS:
        return _told_by(node, kind, -1, ndim)
    if kind in _AXIS_ONE and ndim > 1:
        return _told_by(node, kind, 1, ndim)
    if kind in _RESHAPES:
        return _through_reshape(node, kind, shape, steps)
    if kind in _KEEPS_AXES:
        branches = [_follow(parent, shape, steps - 1) for parent, _ in node.next_functions if parent is not None]
        found = _agreement(branches, ndim)
        return found if kind in _KEEPS_VALUES else replace(found, bias=None)
    if kind == "torch" or hasattr(node, "variable"):
        return _unknown(ndim, AxisSource.LEAF)
    return _unknown(ndim, AxisSource.OPERATION, operation=kind)


def _through_reshape(node: Any, kind: str, shape: Sequence[int], steps: int) -> FeedingLayer:
    saved = getattr(node, "_saved_self_sym_sizes", None) or getattr(node, "_saved_self_sizes", None)
    if saved is None and kind == "UnsafeView":
        # An unsafe view records no sizes; torch makes it only to undo the flattening of a linear layer's input.
        below = _follow(node.next_functions[0][0], shape, steps - 1)
        return below if below.axis == -1 else _unknown(len(shape), AxisSource.VIEW)
    if saved is None:
        return _unknown(len(shape), AxisSource.VIEW)
    old = tuple(int(size) for size in saved)
    below = _follow(node.next_functions[0][0], old, steps - 1)
    same_last = below.axis == -1 and old[-1] == shape[-1]
    same_first = below.axis == 1 and len(shape) > 1 and old[:2] == tuple(shape[:2])
    if same_last or same_first or below.axis is None:
        return replace(below, unit_axis=replace(below.unit_axis, ndim=len(shape)))
    return _unknown(len(shape), AxisSource.MIXING_VIEW, shapes=(old, tuple(shape)))


def _agreement(answers: list[FeedingLayer], ndim: int) -> FeedingLayer:
    """One axis from all branches of a sum; branches that could not tell have no vote."""
    known = [answer for answer in answers if answer.axis is not None]
    if not known:
        return answers[0] if answers else _unknown(ndim, AxisSource.LEAF)
    # On a matrix both rules name the same axis.
    if len({answer.axis for answer in known}) > 1 and ndim != 2:
        return _unknown(ndim, AxisSource.BRANCHES)
    return known[0]
