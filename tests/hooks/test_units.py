"""Units are found by data flow, and "unknown" is said rather than guessed."""

import pytest
import torch
from torch import nn

from rectifier.hooks import find_unit_axis
from rectifier.report.sentences.recorded import why_units_unknown

X2 = torch.randn(7, 5)
X3 = torch.randn(7, 11, 5)


def conv(dims):
    return [nn.Conv1d, nn.Conv2d, nn.Conv3d][dims - 1](3, 5, 1)(torch.randn(7, 3, *([4] * dims)))


@pytest.mark.parametrize(
    ("tensor", "axis", "units"),
    [
        (nn.Linear(5, 13)(X2), -1, 13),
        (nn.Linear(5, 13, bias=False)(X2), -1, 13),
        (nn.Linear(5, 13)(X3), -1, 13),
        (nn.Linear(5, 13, bias=False)(X3), -1, 13),
        (nn.Linear(5, 13)(X3[0, 0]), -1, 13),
        (nn.LayerNorm(5)(nn.Linear(5, 5)(X3)), -1, 5),
        (nn.Embedding(9, 5)(torch.ones(7, 11, dtype=torch.long)), -1, 5),
        (conv(1), 1, 5),
        (conv(2), 1, 5),
        (conv(3), 1, 5),
        (nn.BatchNorm2d(5)(conv(2)), 1, 5),
        (nn.BatchNorm1d(5)(nn.Linear(5, 5)(X2)), 1, 5),
        (nn.GroupNorm(5, 5)(conv(2)), 1, 5),
        (conv(2).to(memory_format=torch.channels_last), 1, 5),
        (nn.MaxPool2d(2)(conv(2)), 1, 5),
        (nn.Linear(5, 13)(X2) + 1, -1, 13),
        (nn.Linear(5, 13)(X2) + nn.Linear(5, 13)(X2), -1, 13),
        (nn.Dropout(0.5)(nn.Linear(5, 13)(X3)), -1, 13),
        (nn.Linear(5, 12)(X3).view(77, 12), -1, 12),
        (conv(2) + conv(2), 1, 5),
        (conv(2).flatten(2), 1, 5),
    ],
)
def test_units_are_told_from_the_layer_before(tensor, axis, units):
    found = find_unit_axis(tensor)
    assert found.axis == axis, found.unit_axis
    assert tensor.shape[found.axis] == units


def test_half_precision_casts_are_followed():
    with torch.autocast("cpu", torch.bfloat16):
        found = find_unit_axis(nn.Linear(5, 13)(X2))
    assert found.axis == -1
    assert isinstance(found.weight, nn.Parameter)


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (conv(2).flatten(1), "mixed the units"),
        (nn.Linear(5, 12)(X3).view(7, 11, 3, 4), "mixed the units"),
        (nn.Linear(5, 13)(X3).transpose(0, 2), "neither on the second axis"),
        (nn.Linear(5, 13)(X3).roll(1, -1), "Roll"),
        (nn.Linear(5, 13)(X3).view(7, 11, 13, 1).max(1).values.sum(1), "Sum"),
        (X2, "no gradient history"),
        (torch.ones(3, requires_grad=True), "no gradient history"),
        (torch.ones(3, requires_grad=True) * 2, "leaf"),
        (nn.Linear(5, 1)(X2).sum(), "single number"),
        (conv(1) + nn.Linear(4, 4)(conv(1)), "disagree"),
    ],
)
def test_what_cannot_be_told_is_unknown_with_its_reason(tensor, why):
    found = find_unit_axis(tensor)
    assert found.axis is None
    assert why in why_units_unknown(found.unit_axis)


def test_the_weight_that_feeds_a_site_is_named():
    layer, norm = nn.Linear(5, 13), nn.BatchNorm1d(13)
    assert find_unit_axis(layer(X2)).weight is layer.weight
    assert find_unit_axis(layer(X3)).weight is layer.weight
    assert find_unit_axis(norm(layer(X2))).weight is norm.weight


LAYER = nn.Linear(5, 13)


@pytest.mark.parametrize(
    ("tensor", "alone"),
    [
        (LAYER(X2), True),
        (LAYER(X3), True),
        (LAYER(X3).view(77, 13), True),
        (LAYER(X2).double(), True),
        (-3 * LAYER(X2), False),
        (LAYER(X2) + nn.Linear(5, 13)(X2), False),
        (LAYER(X2) - torch.ones(13), False),
        (nn.functional.dropout(LAYER(X2)), False),
        (torch.tanh(LAYER(X2)), False),
    ],
)
def test_the_bias_is_told_where_nothing_but_it_was_added(tensor, alone):
    found = find_unit_axis(tensor)
    assert found.layer_bias is LAYER.bias
    assert (found.bias is LAYER.bias) == alone
    assert alone or found.bias is None


OWN = nn.Parameter(torch.randn(13))


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (LAYER(X3.transpose(0, 1)), LAYER.bias),
        (X2 @ LAYER.weight.T + OWN, OWN),
        (OWN + X3 @ LAYER.weight.T, OWN),
        (torch.add(X2 @ LAYER.weight.T, OWN, alpha=2), None),
        (X2 @ LAYER.weight.T + OWN[None], None),
        (X2 @ LAYER.weight.T + nn.Parameter(torch.randn(1)), None),
        (LAYER(X2) + OWN, None),
        (X2 @ LAYER.weight.T - OWN, None),
    ],
)
def test_a_vector_added_to_a_product_is_its_bias(tensor, told):
    assert find_unit_axis(tensor).bias is told


def test_a_pooled_maximum_still_has_the_bias_added_to_it():
    layer = nn.Conv2d(3, 5, 1)
    assert find_unit_axis(nn.MaxPool2d(2)(layer(torch.randn(7, 3, 4, 4)))).bias is layer.bias
