"""Which axis of an activation's input holds the units, told from what computed it.

The rule of the definitions is "the last parametrised layer before it". The autograd graph says which one that is in
terms of data flow: a linear layer's units are the last axis, a convolution's or batch norm's are axis 1. What lies on
the way (views, slices, sums, dropout, casts) is followed by what autograd recorded of it; where it could have moved the
axis in a way that is not recorded, the answer is "unknown", never a guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from rectifier.hooks.graph.axis_steps import AXIS_STEPS, ELEMENTWISE, KEEPS_VALUES
from rectifier.hooks.graph.nodes import kind_of
from rectifier.hooks.graph.places import Place, aligned, shape_of
from rectifier.hooks.graph.weights import (
    BATCH_NORMS,
    CONVOLUTIONS,
    LAYERS,
    PRODUCTS,
    Part,
    is_made_of_weights,
    layer_of,
    leaf_of,
)
from rectifier.records import AxisSource, UnitAxis

_AXIS_ONE = {*CONVOLUTIONS, *BATCH_NORMS, "NativeGroupNorm"}
_MOST_STEPS = 24


@dataclass(frozen=True, slots=True)
class FeedingLayer:
    """Where the units are, and the layer that they are told from.

    Attributes:
        unit_axis: Where they are, or why that is unknown.
        weight: The weight of the layer that decided it, None where it is not a parameter of its own.
        layer_bias: That layer's bias: no gradient of a unit reaches it where none reaches the unit.
        bias: The same, where nothing but it was added to the product with the weight: what moves it moves the unit's
            input by as much.
        part: Which part of the weight is applied: operations that take a part of a tensor, each with its index.
        route: How the graph leads to the weight: at each node, which of its operands comes next.
        hops: How many of the last ones come after the layer itself.
    """

    unit_axis: UnitAxis
    weight: Tensor | None = None
    layer_bias: Tensor | None = None
    bias: Tensor | None = None
    part: Part = ()
    route: tuple[int, ...] = ()
    hops: int = 0

    @property
    def axis(self) -> int | None:
        """1, -1, or None for unknown."""
        return self.unit_axis.axis


@dataclass(frozen=True, slots=True)
class _Found:
    """The units within one tensor of the graph.

    Attributes:
        place: Where they are; None for unknown.
        source: Why it is known, or is not.
    """

    place: Place | None
    source: AxisSource
    operation: str | None = None
    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    weight: Tensor | None = None
    layer_bias: Tensor | None = None
    bias: Tensor | None = None
    part: Part = ()
    route: tuple[int, ...] = ()
    hops: int = 0


def find_unit_axis(tensor: Tensor) -> FeedingLayer:
    """The unit axis of an activation's input; read it before the call, which may be in place."""
    ndim = tensor.ndim
    if ndim == 0:
        return FeedingLayer(UnitAxis(axis=None, ndim=0, source=AxisSource.NO_AXES))
    if tensor.grad_fn is None:
        return FeedingLayer(UnitAxis(axis=None, ndim=ndim, source=AxisSource.NO_HISTORY))
    shape = tuple(tensor.shape)
    found = _follow(tensor.grad_fn, tensor.output_nr, shape, _MOST_STEPS)
    axis, source = None, found.source
    if found.place is not None:
        position = found.place.position(shape)
        if position is None:
            source = AxisSource.MIXING_VIEW
        elif position in (1, ndim - 1):
            # On a matrix the two are one axis.
            axis = 1 if position == 1 and (ndim > 2 or found.operation in _AXIS_ONE) else -1
        else:
            source = AxisSource.ELSEWHERE
    where = UnitAxis(
        axis=axis,
        ndim=ndim,
        source=source,
        operation=found.operation if source in (AxisSource.LAYER, AxisSource.OPERATION) else None,
        operations=_MOST_STEPS if source is AxisSource.TOO_FAR else None,
        shapes=(found.shapes or (shape, shape)) if source is AxisSource.MIXING_VIEW else None,
    )
    if axis is None:
        return FeedingLayer(where, found.weight, None, None, found.part, found.route, found.hops)
    return FeedingLayer(where, found.weight, found.layer_bias, found.bias, found.part, found.route, found.hops)


