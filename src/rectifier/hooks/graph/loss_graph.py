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
from rectifier.hooks.graph.loss_path import ACROSS_ROWS, NORMALISATIONS, ONE_ELEMENT, is_over_one_element
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
        applied: Identities of those that a layer applies to what it is given.
        uses: How many operations use each of them: a recurrent layer's weight is used once for each position.
        outputs: Layers that give a model's output.
        feeds: Pairs of sites; the first feeds the second, without another between.
        met: Sites that are in it.
        whole: Whether all of it was read.
        given: What the first layers are given, as `read_first_layers` has it; None where nobody asked.
    """

    leaves: list[Tensor] = field(default_factory=list)
    applied: set[int] = field(default_factory=set)
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
    order, uses, whole = _in_order(loss.grad_fn)
    kinds = _Kinds()
    for node in order:
        # A recurrent layer that is one operation uses its weights once for each position.
        sequence = saved(node, "input") if kinds[node] in _RECURRENT else None
        if sequence is not None:
            uses.update({parent: len(sequence) - 1 for parent, _ in node.next_functions})
    ends = [node for node in order if hasattr(node, "variable")]
    graph = LossGraph(whole=whole, leaves=[node.variable for node in ends], uses=[uses[node] for node in ends])
    constant = {node for node in order if kinds[node] in NORMALISATIONS and is_over_one_element(node)}
    constant |= {node for node in order if kinds[node] in _FLAT}
    _chain(order, sites, graph)
    earliest = _first_uses(order, kinds)
    graph.applied = set(earliest)
    with torch.no_grad():
        if inputs:
            graph.given = read_first_layers(order)
        for node, path in _frontier(loss.grad_fn, earliest, kinds):
            output = read_output(node, path, values=values)
            if any(uses[one] > 1 for one in (node, *path)):
                # Something goes around the operation over one element, or over the rows.
                output.loss = tuple(name for name in output.loss if name not in (ONE_ELEMENT, ACROSS_ROWS))
            gates = any(kinds[one] == "Mul" and _parents(one) > 1 for one in path)
            output.linear = not gates and all(_is_linear(one, kinds) for one in nodes_below([node]))
            found = [kinds[one] for one in nodes_below([node]) if one in constant] if constant else []
            output.one_element = not NORMALISATIONS.isdisjoint(found)
            output.flat = tuple(dict.fromkeys(kind for kind in found if kind in _FLAT))
            graph.outputs.append(output)
    return graph


class _Kinds(dict[Any, str]):
    """What the nodes of one graph are called, each asked once."""

    def __missing__(self, node: Any) -> str:
        self[node] = kind = kind_of(node)
        return kind


def _is_linear(node: Any, kinds: Mapping[Any, str]) -> bool:
    # A product by a constant is, as by a dropout's mask; a mask of the input's own sign is found as a hand-written
    # activation.
    return _parents(node) == 1 if kinds[node] == "Mul" else kinds[node] in _LINEAR


def _parents(node: Any) -> int:
    """How many of the things that it works on were computed: a gate multiplies two."""
    return sum(parent is not None for parent, _ in node.next_functions)


def _in_order(root: Any) -> tuple[list[Any], Counter[Any], bool]:
    """All nodes, those below first; how many operations use what each gives; whether these are all."""
    order: list[Any] = []
    uses: Counter[Any] = Counter()
    if root is None:
        return order, uses, True
    met, stack = {root}, [(root, iter(root.next_functions))]
    while stack:
        node, parents = stack[-1]
        for parent, _ in parents:
            if parent is None:
                continue
            uses[parent] += 1
            if parent not in met:
                if len(met) >= _MOST_NODES:
                    return order, uses, False
                met.add(parent)
                stack.append((parent, iter(parent.next_functions)))
                break
        else:
            order.append(node)
            stack.pop()
    return order, uses, True


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


def _first_uses(order: Iterable[Any], kinds: Mapping[Any, str]) -> dict[int, int]:
    """Identity of each weight that a layer applies, with the number of the first node that does."""
    earliest: dict[int, int] = {}
    for node in order:
        if kinds[node] in _LAYERS and (weight := parameters_of(node)[0]) is not None:
            earliest[id(weight)] = min(earliest.get(id(weight), 1 << 62), node._sequence_nr())
    return earliest


def _frontier(root: Any, earliest: Mapping[int, int], kinds: Mapping[Any, str]) -> list[tuple[Any, tuple[Any, ...]]]:
    """Layers that nothing but the loss lies behind, each with the nodes between the loss and it."""
    found: list[tuple[Any, tuple[Any, ...]]] = []
    before: dict[Any, Any] = {root: None}
    pending = [root] if root is not None else []
    while pending and len(found) < _MOST_OUTPUTS:
        node = pending.pop(0)
        if kinds[node] in _LAYERS and (weight := parameters_of(node)[0]) is not None:
            # A gradient that is itself differentiated applies weights again, later than the forward did.
            if node._sequence_nr() == earliest.get(id(weight)):
                found.append((node, _path(before, node)))
            continue
        for parent, _ in node.next_functions:
            if parent is not None and parent not in before and not hasattr(parent, "variable"):
                before[parent] = node
                pending.append(parent)
    return found


def _path(before: Mapping[Any, Any], node: Any) -> tuple[Any, ...]:
    path, above = [], before[node]
    while above is not None:
        path.append(above)
        above = before[above]
    return tuple(reversed(path))
