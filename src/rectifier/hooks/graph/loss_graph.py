"""What the autograd graph of a loss tells: its leaves, the layers that give a model's output, which site feeds which.

Nothing is hooked for it, so it works however a training is written: with modules, `model.forward(x)`, functional calls
or bare tensors. Only what autograd keeps for the backward pass is read.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rectifier.hooks.graph.first_layers import read_first_layers
from rectifier.hooks.graph.loss_outputs import OutputLayer, read_output
from rectifier.hooks.graph.loss_path import ONE_ELEMENT, is_over_one_element
from rectifier.hooks.graph.nodes import kind_of, nodes_below, saved
from rectifier.hooks.graph.weights import CONVOLUTIONS, PRODUCTS, parameters_of

_MOST_NODES = 20_000
_MOST_OUTPUTS = 8
# Their derivative is 0 wherever they have one.
_FLAT = {"Sign", "Sgn", "Round", "Floor", "Ceil", "Trunc"}
# Positions come first in what these keep.
_RECURRENT = {"MkldnnRnnLayer", "CudnnRnn"}
_LAYERS = {*PRODUCTS, *CONVOLUTIONS, "Linear", "MkldnnLinear"}
# Operations that make a sum of multiples of their inputs, or move numbers.
_LINEAR = {
    *_LAYERS, "AccumulateGrad", "Add", "Sub", "Neg", "Sum", "Mean", "T", "Transpose", "Permute", "View", "UnsafeView",
    "ReshapeAlias", "Expand", "Squeeze", "Unsqueeze", "Select", "Slice", "Narrow", "Split", "SplitWithSizes",
    "UnsafeSplit", "Unbind", "Stack", "Cat", "Clone", "Copy", "ToCopy", "Alias", "Index", "IndexSelect", "Gather",
    "Embedding", "AvgPool1D", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D", "NativeDropout", "NativeBatchNorm",
    "CudnnBatchNorm", "ConstantPadNd", "Flip", "Roll",
}  # fmt: skip


@dataclass(slots=True)
class LossGraph:
    """One loss's graph.

    Attributes:
        leaves: Tensors to which a gradient will come.
        uses: How many operations use each of them: a recurrent layer's weight is used once for each position.
        outputs: Layers that give a model's output.
        feeds: Pairs of sites; the first feeds the second, without another between.
        met: Sites that are in it.
        whole: Whether all of it was read.
        given: What the first layers are given, as `read_first_layers` has it; None where nobody asked.
    """

    leaves: list[Tensor] = field(default_factory=list)
    uses: list[int] = field(default_factory=list)
    outputs: list[OutputLayer] = field(default_factory=list)
    feeds: set[tuple[int, int]] = field(default_factory=set)
    met: set[int] = field(default_factory=set)
    whole: bool = True
    given: Tensor | None = None


def read_loss(loss: Tensor, sites: Mapping[int, int], *, values: bool = True, inputs: bool = False) -> LossGraph:
    """Read the graph of a loss that is about to be back-propagated.

    Args:
        loss: It.
        sites: Sequence number of the `grad_fn` of each site's output -> the site.
        values: Whether to look into what the graph keeps, too.
        inputs: Whether to measure what the first layers are given.
    """
    order, whole = _in_order(loss.grad_fn)
    graph = LossGraph(whole=whole)
    ends = [node for node in order if hasattr(node, "variable")]
    uses = _uses(order)
    graph.leaves, graph.uses = [node.variable for node in ends], [uses[node] for node in ends]
    _chain(order, sites, graph)
    with torch.no_grad():
        if inputs:
            graph.given = read_first_layers(order)
        for node, path in _frontier(loss.grad_fn, order):
            output = read_output(node, path, values=values)
            if ONE_ELEMENT in output.loss and not _is_only_way(node, path, order):
                output.loss = tuple(name for name in output.loss if name != ONE_ELEMENT)
            below = list(nodes_below([node]))
            output.linear = all(_is_linear(one) for one in below) and not any(_multiplies(one) for one in path)
            output.one_element = any(kind_of(one) == "NativeLayerNorm" and is_over_one_element(one) for one in below)
            output.flat = tuple(dict.fromkeys(kind_of(one) for one in below if kind_of(one) in _FLAT))
            graph.outputs.append(output)
    return graph


def _is_linear(node: Any) -> bool:
    if kind_of(node) == "Mul":
        # By a constant, as a dropout's mask is; a mask of the input's own sign is found as a hand-written activation.
        return sum(parent is not None for parent, _ in node.next_functions) == 1
    return kind_of(node) in _LINEAR


def _multiplies(node: Any) -> bool:
    """Whether it multiplies two things that the model computed, as a gate does."""
    return kind_of(node) == "Mul" and sum(parent is not None for parent, _ in node.next_functions) > 1


def _in_order(root: Any) -> tuple[list[Any], bool]:
    """All nodes, those below first, and whether these are all."""
    order: list[Any] = []
    if root is None:
        return order, True
    met, stack = {root}, [(root, iter(root.next_functions))]
    while stack:
        node, parents = stack[-1]
        for parent, _ in parents:
            if parent is not None and parent not in met:
                if len(met) >= _MOST_NODES:
                    return order, False
                met.add(parent)
                stack.append((parent, iter(parent.next_functions)))
                break
        else:
            order.append(node)
            stack.pop()
    return order, True


def _chain(order: Iterable[Any], sites: Mapping[int, int], graph: LossGraph) -> None:
    below: dict[Any, frozenset[int]] = {}
    for node in order:
        reached = [below.get(parent, frozenset()) for parent, _ in node.next_functions]
        near = frozenset().union(*reached) if reached else frozenset()
        site = None if hasattr(node, "variable") else sites.get(node._sequence_nr())
        if site is None:
            below[node] = near
            continue
        graph.met.add(site)
        graph.feeds.update((other, site) for other in near if other != site)
        below[node] = frozenset((site,))


def _frontier(root: Any, order: list[Any]) -> list[tuple[Any, tuple[Any, ...]]]:
    """Layers that nothing but the loss lies behind, each with the nodes between the loss and it."""
    earliest: dict[int, int] = {}
    for node in order:
        if kind_of(node) in _LAYERS and (weight := parameters_of(node)[0]) is not None:
            earliest[id(weight)] = min(earliest.get(id(weight), 1 << 62), node._sequence_nr())
    found: list[tuple[Any, tuple[Any, ...]]] = []
    before: dict[Any, Any] = {root: None}
    pending = [root] if root is not None else []
    while pending and len(found) < _MOST_OUTPUTS:
        node = pending.pop(0)
        if kind_of(node) in _LAYERS and (weight := parameters_of(node)[0]) is not None:
            # A gradient that is itself differentiated applies weights again, later than the forward did.
            if node._sequence_nr() == earliest.get(id(weight)):
                found.append((node, _path(before, node)))
            continue
        for parent, _ in node.next_functions:
            if parent is not None and parent not in before and not hasattr(parent, "variable"):
                before[parent] = node
                pending.append(parent)
    return found


def _uses(order: Iterable[Any]) -> Counter[Any]:
    """How many operations use what each node gives; a recurrent layer that is one operation counts its positions."""
    uses: Counter[Any] = Counter()
    for node in order:
        sequence = saved(node, "input") if kind_of(node) in _RECURRENT else None
        times = 1 if sequence is None else len(sequence)
        for parent, _ in node.next_functions:
            if parent is not None:
                uses[parent] += times
    return uses


def _is_only_way(node: Any, path: tuple[Any, ...], order: Iterable[Any]) -> bool:
    """Whether a layer reaches the loss by one path alone, without a branch around any of its operations."""
    uses = _uses(order)
    return all(uses[one] <= 1 for one in (node, *path))


def _path(before: Mapping[Any, Any], node: Any) -> tuple[Any, ...]:
    path, above = [], before[node]
    while above is not None:
        path.append(above)
        above = before[above]
    return tuple(reversed(path))
