"""The weight of a layer, found among the operands of a node of the autograd graph, and which part of it is applied."""

from collections import deque
from typing import Any

from torch import Tensor, nn

from rectifier.hooks.graph.nodes import kind_of

LAST_AXIS = {"Linear", "MkldnnLinear", "NativeLayerNorm", "FusedRmsNorm", "Embedding", "EmbeddingBag"}
CONVOLUTIONS = {"Convolution", "ConvolutionOverrideable", "MkldnnConvolution", "SlowConv2D"}
BATCH_NORMS = {"NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "BatchNormWithUpdate"}
# Products of two operands, of which either may be the weight: where these two are.
PRODUCTS = {"Mm": (0, 1), "Bmm": (0, 1), "Mv": (0, 1), "Addmm": (1, 2), "Baddbmm": (1, 2), "SparseAddmm": (1, 2)}
LAYERS = {*LAST_AXIS, *CONVOLUTIONS, *BATCH_NORMS, *PRODUCTS, "NativeGroupNorm"}
_TO_A_WEIGHT = {
    "T", "ToCopy", "Transpose", "View", "Reshape", "ReshapeAlias", "UnsafeView", "Clone", "Permute", "Unsqueeze",
    "Squeeze", "Expand", "Repeat",
}  # fmt: skip
_TO_A_PART = {"Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Index", "IndexSelect"}
# Where an operation has its weight (each place that may be one) and its bias among its operands.
_OPERANDS: dict[str, tuple[tuple[int, ...], int | None]] = {
    "Addmm": ((2, 1), 0), "Baddbmm": ((2, 1), 0), "SparseAddmm": ((2, 1), 0), "Embedding": ((0,), None),
    "EmbeddingBag": ((0,), None),
    **dict.fromkeys(
        (*CONVOLUTIONS, *BATCH_NORMS, "MkldnnLinear", "Linear", "NativeLayerNorm", "NativeGroupNorm"), ((1,), 2)
    ),
}  # fmt: skip
_MOST_NODES_OF_A_WEIGHT = 24
_MOST_STEPS_TO_A_WEIGHT = 8
_MOST_NODES_TO_A_PARAMETER = 2_000

Part = tuple[tuple[str, int], ...]
_PART_KINDS: dict[type, str | None] = {}
"""By class of node: its kind, if it takes a part of a tensor."""


def parameters_of(node: Any) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias that enter this node directly, through a transposition or a cast.

    By their place among its operands: an input for which a gradient is asked (gradient penalties, physics-informed
    networks) is a leaf as well, and no weight.
    """
    weight, bias, _, _ = layer_of(node, kind_of(node))
    return weight, bias


def layer_of(node: Any, kind: str) -> tuple[Tensor | None, Tensor | None, Part, tuple[int, ...]]:
    """Weight, bias, which part of the weight, and the way to it."""
    weight_at, bias_at = _OPERANDS.get(kind, ((1, 0), None))
    operands = node.next_functions
    found = [(at, *leaf_of(*operands[at])) for at in weight_at if at < len(operands)]
    found = [one for one in found if one[1] is not None]
    # Of two leaves that are multiplied, whichever was made to be a parameter.
    chosen = next((one for one in found if isinstance(one[1], nn.Parameter)), next(iter(found), None))
    bias = leaf_of(*operands[bias_at])[0] if bias_at is not None and bias_at < len(operands) else None
    bias = bias if bias is not None and bias.ndim == 1 else None
    return (None, bias, (), ()) if chosen is None else (chosen[1], bias, chosen[2], (chosen[0], *chosen[3]))


def leaf_of(node: Any, number: int) -> tuple[Tensor | None, Part, tuple[int, ...]]:
    """The leaf that an operand is, or a part of, which, and the way from the operand to it."""
    part: list[tuple[str, int]] = []
    for steps in range(_MOST_STEPS_TO_A_WEIGHT):
        if node is None:
            break
        variable: Tensor | None = getattr(node, "variable", None)
        if variable is not None:
            return variable, tuple(part), (0,) * steps
        kind = kind_of(node)
        if kind in _TO_A_PART:
            part.append((kind, _which(node, kind, number)))
        elif kind not in _TO_A_WEIGHT:
            break
        node, number = node.next_functions[0]
    return None, (), ()


def _which(node: Any, kind: str, number: int) -> int:
    """Which part of a tensor an operation takes."""
    if kind == "Select":
        return int(node._saved_index)
    if kind == "Slice":
        return int(node._saved_start)
    # What an index holds would have to be brought from the device.
    return number


def weight_along(tensor: Tensor, route: tuple[int, ...], hops: int) -> tuple[Tensor | None, Part]:
    """The leaf that a route leads to from a tensor, and which part of it is applied; (None, ()) where there is none.

    A tenth of the work of `find_unit_axis`, to tell at every call whether the same weight feeds it.
    """
    node: Any = tensor.grad_fn
    number, part, layer = tensor.output_nr, [], len(route) - hops
    for step, at in enumerate(route):
        operands = () if node is None else node.next_functions
        if at >= len(operands):
            return None, ()
        if step >= layer:
            cls = type(node)
            if cls not in _PART_KINDS:
                kind = kind_of(node)
                _PART_KINDS[cls] = kind if kind in _TO_A_PART else None
            if (takes := _PART_KINDS[cls]) is not None:
                part.append((takes, _which(node, takes, number)))
        node, number = operands[at]
    return getattr(node, "variable", None), tuple(part)


def nearest_parameter(node: Any) -> nn.Parameter | None:
    """The parameter that the fewest operations lie between and what a node gave; of a layer, its own.

    Also where the units are not known: a recurrent layer's, a weight's that is computed from others.
    """
    pending, met = deque([node]), {node}
    while pending and len(met) < _MOST_NODES_TO_A_PARAMETER:
        one = pending.popleft()
        kind = kind_of(one)
        direct = layer_of(one, kind)[:2] if kind in LAYERS else (getattr(one, "variable", None),)
        for leaf in direct:
            if isinstance(leaf, nn.Parameter):
                return leaf
        parents = [parent for parent, _ in one.next_functions if parent is not None]
        if kind in PRODUCTS:
            # A layer computes its weight when it is called, so after its input.
            computed = [parent for parent in parents if not hasattr(parent, "variable")]
            parents = sorted(computed, key=lambda parent: parent._sequence_nr())[-1:]
        fresh = [parent for parent in dict.fromkeys(parents) if parent not in met]
        pending.extend(fresh)
        met.update(fresh)
    return None


def is_made_of_weights(node: Any, *, any_leaf: bool = False) -> bool:
    """Whether an operand is computed from parameters alone (weight norm, a part of a larger weight, pruning).

    Args:
        node: Where it comes from.
        any_leaf: Let leaves count that nobody made to be parameters.
    """
    if node is None:
        return False
    pending, met, leaves = [node], {node}, 0
    while pending:
        one = pending.pop()
        variable = getattr(one, "variable", None)
        if variable is not None:
            if not any_leaf and not isinstance(variable, nn.Parameter):
                return False
            leaves += 1
            continue
        if kind_of(one) in LAYERS or len(met) > _MOST_NODES_OF_A_WEIGHT:
            return False
        for parent, _ in one.next_functions:
            if parent is not None and parent not in met:
                met.add(parent)
                pending.append(parent)
    return leaves > 0
