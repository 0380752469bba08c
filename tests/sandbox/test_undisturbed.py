"""Somebody's model is run on the side, and nothing of it, nor of any random stream, is different afterwards."""

import random

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

from rectifier.sandbox import same, streams_kept, undisturbed


class Careless(nn.Module):
    """A model whose forward draws random numbers, moves a buffer in every mode, and replaces another."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.drop = nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)
        self.register_buffer("calls", torch.tensor([0.0, torch.nan]))
        self.register_buffer("last", torch.zeros(1), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.last = x[:1, 0].clone()
        self.norm.train()
        return self.drop(self.norm(self.linear(x + torch.randn_like(x) * random.random() * np.random.rand())))


def drawn():
    return torch.rand(3).tolist(), random.random(), np.random.rand()


def everything(model):
    return {
        "modes": [module.training for module in model.modules()],
        "buffers": {name: (id(value), value.clone()) for name, value in model.named_buffers()},
        "asked": [parameter.requires_grad for parameter in model.parameters()],
        "grads": [p.grad for p in model.parameters()],
        "streams": (torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)["state"]),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
    }


def alike(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, torch.Tensor):
        return same(one, other)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


@given(
    modes=st.lists(st.booleans(), min_size=4, max_size=4),
    training=st.sampled_from([None, True, False]),
    seed=st.sampled_from([None, 0, 7]),
    raising=st.booleans(),
)
def test_everything_is_as_it_was(modes, training, seed, raising):
    model = Careless()
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    before = everything(model)
    try:
        with undisturbed(model, training=training, seed=seed):
            model(torch.randn(7, 3))
            if raising:
                raise KeyError
    except KeyError:
        assert raising
    assert alike(before, everything(model))


def test_the_comparison_would_notice():
    model = Careless()
    before = everything(model)
    model(torch.randn(7, 3))
    assert not alike(before, everything(model))
    for fault in (torch.rand, random.random, np.random.rand):
        before = everything(model)
        fault(1) if fault is torch.rand else fault()
        assert not alike(before, everything(model))


@pytest.mark.parametrize(
    ("training", "of_the_model", "of_the_norm"),
    [(None, False, True), (True, True, True), (False, False, False)],
)
def test_the_mode_within(training, of_the_model, of_the_norm):
    model = Careless().eval()
    model.norm.train()
    with undisturbed(model, training=training):
        assert (model.training, model.norm.training) == (of_the_model, of_the_norm)


def test_a_part_that_the_user_keeps_in_evaluation_stays_in_it_in_training():
    model = Careless()
    model.norm.eval()
    with undisturbed(model, training=True):
        assert not model.norm.training


def test_a_seed_makes_every_pass_draw_the_same_and_none_goes_on():
    random.seed(1)
    with streams_kept(seed=3):
        first = drawn()
    with streams_kept(seed=3):
        assert drawn() == first
    state = random.getstate()
    with streams_kept():
        peeked = drawn()
    assert random.getstate() == state
    assert drawn() == peeked


def test_generators_of_a_loader_and_its_samplers_are_put_back():
    own, samplers = torch.Generator().manual_seed(3), torch.Generator().manual_seed(4)
    data = torch.utils.data.TensorDataset(torch.arange(11.0))
    sampler = torch.utils.data.RandomSampler(data, generator=samplers)
    loader = torch.utils.data.DataLoader(data, batch_size=4, sampler=sampler, generator=own)
    with streams_kept(loader):
        first = [batch[0].tolist() for batch in loader]
    assert [batch[0].tolist() for batch in loader] == first
    assert [batch[0].tolist() for batch in loader] != first


def test_parts_that_are_compiled_run_as_they_are_written():
    ran = []

    class Part(nn.Module):
        def forward(self, x):
            ran.append(1)
            return x

    model = nn.Sequential(torch.compile(Part(), backend=lambda graph, inputs: pytest.fail("it was compiled")))
    with undisturbed(model):
        model(torch.ones(3))
    assert ran


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.complex64])
def test_same_takes_nan_as_equal_to_itself_and_nothing_else(dtype):
    one = torch.tensor([0, 1, 1]).to(dtype)
    other = one.clone()
    assert same(one, other)
    other[0] = 1
    assert not same(one, other)
    assert not same(one, one[:2])
    if dtype.is_floating_point:
        one[0] = other[0] = torch.nan
        assert same(one, other)
