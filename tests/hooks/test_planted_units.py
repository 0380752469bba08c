"""Units that are planted in a tensor are found after whatever moved them, or said to be unknown; never a wrong axis.

A second tensor holds the number of the unit at each place and goes through the same operations: a found axis is right
if along it, and along nothing else, the numbers change.
"""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from rectifier.hooks import find_unit_axis


def linear():
    return nn.Linear(3, 6)(torch.randn(2, 5, 3)), -1


def linear_matrix():
    return nn.Linear(3, 6)(torch.randn(4, 3)), -1


def convolution():
    return nn.Conv2d(3, 6, 1)(torch.randn(2, 3, 4, 5)), 1


def convolution_1d():
    return nn.Conv1d(3, 6, 1)(torch.randn(2, 3, 4)), 1


def product():
    return torch.randn(2, 5, 3) @ nn.Parameter(torch.randn(3, 6)), -1


def product_from_the_left():
    return nn.Parameter(torch.randn(6, 3)) @ torch.randn(2, 3, 5), 1


def batched_product():
    return torch.bmm(torch.randn(2, 5, 3), nn.Parameter(torch.randn(2, 3, 6))), -1


def einsum():
    return torch.einsum("ntd,du->nut", torch.randn(2, 5, 3), nn.Parameter(torch.randn(3, 6))), 1


def normalized():
    return nn.InstanceNorm2d(6, affine=True)(convolution()[0]), 1


def plain_instance_norm():
    return nn.InstanceNorm1d(6)(convolution_1d()[0]), 1


LAYERS = [
    linear, linear_matrix, convolution, convolution_1d, product, product_from_the_left, batched_product, einsum,
    normalized, plain_instance_norm,
]  # fmt: skip


def axis_of(tensor, a):
    return a % tensor.ndim


MOVES = {
    "split": lambda t, a, b, d: t.split(2, axis_of(t, a))[b % -(-t.shape[axis_of(t, a)] // 2)],
    "split with sizes": lambda t, a, b, d: t.split([1, t.shape[axis_of(t, a)] - 1], axis_of(t, a))[1],
    "chunk": lambda t, a, b, d: t.chunk(2, axis_of(t, a))[0],
    "slice": lambda t, a, b, d: t.narrow(axis_of(t, a), 0, max(1, t.shape[axis_of(t, a)] - 1)),
    "step": lambda t, a, b, d: t[::2],
    "select": lambda t, a, b, d: t.select(axis_of(t, a), b % t.shape[axis_of(t, a)]),
    "unbind": lambda t, a, b, d: t.unbind(axis_of(t, a))[b % t.shape[axis_of(t, a)]],
    "transpose": lambda t, a, b, d: t.transpose(axis_of(t, a), axis_of(t, b)),
    "permute": lambda t, a, b, d: t.permute(*(axis_of(t, k + a) for k in range(t.ndim))),
    "squeeze": lambda t, a, b, d: t.squeeze(),
    "squeeze one": lambda t, a, b, d: t.squeeze(axis_of(t, a)),
    "unsqueeze": lambda t, a, b, d: t.unsqueeze(a % (t.ndim + 1)),
    "unsqueeze from the end": lambda t, a, b, d: t.unsqueeze(-1),
    "expand": lambda t, a, b, d: t.unsqueeze(0).expand(3, *t.shape),
    "repeat": lambda t, a, b, d: t.repeat(*(2 if k == axis_of(t, a) else 1 for k in range(t.ndim))),
    "cat": lambda t, a, b, d: torch.cat([t, t], axis_of(t, a)),
    "stack": lambda t, a, b, d: torch.stack([t, t], a % (t.ndim + 1)),
    "index": lambda t, a, b, d: t[torch.arange(t.shape[0]).flip(0)],
    "index by a matrix": lambda t, a, b, d: t[torch.zeros(2, 3, dtype=torch.long)],
    "mask": lambda t, a, b, d: t[torch.arange(t.shape[0]) % 2 == 0],
    "inner index": lambda t, a, b, d: t.movedim(0, -1)[:, torch.tensor([0])] if t.ndim > 1 else t,
    "index select": lambda t, a, b, d: t.index_select(axis_of(t, a), torch.tensor([b % t.shape[axis_of(t, a)], 0])),
    "gather": lambda t, a, b, d: t.gather(axis_of(t, a), torch.zeros_like(t, dtype=torch.long)),
    "flatten": lambda t, a, b, d: t.flatten(min(axis_of(t, a), axis_of(t, b)), max(axis_of(t, a), axis_of(t, b))),
    "reshape": lambda t, a, b, d: t.reshape(-1, t.shape[-1]),
    "unflatten": lambda t, a, b, d: t.reshape(*t.shape[:-1], -1, d) if t.shape[-1] % d == 0 else t,
    "roll": lambda t, a, b, d: t.roll(1, axis_of(t, a)),
    "flip": lambda t, a, b, d: t.flip(axis_of(t, a)),
    "copy": lambda t, a, b, d: t.clone(),
    "amax": lambda t, a, b, d: t.amax(axis_of(t, a), keepdim=bool(b % 2)),
    "cast": lambda t, a, b, d: t.double(),
}


def check(tensor, labels):
    """Whether the answer is right where it is one."""
    found = find_unit_axis(tensor)
    if found.axis is None:
        return False
    along = labels.movedim(found.axis, -1).reshape(-1, labels.shape[found.axis])
    assert (along == along[0]).all(), (found.unit_axis, tensor.shape)
    return True


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(LAYERS),
    st.lists(
        st.tuples(st.sampled_from(sorted(MOVES)), st.integers(0, 3), st.integers(0, 3), st.integers(1, 3)), max_size=5
    ),
)
def test_planted_units_are_found_or_unknown_and_never_elsewhere(layer, moves):
    tensor, axis = layer()
    labels = torch.arange(6.0).reshape(6, *[1] * (tensor.ndim - 1 - axis % tensor.ndim)).expand_as(tensor).clone()
    for name, a, b, d in moves:
        move = MOVES[name]
        tensor, labels = move(tensor, a, b, d), move(labels, a, b, d)
        assume(tensor.ndim and tensor.numel())
    if not moves:
        assert check(tensor, labels)
    check(tensor, labels)


def test_a_wrong_axis_would_be_caught():
    tensor, _ = linear()
    labels = torch.arange(5.0)[:, None].expand_as(tensor)
    with pytest.raises(AssertionError):
        check(tensor, labels)


@pytest.mark.parametrize("name", sorted(set(MOVES) - {"roll", "flip", "flatten", "repeat", "unflatten"}))
@pytest.mark.parametrize("layer", LAYERS)
def test_units_are_found_through_what_leaves_them_an_axis_of_their_own(name, layer):
    tensor, axis = layer()
    labels = torch.arange(6.0).reshape(6, *[1] * (tensor.ndim - 1 - axis % tensor.ndim)).expand_as(tensor).clone()
    tensor, labels = MOVES[name](tensor, 0, 0, 2), MOVES[name](labels, 0, 0, 2)
    varies = [k for k in range(labels.ndim) if not (labels == labels.select(k, 0).unsqueeze(k)).all()]
    if varies in ([1], [labels.ndim - 1]):
        assert check(tensor, labels), find_unit_axis(tensor).unit_axis