def _follow(node: Any, number: int, shape: Sequence[int], steps: int) -> _Found:
    """Decide from the graph above one output of a node, which has this shape."""
    if node is None:
        return _Found(None, AxisSource.NO_HISTORY)
    kind = kind_of(node)
    if kind == "torch" or hasattr(node, "variable"):
        return _Found(None, AxisSource.LEAF)
    if steps == 0:
        return _Found(None, AxisSource.TOO_FAR)
    if kind in LAYERS:
        return _at_layer(node, kind, shape, steps)
    if kind in ELEMENTWISE:
        return _at_elements(node, kind, shape, steps)
    step = AXIS_STEPS.get(kind)
    if step is None:
        return _Found(None, AxisSource.OPERATION, kind)
    answers = []
    for operand in step.operands(node):
        parent, nr = node.next_functions[operand]
        if parent is None:
            continue
        below = shape_of(parent, nr)
        found = _follow(parent, nr, below, steps - 1)
        if (before := found.place) is not None:
            place = step.moved(node, before, below, tuple(shape), operand)
            if place is None:
                mixing = (below, tuple(shape)) if step.reshapes else None
                source = AxisSource.MIXING_VIEW if step.reshapes else AxisSource.OPERATION
                found = replace(found, place=None, source=source, operation=kind, shapes=mixing)
            elif place.units != before.units:
                # A part of the units, or the units of several layers: a bias's entries are not theirs.
                found = replace(found, place=place, bias=None, layer_bias=None)
            else:
                mixing = (below, tuple(shape)) if place.axis is None and found.shapes is None else found.shapes
                found = replace(found, place=place, shapes=mixing)
        answers.append(replace(found, route=(operand, *found.route)))
    found = _agreement(answers, kind)
    return found if step.keeps_values else replace(found, bias=None)


def _at_elements(node: Any, kind: str, shape: Sequence[int], steps: int) -> _Found:
    answers = [
        _through(at, parent, nr, steps, shape)
        for at, (parent, nr) in enumerate(node.next_functions)
        if parent is not None
    ]
    found = _agreement(answers, kind)
    if kind == "Add" and (bias := _added_to_units(node, found, shape)) is not None:
        return replace(found, bias=bias, layer_bias=bias)
    return found if kind in KEEPS_VALUES else replace(found, bias=None)


def _added_to_units(node: Any, found: _Found, shape: Sequence[int]) -> Tensor | None:
    """The vector that is added with one entry for each unit of a layer without a bias of its own.

    torch's linear layers do that by themselves where their input is not contiguous: after `transpose`, say.
    """
    if found.place is None or found.place.axis != len(shape) - 1 or found.layer_bias is not None:
        return None
    if found.weight is None or getattr(node, "_saved_alpha", 1) != 1:
        return None
    leaves = [parent.variable for parent, _ in node.next_functions if hasattr(parent, "variable")]
    return leaves[0] if len(leaves) == 1 and tuple(leaves[0].shape) == (found.place.units,) else None


def _through(at: int, parent: Any, number: int, steps: int, shape: Sequence[int]) -> _Found:
    """A branch of something that goes element by element, which may have been broadcast."""
    below = shape_of(parent, number)
    found = _follow(parent, number, below, steps - 1)
    found = replace(found, route=(at, *found.route))
    if found.place is None or tuple(below) == tuple(shape):
        return found
    place = aligned(found.place, below, tuple(shape))
    return replace(found, place=place) if place is not None else replace(found, place=None, source=AxisSource.BRANCHES)


def _told_by(node: Any, kind: str, axis: int, shape: Sequence[int]) -> _Found:
    weight, bias, part, route = layer_of(node, kind)
    place = Place.at(axis % len(shape), shape)
    return _Found(place, AxisSource.LAYER, kind, None, weight, bias, bias, part, route, max(len(route) - 1, 0))


def _at_layer(node: Any, kind: str, shape: Sequence[int], steps: int) -> _Found:
    ndim = len(shape)
    if kind in PRODUCTS:
        return _at_product(node, kind, shape, steps)
    if kind in CONVOLUTIONS:
        return _told_by(node, kind, 1 if ndim > 1 else 0, shape)
    if kind in BATCH_NORMS:
        return _at_batch_norm(node, kind, shape, steps)
    if kind == "NativeGroupNorm":
        return _told_by(node, kind, 1, shape) if ndim > 1 else _Found(None, AxisSource.OPERATION, kind)
    normalized = getattr(node, "_saved_normalized_shape", ())
    if len(normalized) > 1 or (normalized and layer_of(node, kind)[0] is None):
        # Over several axes, or with nothing that is learned: it says less of where units are than what comes before.
        parent, nr = node.next_functions[0]
        below = _follow(parent, nr, shape, steps - 1)
        if below.place is not None or len(normalized) > 1:
            return replace(below, bias=None, route=(0, *below.route))
    return _told_by(node, kind, -1, shape)


