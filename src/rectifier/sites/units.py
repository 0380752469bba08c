"""Which axis of an activation's input holds the units, told from what computed it.

The rule of the definitions is "the last parametrised layer before it". The autograd graph says which one that is in
terms of data flow: a linear layer's units are the last axis, a convolution's or batch norm's are axis 1. Views, sums,
dropout and casts on the way are followed; where they could have moved the axis the answer is "unknown", never a guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

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
_RESHAPES = {"View", "UnsafeView", "Reshape", "ReshapeAlias"}
_TO_A_WEIGHT = {"T", "ToCopy", "Transpose", "View", "Reshape", "Clone"}
_MOST_STEPS = 24


@dataclass(frozen=True, slots=True)
class UnitAxis:
    """Where the units are.

    Attributes:
        axis: 1, -1, or None for unknown.
        reason: In words: `axis 1 of 4, after Convolution`, or why it is unknown.
        weight: The weight of the layer that decided it, None where it is not a parameter of its own.
        bias: That layer's bias, when nothing but it was added to the product with the weight.
    """

    axis: int | None
    reason: str
    weight: Tensor | None = None
    bias: Tensor | None = None


def _kind(node: Any) -> str:
    return str(node.name()).rpartition("::")[2].partition("Backward")[0]


def _parameters_of(node: Any) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias among the parameters that enter this node directly, through a transposition or a cast."""
    found: list[Tensor] = []
    for parent, _ in node.next_functions:
        for _ in range(4):
            if parent is None:
                break
            variable = getattr(parent, "variable", None)
            if variable is not None:
                found.append(variable)
                break
            if _kind(parent) not in _TO_A_WEIGHT:
                break
            parent = parent.next_functions[0][0]
    # A batch norm's weight is as flat as its bias, and comes before it.
    weight = max(found, key=lambda parameter: parameter.ndim, default=None)
    bias = next((parameter for parameter in found if parameter is not weight and parameter.ndim == 1), None)
    return weight, bias


def find_unit_axis(tensor: Tensor) -> UnitAxis:
    """The unit axis of an activation's input; read it before the call, which may be in place."""
    if tensor.ndim == 0:
        return UnitAxis(None, "unknown: a single number has no units")
    return _follow(tensor.grad_fn, tuple(tensor.shape), _MOST_STEPS)


def _follow(node: Any, shape: Sequence[int], steps: int) -> UnitAxis:
    """Decide from the graph above a tensor of this shape."""
    if node is None:
        return UnitAxis(None, "unknown: its input has no gradient history")
    kind = _kind(node)
    if steps == 0:
        return UnitAxis(None, f"unknown: no layer within {_MOST_STEPS} operations before it")
    if kind in _LAST_AXIS:
        return UnitAxis(-1, f"last of {len(shape)} axes, after {kind}", *_parameters_of(node))
    if kind in _AXIS_ONE and len(shape) > 1:
        return UnitAxis(1, f"axis 1 of {len(shape)}, after {kind}", *_parameters_of(node))
    if kind in _RESHAPES:
        return _through_reshape(node, kind, shape, steps)
    if kind in _KEEPS_AXES:
        return _agreement(
            [_follow(parent, shape, steps - 1) for parent, _ in node.next_functions if parent is not None]
        )
    if kind == "torch" or hasattr(node, "variable"):
        return UnitAxis(None, "unknown: its input is a leaf, not a layer's output")
    return UnitAxis(None, f"unknown: {kind} before it may have moved the axis")


def _through_reshape(node: Any, kind: str, shape: Sequence[int], steps: int) -> UnitAxis:
    saved = getattr(node, "_saved_self_sym_sizes", None) or getattr(node, "_saved_self_sizes", None)
    if saved is None and kind == "UnsafeView":
        # An unsafe view records no sizes; torch makes it only to undo the flattening of a linear layer's input.
        below = _follow(node.next_functions[0][0], shape, steps - 1)
        return below if below.axis == -1 else UnitAxis(None, "unknown: a view before it may have moved the axis")
    if saved is None:
        return UnitAxis(None, "unknown: a view before it may have moved the axis")
    old = tuple(int(size) for size in saved)
    below = _follow(node.next_functions[0][0], old, steps - 1)
    same_last = below.axis == -1 and old[-1] == shape[-1]
    same_first = below.axis == 1 and len(shape) > 1 and old[:2] == tuple(shape[:2])
    if same_last or same_first:
        name = f"last of {len(shape)} axes" if same_last else f"axis 1 of {len(shape)}"
        return UnitAxis(below.axis, f"{name},{below.reason.partition(',')[2]}", below.weight, below.bias)
    if below.axis is None:
        return below
    return UnitAxis(None, f"unknown: a view from {list(old)} to {list(shape)} mixed the units with other axes")


def _agreement(answers: list[UnitAxis]) -> UnitAxis:
    """One axis from all branches of a sum; branches that could not tell have no vote."""
    known = [answer for answer in answers if answer.axis is not None]
    if not known:
        return answers[0] if answers else UnitAxis(None, "unknown: its input is a leaf, not a layer's output")
    # On a matrix both rules name the same axis.
    if len({answer.reason.partition(",")[0] for answer in known}) > 1 and "of 2" not in known[0].reason:
        return UnitAxis(None, "unknown: the branches of a sum disagree about the axis")
    return known[0]
