"""The autograd graph below a node."""

from collections.abc import Callable, Iterator
from typing import Any

_MOST_NODES = 20_000


def below(root: Any, belongs: Callable[[Any], bool] = lambda node: True) -> Iterator[Any]:
    """A node and all that its gradient comes to.

    Args:
        root: None for a tensor without a graph.
        belongs: Nodes for which this is False are left out, with what is reached through them alone.
    """
    pending, met = [root], {root}
    while pending and len(met) < _MOST_NODES:
        node = pending.pop()
        if node is None or not belongs(node):
            continue
        yield node
        for parent, _ in node.next_functions:
            if parent is not None and parent not in met:
                met.add(parent)
                pending.append(parent)


def is_weight(node: Any) -> bool:
    """Whether a node of a graph is a leaf of two dimensions and more, transposed or not."""
    if node is None:
        return False
    if node.name().startswith("TBackward") and node.next_functions:
        return is_weight(node.next_functions[0][0])
    variable = getattr(node, "variable", None)
    return variable is not None and variable.ndim > 1
