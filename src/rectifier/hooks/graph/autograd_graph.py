"""Which activations took part in a loss without having been observed, read from its autograd graph.

This is how a report can say what it did not see: a name bound before watching began, a hand-written function, a
compiled region.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from rectifier.hooks.graph.nodes import kind_of, nodes_below, saved
from rectifier.hooks.graph.weights import LAYERS, parameters_of
from rectifier.records import Unseen, WhyUnseen

_MOST_NODES_BETWEEN = 32
_MOST_READ = 1 << 16
_ACTIVATIONS = {
    "Relu": "a ReLU", "LeakyRelu": "a Leaky ReLU", "PreluKernel": "a PReLU", "Elu": "an ELU", "Gelu": "a GELU",
    "Silu": "a SiLU", "Hardtanh": "a Hardtanh or ReLU6", "Threshold": "a threshold", "Mish": "a Mish",
}  # fmt: skip


def unobserved_activations(
    outputs: Iterable[Tensor], observed: Collection[int], repeated: Sequence[range] = (), *, of_loss: bool = True
) -> tuple[Unseen, ...]:
    """What looks like an activation in the graph of some tensors and is not among the `observed` nodes.

    Args:
        outputs: The loss that is about to be back-propagated, or what a forward returned.
        observed: Sequence number of the `grad_fn` of every output that was met, in a model or outside of
            one. Numbers, because a node would keep the tensors of its graph alive.
        repeated: Numbers of nodes that compiled calls made whose forward was counted in a repetition.
        of_loss: Whether the outputs are a loss's. What may be an activation written by hand is the loss's own there,
            unless it feeds a layer.
    """
    found: dict[int, tuple[str, WhyUnseen]] = {}
    outputs = list(outputs)
    for node in nodes_below([output.grad_fn for output in outputs]):
        number = node._sequence_nr()
        if number in observed or any(number in numbers for numbers in repeated):
            continue
        what = _describe(node)
        if what is not None:
            found[number] = what
    by_hand = {number for number, (_, why) in found.items() if why is WhyUnseen.HAND_WRITTEN}
    # Behind the last layer it is the loss's.
    losses = by_hand - feed_layers(outputs, by_hand) if of_loss and by_hand else set[int]()
    counts = Counter(what for number, what in found.items() if number not in losses)
    return tuple(Unseen(what=what, why=why, calls=calls) for (what, why), calls in counts.items())


def feed_layers(outputs: Iterable[Tensor], numbers: Collection[int]) -> set[int]:
    """Which of some nodes, by their sequence numbers, a layer with weights takes its input from, however indirectly."""
    below: dict[Any, frozenset[int]] = {}
    found: set[int] = set()
    # Nodes are numbered as they are made: what a node takes its input from comes before it.
    for node in sorted(nodes_below([output.grad_fn for output in outputs]), key=lambda one: one._sequence_nr()):
        near = frozenset().union(*(below.get(parent, frozenset()) for parent, _ in node.next_functions))
        if near and kind_of(node) in LAYERS and parameters_of(node)[0] is not None:
            found |= near
        number = node._sequence_nr()
        below[node] = near | {number} if number in numbers else near
    return found


def between(node: Any, edge: tuple[Any, int]) -> tuple[list[tuple[Any, int]], list[int]]:
    """How an activation hangs in a graph, however it is written.

    Args:
        node: The `grad_fn` of its output.
        edge: Where its input comes from: a node, and which of its outputs.

    Returns:
        Each place where the input enters, as a node and which of its inputs (none where that was not found); and the
        numbers of all nodes in between.
    """
    entries, numbers, pending, met = [], [], [node], {node}
    while pending:
        one = pending.pop()
        numbers.append(one._sequence_nr())
        for number, parent in enumerate(one.next_functions):
            if parent == edge:
                entries.append((one, number))
            elif parent[0] is not None and parent[0] not in met and len(met) < _MOST_NODES_BETWEEN:
                met.add(parent[0])
                pending.append(parent[0])
    return entries, numbers if entries else numbers[:1]


def _describe(node: Any) -> tuple[str, WhyUnseen] | None:
    name = str(node.name()).rpartition("::")[2]
    kind, _, rest = name.partition("Backward")
    if "Backward" in rest:
        # Of a gradient that is differentiated itself (gradient penalties): no call of an activation made it.
        return None
    if kind in _ACTIVATIONS:
        return _ACTIVATIONS[kind], WhyUnseen.BOUND_EARLY
    by_hand = _written_by_hand(node, kind)
    if by_hand is not None and not _is_of_a_gradient(node):
        return by_hand, WhyUnseen.HAND_WRITTEN
    if kind == "CompiledFunction":
        # Whatever would be put into a compiled graph to observe it can change what the compiler fuses, and with it the
        # bits of the losses: with bfloat16 an intermediate value that was kept in float32 gets rounded.
        return "a compiled region", WhyUnseen.COMPILED
    written_by = getattr(node, "_forward_cls", None)
    if written_by is not None and not written_by.__module__.startswith(("torch.", "rectifier.")):
        return written_by.__qualname__.rpartition(".")[2], WhyUnseen.CUSTOM
    return None


def _written_by_hand(node: Any, kind: str) -> str | None:
    """What an operation is called that may be an activation in other words: `z * (z > 0)`, a maximum with 0."""
    parents = [parent for parent, _ in node.next_functions]
    if kind == "Where":
        return "torch.where"
    # What is compared with a constant; of two that are computed, the larger one is a maxout or a margin.
    if kind == "Maximum" and None in parents and any(parents):
        return "torch.maximum"
    if kind == "Mul" and None in parents and any(parents):
        mask = saved(node, "other") if parents[0] is not None else saved(node, "self")
        return "a product with a mask" if mask is not None and _is_mask(mask, node._input_metadata[0].shape) else None
    if kind in ("Clamp", "ClampMin") and getattr(node, "_saved_min", None) == 0:
        return "torch.clamp(min=0)" if getattr(node, "_saved_max", None) is None else None
    return None


def _is_mask(factor: Tensor, shape: Sequence[int]) -> bool:
    """Whether a factor is a mask of single entries: of booleans, or of zeros and ones that can be read at once."""
    if tuple(factor.shape) != tuple(shape):
        return False
    if factor.dtype is torch.bool:
        return True
    readable = type(factor) is Tensor and factor.device.type == "cpu" and 0 < factor.numel() <= _MOST_READ
    return readable and bool(((factor == 0) | (factor == 1)).all()) and not bool((factor == 1).all())


def _is_of_a_gradient(node: Any) -> bool:
    """Whether something computes a gradient: what it is given comes from a node of one, or goes on into one."""
    pending, met = [node], {node}
    while pending and len(met) < _MOST_NODES_BETWEEN:
        for parent, _ in pending.pop().next_functions:
            if parent is None or parent in met:
                continue
            if "Backward" in str(parent.name()).rpartition("::")[2].partition("Backward")[2]:
                return True
            met.add(parent)
            pending.append(parent)
    return False
