"""Which activations took part in a loss without having been observed, read from its autograd graph.

This is how a report can say what it did not see: a name bound before watching began, a hand-written function, a
compiled region.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from rectifier.records import Unseen

_MOST_NODES = 20_000
_MOST_NODES_BETWEEN = 32
_ACTIVATIONS = {
    "Relu": "a ReLU", "LeakyRelu": "a Leaky ReLU", "PreluKernel": "a PReLU", "Elu": "an ELU", "Gelu": "a GELU",
    "Silu": "a SiLU", "Hardtanh": "a Hardtanh or ReLU6", "Threshold": "a threshold", "Mish": "a Mish",
}  # fmt: skip
_BOUND_EARLY = "called by a name that was bound before watching began, from TorchScript, or inside of nn.RNN"
# Whatever would be put into a compiled graph to observe it can change what the compiler fuses, and with it the bits of
# the losses: with bfloat16 an intermediate value that was kept in float32 gets rounded.
_COMPILED = (
    "inside torch.compile, where nothing is observed; rectifier run --observe-compiled, or "
    "watch(..., observe_compiled=True), repeats the forward of a compiled module as it is written, and counts there"
)
_HAND_WRITTEN = "may be a hand-written activation; its input cannot be told from a mask's"
_CUSTOM = "a custom autograd.Function; whether it is an activation cannot be told"


def unobserved_activations(
    outputs: Iterable[Tensor], observed: Collection[int], repeated: Sequence[range] = ()
) -> tuple[Unseen, ...]:
    """What looks like an activation in the graph of some tensors and is not among the `observed` nodes.

    Args:
        outputs: The loss that is about to be back-propagated, or what a forward returned.
        observed: Sequence number of the `grad_fn` of every output of this step that was met, in a model or outside of
            one. Numbers, because a node would keep the tensors of its graph alive.
        repeated: Numbers of nodes that compiled calls made whose forward was counted in a repetition.
    """
    counts: dict[tuple[str, str], int] = {}
    for node in _nodes([output.grad_fn for output in outputs]):
        number = node._sequence_nr()
        if number in observed or any(number in numbers for numbers in repeated):
            continue
        what = _describe(node)
        if what is not None:
            counts[what] = counts.get(what, 0) + 1
    return tuple(
        Unseen(what=f"{what} ({n} calls)" if n > 1 else what, reason=reason) for (what, reason), n in counts.items()
    )


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


def _describe(node: Any) -> tuple[str, str] | None:
    name = str(node.name()).rpartition("::")[2]
    kind = name.partition("Backward")[0]
    if kind in _ACTIVATIONS:
        return _ACTIVATIONS[kind], _BOUND_EARLY
    if kind == "Where":
        return "torch.where", _HAND_WRITTEN
    if kind == "CompiledFunction":
        return "a compiled region", _COMPILED
    written_by = getattr(node, "_forward_cls", None)
    if written_by is not None and not written_by.__module__.startswith(("torch.", "rectifier.")):
        return written_by.__qualname__.rpartition(".")[2], _CUSTOM
    return None


def _nodes(start: Sequence[Any]) -> Iterator[Any]:
    """Every node above some, each once, at most `_MOST_NODES` of them."""
    pending, met = list(start), set(start)
    while pending and len(met) < _MOST_NODES:
        node = pending.pop()
        if node is None:
            continue
        yield node
        for parent, _ in node.next_functions:
            if parent is not None and parent not in met:
                met.add(parent)
                pending.append(parent)