def _at_batch_norm(node: Any, kind: str, shape: Sequence[int], steps: int) -> _Found:
    """Of an instance norm, which is a batch norm behind views, what comes before it tells where units are."""
    if len(shape) < 2:
        return _Found(None, AxisSource.OPERATION, kind)
    told = _told_by(node, kind, 1, shape)
    at = 1 if len(node.next_functions) > 1 else None
    entered = node.next_functions[at][0] if at is not None else None
    if told.weight is not None and hasattr(entered, "variable"):
        return told
    if shape[0] != 1 and told.weight is not None:
        return told
    parent, nr = node.next_functions[0]
    below = _follow(parent, nr, shape, steps - 1)
    if below.place is None:
        return told if told.weight is None and entered is None and shape[0] != 1 else replace(below, bias=None)
    if told.weight is None:
        return replace(below, bias=None, route=(0, *below.route))
    return replace(
        below,
        weight=told.weight,
        layer_bias=told.bias,
        bias=told.bias,
        part=told.part,
        route=told.route,
        hops=told.hops,
    )


def _at_product(node: Any, kind: str, shape: Sequence[int], steps: int) -> _Found:
    """A matrix product: its units are the columns of a weight on the right, or the rows of one on the left."""
    left, right = PRODUCTS[kind]
    operands = node.next_functions
    if right >= len(operands):
        return _Found(None, AxisSource.OPERATION, kind)
    weights = [at for at in (left, right) if leaf_of(*operands[at])[0] is not None]
    parameters = [at for at in weights if isinstance(leaf_of(*operands[at])[0], nn.Parameter)]
    chosen = parameters if len(parameters) == 1 else weights if len(weights) == 1 else []
    if not weights:
        made = [at for at in (left, right) if is_made_of_weights(operands[at][0])]
        chosen = made if len(made) == 1 else []
    if not chosen:
        return _other_factor(node, kind, shape, steps, weights)
    other = right if chosen[0] == left else left
    if not parameters and weights and is_made_of_weights(operands[other][0], any_leaf=True):
        # An input whose gradient is asked for, times a weight that is computed from others: it may be either.
        return _Found(None, AxisSource.OPERATION, kind)
    if kind == "Mv":
        return _told_by(node, kind, -1, shape) if chosen[0] == left else _Found(None, AxisSource.OPERATION, kind)
    return _told_by(node, kind, -1 if chosen[0] == right else -2, shape)


def _other_factor(node: Any, kind: str, shape: Sequence[int], steps: int, weights: list[int]) -> _Found:
    """A product with what is not trained, as an adjacency matrix: the axis that it leaves alone stays."""
    left, right = PRODUCTS[kind]
    operands = node.next_functions
    present = [at for at in (left, right) if operands[at][0] is not None]
    if len(present) != 1 or weights or kind == "Mv":
        return _Found(None, AxisSource.OPERATION, kind)
    at = present[0]
    below = shape_of(*operands[at])
    found = _follow(operands[at][0], operands[at][1], below, steps - 1)
    kept = len(below) - (1 if at == right else 2)
    if found.place is None:
        return found
    if found.place.axis != kept:
        return replace(found, place=None, source=AxisSource.OPERATION, operation=kind)
    place = Place.at(len(shape) - (1 if at == right else 2), shape)
    return replace(found, place=place, bias=None, route=(at, *found.route))


def _agreement(answers: list[_Found], kind: str) -> _Found:
    """One place from all branches; branches that could not tell have no vote."""
    known = [answer for answer in answers if answer.place is not None]
    if not known:
        return answers[0] if answers else _Found(None, AxisSource.OPERATION, kind)
    first = known[0]
    assert first.place is not None
    if not all(one.place is None or one.place.agrees(first.place) for one in known):
        return replace(first, place=None, source=AxisSource.BRANCHES)
    return first
