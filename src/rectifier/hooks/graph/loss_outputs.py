"""What the graph of a loss keeps of a model's outputs, of what goes into their layers, and of the targets."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rectifier.hooks.graph.loss_cost import mean_cost
from rectifier.hooks.graph.loss_path import LOSSES, names_along
from rectifier.hooks.graph.nodes import kind_of, saved
from rectifier.hooks.graph.weights import parameters_of

# Of a layer's output so many rows at most are computed again, and of what goes into a convolution so many numbers.
_MOST_ROWS = 256
_MOST_IMAGES = 16
_MOST_INPUTS = 1 << 20
_BOUNDED = {
    "Relu": (0.0, math.inf), "Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softmax": (0.0, 1.0),
    "LogSoftmax": (-math.inf, 0.0),
}  # fmt: skip
"""Activations that keep what they gave, with its bounds."""
_CLAMPS = {"Clamp": ("_saved_min", "_saved_max"), "Hardtanh": ("_saved_min_val", "_saved_max_val")}
"""Operations whose bounds are their arguments."""
_SHARES = {"BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"}
# What leaves each number as it is.
_SAME = _BOUNDED.keys() | {
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Clone", "ToCopy", "Alias",
}  # fmt: skip
_SCALES = {"Mul", "Div", "Add", "Neg", "Pow", "Exp", "Log"}
# What leaves each number where it is, or shrinks them all to one.
_IN_PLACE_OF = LOSSES | _BOUNDED.keys() | _CLAMPS.keys() | {
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Add", "Sub", "Mul", "Div", "Sum", "Mean", "Clone",
    "ToCopy", "Alias", "Neg",
}  # fmt: skip
_REDUCES = {"Mean", "Sum", "Pow", "Mul", "Div", "Add", "View", "Squeeze", "Unsqueeze"}
_BY_CLASS = {"NllLoss", "NllLoss2D"}
_PLAIN = (Tensor, torch.nn.Parameter)


@dataclass(slots=True)
class OutputLayer:
    """A layer behind which only the loss comes.

    Attributes:
        kind: Its operation, as autograd names it.
        weight: What it applies.
        loss: Kinds of the operations between it and the loss, from the loss down, each once.
        values: (rows, units) of its output, or of what an activation made of it; None where it is not kept.
        features: (rows, inputs) of what goes in; None where it is not kept.
        target: As the loss keeps it; None where it does not.
        rebuilt: Whether that was computed from the output, which a loss written by hand keeps its distance from.
        classes: How many classes there are, where the targets are their numbers; else 0.
        bounds: Between which numbers the last activation before the loss keeps the values; None without one.
        aligned: Whether each unit of the output has the targets of its own place.
        linear: Whether all that leads to it is known to be linear, so that no activation can be among it.
        one_element: Whether a normalisation over a single element leads to it.
        flat: Operations that lead to it and have a derivative of 0, as autograd names them: `Sign`.
        cost: What the loss of torch that compares it with the targets costs, a mean over the batch; None for others.
        shares: Whether that is a binary cross-entropy.
    """

    kind: str
    weight: Tensor
    loss: tuple[str, ...]
    values: Tensor | None = None
    features: Tensor | None = None
    target: Tensor | None = None
    rebuilt: bool = False
    classes: int = 0
    bounds: tuple[float, float] | None = None
    aligned: bool = False
    linear: bool = False
    one_element: bool = False
    flat: tuple[str, ...] = ()
    cost: Tensor | None = None
    shares: bool = False


def read_output(node: Any, path: tuple[Any, ...], *, values: bool) -> OutputLayer:
    """Read what a graph keeps of a layer's output.

    Args:
        node: The layer.
        path: The operations between the loss and it, from the loss down.
        values: Whether to look into what is kept, too.
    """
    weight = parameters_of(node)[0]
    assert weight is not None
    kind = kind_of(node)
    output = OutputLayer(kind, weight, tuple(dict.fromkeys(kind_of(one) for one in path)))
    if not values:
        return output
    output.features = _features(node, kind)
    output.values = _computed(node, kind, weight)
    output.loss = names_along(path, node)
    _read_activation(output, node, kind, path)
    _read_squares(output, node, kind, path)
    _read_loss(output, node, kind, path)
    return output


def _read_activation(output: OutputLayer, node: Any, kind: str, path: tuple[Any, ...]) -> None:
    """What an activation made of the output, and between which bounds that lies."""
    for above in reversed(path):
        above_kind = kind_of(above)
        if above_kind in LOSSES or above_kind in ("Sub", "Pow"):
            return
        if above_kind in _SCALES:
            output.bounds = None
        if above_kind in _CLAMPS:
            low, high = (getattr(above, name, None) for name in _CLAMPS[above_kind])
            output.bounds = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
        if above_kind in _BOUNDED:
            output.bounds = _BOUNDED[above_kind]
            if output.values is not None and (kept := saved(above, "result")) is not None:
                output.values = _like(kept, node, kind)


def _read_loss(output: OutputLayer, node: Any, kind: str, path: tuple[Any, ...]) -> None:
    """What one of torch's losses keeps: the targets, and what was predicted."""
    for at, above in enumerate(path):
        above_kind = kind_of(above)
        if above_kind not in LOSSES:
            continue
        below = path[at + 1] if at + 1 < len(path) else node
        predicted, target = saved(above, "self"), saved(above, "target")
        if above.next_functions[0][0] is not below:
            # Called the other way round, as in F.mse_loss(target, prediction): the gradient tells which is which.
            predicted, target = target, predicted
        if target is None:
            return
        output.cost, output.shares = mean_cost(above, above_kind, predicted, target), above_kind in _SHARES
        if above_kind in _BY_CLASS:
            output.target = target
            # (C,), (N, C) or (N, C, positions).
            output.classes = 0 if predicted is None else int(predicted.shape[min(1, predicted.ndim - 1)])
            return
        output.target = _like(target, node, kind)
        output.aligned = all(kind_of(one) in _IN_PLACE_OF for one in path)
        if predicted is not None and output.values is not None:
            same = _like(predicted, node, kind)
            output.values = same if same is not None and same.shape == output.values.shape else output.values
        return


