"""What the first layers are given: the numbers that enter a graph without a history of their own.

A model may scale its inputs by itself (`x / 255`, a batch normalisation in front of all): what it was called with says
nothing of them then.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rectifier.hooks.graph.nodes import kind_of, saved
from rectifier.hooks.graph.weights import BATCH_NORMS, CONVOLUTIONS

_DATA = {
    "Addmm": (1, "mat1"), "Mm": (0, "self"), "Linear": (0, "input"), "MkldnnLinear": (0, "input"),
    "MkldnnRnnLayer": (0, "input"), "CudnnRnn": (0, "input"), "NativeLayerNorm": (0, "input"),
    "NativeGroupNorm": (0, "input"), **dict.fromkeys((*CONVOLUTIONS, *BATCH_NORMS), (0, "input")),
}  # fmt: skip
"""Where a layer has its data among its operands, and under which name autograd keeps them."""
_MOVES = {
    "View", "UnsafeView", "ReshapeAlias", "Transpose", "Permute", "Squeeze", "Unsqueeze", "Clone", "Alias", "Add",
}  # fmt: skip
_MOST_ROWS = 256
_MOST_NUMBERS = 1 << 18


def read_first_layers(order: Sequence[Any]) -> Tensor | None:
    """Size of what the first layer with most numbers is given; None where the graph does not keep it.

    Args:
        order: All nodes of a loss's graph, those below first.

    Returns:
        (2,) mean square, and mean square of the distance from the mean of the rows; 1 and 1 where a batch
        normalisation makes them so, in front of the layer or right behind it.
    """
    given: dict[Any, Tensor] = {}
    leads: dict[Any, Any] = {}
    normalised: set[Any] = set()
    for node in order:
        kind = kind_of(node)
        at, name = _DATA.get(kind, (0, ""))
        operands = node.next_functions
        if not operands:
            continue
        below = operands[min(at, len(operands) - 1)][0]
        normalises = kind in BATCH_NORMS and getattr(node, "_saved_training", True)
        if normalises and below in leads:
            normalised.add(leads[below])
        elif kind in _MOVES:
            first = next((leads[one] for one, _ in operands if one in leads), None)
            if first is not None:
                leads[node] = first
        elif name and _is_data(below) and (kept := _kept(node, kind, name)) is not None:
            given[node], leads[node] = kept, node
            if normalises or kind == "NativeGroupNorm":
                normalised.add(node)
    if not given:
        return None
    chosen = max(given, key=lambda node: given[node].numel())
    return _measure(given[chosen], normalised=chosen in normalised)


def _is_data(below: Any) -> bool:
    """Whether an operand is no layer's and no parameter: an input for which a gradient is asked is a leaf, too."""
    return below is None or (hasattr(below, "variable") and not isinstance(below.variable, nn.Parameter))


def _kept(node: Any, kind: str, name: str) -> Tensor | None:
    kept = saved(node, name)
    if kept is None or kept.ndim < 2 or len(kept) < 2 or not kept.is_floating_point():
        return None
    if kind != "NativeLayerNorm":
        return kept
    mean, scale = saved(node, "result1"), saved(node, "result2")
    return None if mean is None or scale is None else (_some(kept) - _some(mean)) * _some(scale)


def _some(rows: Tensor) -> Tensor:
    rows = rows[:: -(-len(rows) // _MOST_ROWS)]
    return rows[: max(2, _MOST_NUMBERS // max(rows[0].numel(), 1))]


def _measure(given: Tensor, *, normalised: bool) -> Tensor:
    # MPS has no float64.
    rows = _some(given).to(torch.float32 if given.device.type == "mps" else torch.float64)
    if normalised:
        return rows.new_ones(2)
    return torch.stack([rows.square().mean(), (rows - rows.mean(0)).square().mean()])
