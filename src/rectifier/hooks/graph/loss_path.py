"""What the operations between a loss and a layer are called."""

import math
from typing import Any

from rectifier.hooks.graph.nodes import kind_of

LOSSES = {
    "MseLoss", "SmoothL1Loss", "HuberLoss", "NllLoss", "NllLoss2D", "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits", "KlDiv", "SoftMarginLoss", "MultiMarginLoss", "PoissonNllLoss",
}  # fmt: skip
"""Losses of torch that keep both what was predicted and what was wanted."""
_REDUCED_BY_SUM = 2
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div"}
BROADCAST = "Broadcast"
"""Stands in a path for rows that a number of each was stretched over, so that each meets the constants of all."""
NORMALISATIONS = {"NativeLayerNorm", "NativeGroupNorm"}
"""Normalisations over numbers of one sample."""
# What is written by hand may choose along either axis; this loss takes its classes from the second.
_BY_CLASS = {"NllLoss", "NllLoss2D"}
_COMPARE_CLASSES = _BY_CLASS | {"Log", "Add", "Clamp", "ClampMin"}
ACROSS_ROWS = "AcrossRows"
"""Stands in a path behind a softmax over the rows of a batch, where nothing but the choice of classes follows."""
ONE_ELEMENT = "OneElement"
"""Stands in a path behind an operation over a single element, which gives the same whatever it is given."""


def names_along(path: tuple[Any, ...], node: Any) -> tuple[str, ...]:
    """Kinds of the operations on a path, each once.

    A loss that adds its rows up has a `Sum` of its own, an operation that stretches rows over a constant of as many a
    `Broadcast` before it, one over a single element a `OneElement` behind it, a softmax over the batch an `AcrossRows`.
    """
    names: list[str] = []
    for at, one in enumerate(path):
        kind = kind_of(one)
        if kind in _ELEMENTWISE and _stretches(one, path[at + 1] if at + 1 < len(path) else node):
            names += [kind, BROADCAST]
        if kind in LOSSES and getattr(one, "_saved_reduction", 1) == _REDUCED_BY_SUM:
            names.append("Sum")
        names.append(kind)
        if is_over_one_element(one):
            names.append(ONE_ELEMENT)
        elif _runs_across_rows(one) and _compares_classes(names):
            names.append(ACROSS_ROWS)
    return tuple(dict.fromkeys(names))


def _compares_classes(names: list[str]) -> bool:
    """Whether all that follows a softmax, the last of some names, is the choice of a class's share."""
    return _COMPARE_CLASSES.issuperset(names[:-1]) and names[0] in _BY_CLASS


def _runs_across_rows(node: Any) -> bool:
    """Whether a softmax of (rows, classes, ...) runs over the rows; as many of both leave open which is meant."""
    if kind_of(node) not in ("Softmax", "LogSoftmax"):
        return False
    shape = _shape(node)
    first = (0, (1 << 64) - len(shape))
    return len(shape) > 1 and shape[0] != shape[1] and shape[1] > 1 and int(node._saved_dim) in first


def is_over_one_element(node: Any) -> bool:
    """Whether a softmax has one share to give, or a normalisation one number to compare with its own mean.

    Args:
        node: Of a graph.
    """
    kind = kind_of(node)
    if kind == "NativeLayerNorm":
        normalised: tuple[int, ...] = node._saved_normalized_shape
        return math.prod(normalised) == 1
    if kind == "NativeGroupNorm":
        return bool(node._saved_C * node._saved_HxW == node._saved_group)
    if kind in ("Softmax", "LogSoftmax"):
        shape, kept = _shape(node), int(node._saved_dim)
        # Autograd keeps a negative number of a dimension as an unsigned one.
        at = kept if kept < len(shape) else kept - (1 << 64)
        return -len(shape) <= at < len(shape) and shape[at] == 1
    return False


def _stretches(node: Any, below: Any) -> bool:
    """Whether an operation makes N x N numbers of N, beside something that no gradient goes to (targets).

    Whoever compares all rows with each other has given them an axis of their own first, by a view.
    """
    if sum(parent is not None for parent, _ in node.next_functions) != 1 or kind_of(below) in ("Unsqueeze", "View"):
        return False
    made, given = _shape(node), _shape(below)
    if len(made) != 2 or made[0] != made[1] or made[0] < 2:
        return False
    return given in (made[:1], (made[0], 1), (1, made[0]))


def _shape(node: Any) -> tuple[int, ...]:
    """Of what a node of the graph gives; () where it does not say."""
    metadata = getattr(node, "_input_metadata", None)
    return tuple(metadata[0].shape) if metadata else ()