def _read_squares(output: OutputLayer, node: Any, kind: str, path: tuple[Any, ...]) -> None:
    """The targets of squared differences that are written by hand: what the output lacks for the difference to be 0.

    A difference that has more numbers than the output was stretched over all targets.
    """
    kinds = [kind_of(one) for one in path]
    if "Sub" not in kinds or output.values is None:
        return
    at = kinds.index("Sub")
    if "Pow" not in kinds[:at] or set(kinds[:at]) - _REDUCES or set(kinds[at + 1 :]) - _SAME:
        return
    power = path[kinds.index("Pow")]
    difference = saved(power, "self")
    if difference is None or getattr(power, "_saved_exponent", 2) != 2:
        return
    given = saved(node, _input_name(kind))
    size = 0 if given is None else len(given) * (output.weight.numel() // max(output.weight[0].numel(), 1))
    if kind in ("Addmm", "Mm") and size and difference.numel() == size * size and size > 1:
        output.loss = (*output.loss[: output.loss.index("Sub")], "Expand", *output.loss[output.loss.index("Sub") :])
        return
    rows = _like(difference, node, kind)
    if rows is None or rows.shape != output.values.shape:
        return
    below = path[at + 1] if at + 1 < len(path) else node
    first = path[at].next_functions[0][0] is below
    output.target = output.values - rows if first else output.values + rows
    output.aligned = output.rebuilt = True
    output.cost = rows.square().mean()


def _rows(tensor: Tensor) -> Tensor:
    """At most `_MOST_ROWS` of a matrix's rows, equally far apart."""
    return tensor[:: -(-len(tensor) // _MOST_ROWS)] if len(tensor) > _MOST_ROWS else tensor


def _images(tensor: Tensor) -> Tensor:
    each = max(tensor[0].numel(), 1) if len(tensor) else 1
    return tensor[: max(2, min(_MOST_IMAGES, _MOST_INPUTS // each))]


def _input_name(kind: str) -> str:
    return {"Addmm": "mat1", "Mm": "self", "Mv": "self", "Linear": "input"}.get(kind, "input")


def _features(node: Any, kind: str) -> Tensor | None:
    given = saved(node, _input_name(kind))
    if given is None or given.ndim < 2 or not len(given):
        return None
    return (_rows(given) if kind in ("Addmm", "Mm", "Mv") else _images(given).flatten(1)).float()


def _computed(node: Any, kind: str, weight: Tensor) -> Tensor | None:
    """The layer's output once more, of some rows."""
    compute = {"Addmm": _matrix, "Mm": _matrix, "Mv": _vector, "Convolution": _convolution}.get(kind)
    try:
        return None if compute is None or type(weight) not in _PLAIN else compute(node, kind, weight.detach())
    except RuntimeError:
        # An operand was changed in place, or holds no memory at the moment.
        return None


def _matrix(node: Any, kind: str, weight: Tensor) -> Tensor | None:
    given, other = saved(node, _input_name(kind)), saved(node, "mat2")
    if given is None or not len(given):
        return None
    if other is None:
        other = weight.t() if weight.ndim == 2 and weight.shape[1] == given.shape[1] else weight
    values = _rows(given).float() @ other.float()
    bias = parameters_of(node)[1] if kind == "Addmm" else None
    if bias is not None and bias.shape == values.shape[1:]:
        values = values + bias.detach().float()
    return values


def _vector(node: Any, kind: str, weight: Tensor) -> Tensor | None:
    given = saved(node, "self")
    return None if given is None or not len(given) else (_rows(given).float() @ weight.float()).unsqueeze(1)


def _convolution(node: Any, kind: str, weight: Tensor) -> Tensor | None:
    given = saved(node, "input")
    if given is None or not len(given):
        return None
    bias = parameters_of(node)[1]
    values = torch.convolution(
        _images(given).float(), weight.float(), None if bias is None else bias.detach().float(), node._saved_stride,
        node._saved_padding, node._saved_dilation, node._saved_transposed, node._saved_output_padding,
        node._saved_groups,
    )  # fmt: skip
    return values.flatten(1)


def _like(tensor: Tensor, node: Any, kind: str) -> Tensor | None:
    """Rows of something above a layer that has one number for each of the layer's, in the layer's own order."""
    given = saved(node, _input_name(kind))
    if given is None or given.ndim < 2 or not len(given) or not tensor.numel():
        return None
    if kind in ("Addmm", "Mm", "Mv"):
        if tensor.numel() % len(given):
            return None
        rows: Callable[[Tensor], Tensor] = _rows
        return rows(tensor.detach().reshape(len(given), -1)).float()
    if not tensor.ndim or len(tensor) != len(given):
        return None
    return tensor.detach()[: len(_images(given))].flatten(1).float()
