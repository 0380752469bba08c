"""Nodes of autograd graphs: what they are called, what is below them, what they keep."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

_MOST_NODES = 20_000


def kind_of(node: Any) -> str:
    """The operation of a node, as autograd names it without what it adds: `Addmm`."""
    return str(node.name()).rpartition("::")[2].partition("Backward")[0]


def nodes_below(start: Iterable[Any]) -> Iterator[Any]:
    """Some nodes and every node below them, each once, at most `_MOST_NODES` of them."""
    pending = list(start)
    met = set(pending)
    while pending and len(met) < _MOST_NODES:
        node = pending.pop()
        if node is None:
            continue
        yield node
        for parent, _ in node.next_functions:
            if parent is not None and parent not in met:
                met.add(parent)
                pending.append(parent)


def saved(node: Any, name: str) -> Tensor | None:
    """What autograd keeps under a name; None where there is nothing, a hook packed it, or it has been overwritten.

    Without its history, which would keep the graph alive.
    """
    raw = getattr(node, f"_raw_saved_{name}", None)
    # Whoever packs what is kept (checkpointing, offloading) would run again for it.
    if raw is None or getattr(raw, "unpack_hook", None) is not None:
        return None
    try:
        kept = getattr(node, f"_saved_{name}")
        # Of a sharded one, to compute anything would be a collective in the user's run.
        return kept.detach() if type(kept) in (Tensor, nn.Parameter) else None
    except RuntimeError:
        # Freed, or changed in place since; or a number (`0 * x`) that a dispatch mode is handed as it is.
        return None
