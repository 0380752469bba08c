"""A census equals a brute-force count over stored activations, however the data are cut, and leaves no trace."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rectifier
from rectifier.diagnosis import judge_census
from rectifier.errors import CannotProbe
from rectifier.monitor import count_units
from rectifier.records import SiteCount

from ..diagnosis.builders import site


class Mixed(nn.Module):
    """Convolution, batch norm, a shared module, a functional call, Leaky ReLU, dropout; keeps what came out."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True)
        self.one, self.two, self.head = nn.Linear(5 * 9, 11), nn.Linear(11, 7), nn.Linear(7, 3)
        self.leaky, self.drop = nn.LeakyReLU(0.1), nn.Dropout(0.5)
        with torch.no_grad():
            self.norm.bias.copy_(torch.tensor([-9.0, 9.0, -1.5, 0.0, 0.5]))
            self.one.bias.copy_(torch.linspace(-1.5, 1.5, 11))
        self.kept = None

    def forward(self, x):
        kept = []
        for function in (self.act, lambda z: F.relu(self.one(z.flatten(1))), lambda z: self.leaky(self.two(z))):
            x = function(self.norm(self.conv(x)) if function is self.act else x)
            kept.append(x.detach().clone())
            x = self.drop(x)
        if self.kept is not None:
            self.kept.append(kept)
        return self.head(x)


@pytest.fixture(scope="module")
def mixed():
    torch.manual_seed(3)
    model = Mixed()
    for _ in range(3):
        model(torch.randn(7, 2, 5, 5))
    return model


def stored(model, batches):
    """Per site (samples, units, positions), in eval mode."""
    mode = model.training
    model.eval()
    model.kept = []
    with torch.no_grad():
        for batch in batches:
            model(batch)
    kept, model.kept = model.kept, None
    model.train(mode)
    return [torch.cat([one[number] for one in kept]).flatten(2) if kept[0][number].ndim > 2 else
            torch.cat([one[number] for one in kept]).unsqueeze(2) for number in range(len(kept[0]))]  # fmt: skip


def brute_force(model, batches):
    rows = []
    for outputs in stored(model, batches):
        fires = [[bool((value > 0).any()) for value in sample] for sample in outputs]
        units = range(outputs.shape[1])
        fired = [sum(sample[unit] for sample in fires) for unit in units]
        always = [unit for unit in units if bool((outputs[:, unit] > 0).all())]
        rows.append((fired, always))
    return rows


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.lists(st.integers(1, 23), min_size=1, max_size=5))
def test_any_split_into_batches_gives_the_counts_of_stored_activations(mixed, seed, sizes):
    data = torch.randn(sum(sizes), 2, 5, 5, generator=torch.Generator().manual_seed(seed))
    batches = data.split(sizes)
    _, number, samples, distinct, counts = count_units(mixed, batches)
    assert (number, samples, distinct) == (len(sizes), sum(sizes), sum(sizes))
    expected = brute_force(mixed, batches)
    assert [count.fired.tolist() for count in counts] == [fired for fired, _ in expected]
    assert {count.visits for count in counts} == {sum(sizes)}
    assert [count.site.ref.key for count in counts] == ["act", "Mixed", "leaky"]
    layers = judge_census(counts, distinct)
    assert [list(layer.always_on_units) for layer in layers] == [always for _, always in expected]
    for layer, (fired, _) in zip(layers, expected, strict=True):
        assert list(layer.silent_units) == [unit for unit, times in enumerate(fired) if times == 0]
        rare = [unit for unit, times in enumerate(fired) if 0 < times < 0.01 * sum(sizes)]
        assert list(layer.rare_units) == rare
    (_, _, _, _, whole) = count_units(mixed, [data])
    for one, other in zip(counts, whole, strict=True):
        assert one.fired.tolist() == other.fired.tolist()
        assert np.allclose(one.mean_abs, other.mean_abs, rtol=1e-5, atol=1e-7)


def test_a_count_that_is_off_by_one_would_be_caught(mixed):
    batches = [torch.randn(7, 2, 5, 5)]
    counts = count_units(mixed, batches)[4]
    counts[0].fired[1] += 1
    assert [count.fired.tolist() for count in counts] != [fired for fired, _ in brute_force(mixed, batches)]


def everything(model):
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "asked": [parameter.requires_grad for parameter in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "versions": [tensor._version for tensor in (*model.parameters(), *model.buffers())],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": [*np.random.get_state()[1].tolist(), np.random.get_state()[2]],
        "relu": F.relu.__code__,
        "fast path": torch.backends.mha.get_fastpath_enabled(),
    }


def differences(one, other):
    found = []
    for key in one:
        first, second = one[key], other[key]
        if key == "state":
            same = all(torch.equal(first[name], second[name]) for name in first)
        elif key == "grads":
            same = all((a is None and b is None) or torch.equal(a, b) for a, b in zip(first, second, strict=True))
        elif key == "torch":
            same = bool((first == second).all())
        else:
            same = first == second
        found += [] if same else [key]
    return found


class Careless(nn.Module):
    """A model whose forward draws random numbers, moves a buffer in every mode, and replaces another."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.norm = nn.BatchNorm1d(5, track_running_stats=True)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.last = x[:1, 0].clone()
        x = x + torch.randn_like(x) * random.random() * np.random.rand()
        self.norm.train()
        return F.relu(self.norm(self.linear(x)))


def loader(generator=None):
    data = torch.utils.data.TensorDataset(torch.arange(33.0).reshape(11, 3), torch.zeros(11))
    return torch.utils.data.DataLoader(data, batch_size=4, shuffle=True, generator=generator)


@pytest.mark.parametrize("raising", [False, True])
def test_everything_is_as_it_was(raising):
    torch.manual_seed(5)
    model = Careless()
    model.train()
    model.norm.eval()
    model.linear.weight.requires_grad_(False)
    F.relu(model.linear(torch.ones(2, 3))).sum().backward()
    own = torch.Generator().manual_seed(3)
    data = loader(own)
    before, state, last = everything(model), own.get_state(), model.last
    if raising:
        with pytest.raises(CannotProbe):
            rectifier.census(model, [(torch.ones(2, 3),), (torch.ones(2, 9),)])
    else:
        rectifier.census(model, data)
    after = everything(model)
    # A buffer that was written is written back: that alone may be seen.
    after["versions"] = before["versions"]
    assert differences(before, after) == []
    assert torch.equal(own.get_state(), state)
    assert model.last is last


def test_the_comparison_would_notice_each_of_these():
    model = Careless()
    before = everything(model)
    model(torch.ones(3, 3))
    noticed = differences(before, everything(model))
    assert {"state", "torch", "python", "numpy", "versions"} <= set(noticed)


def test_a_batch_norm_is_not_even_touched(mixed):
    before = everything(mixed)
    rectifier.census(mixed, [torch.randn(7, 2, 5, 5)])
    after = everything(mixed)
    before["torch"] = after["torch"]
    assert differences(before, after) == []


def test_a_frozen_network_has_its_units_told_apart_all_the_same():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU()).requires_grad_(False).eval()
    (layer,) = rectifier.census(model, [torch.randn(7, 3)]).layers
    assert (layer.units, layer.visits) == (5, 7)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_transformers_units_are_channels_and_its_samples_tokens():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 11, batch_first=True)
    census = rectifier.census(layer, [torch.randn(7, 4, 6), torch.randn(3, 4, 6)])
    (row,) = census.layers
    assert (row.units, row.visits, census.samples, census.distinct_samples) == (11, 40, 10, 10)
    # Tokens of one sequence are correlated: the bound rests on sequences.
    assert row.firing_bound == pytest.approx(1 - 0.05**0.1)


def test_mappings_and_other_ways_to_call(mixed):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 5)

        def forward(self, pixels, scale):
            return F.relu(self.linear(pixels * scale))

    model, x = Named(), torch.randn(7, 3)
    one = rectifier.census(model, [{"pixels": x, "scale": 2.0}])
    two = rectifier.census(model, [(x, 2.0)], forward=lambda model, batch: model(*batch))
    assert one == two
    assert one.layers[0].units == 5


def test_a_site_that_only_a_later_batch_reaches_is_counted_from_there_on():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 5), nn.Linear(3, 4)

        def forward(self, x):
            return F.relu(self.one(x)).sum() + (F.relu(self.two(x)).sum() if x[0, 0] > 0 else 0)

    negative, positive = -torch.ones(7, 3), torch.ones(11, 3)
    layers = rectifier.census(Gated(), [negative, positive, negative, positive]).layers
    assert [(layer.units, layer.visits) for layer in layers] == [(5, 36), (4, 22)]


def test_samples_shown_twice_are_one():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
    x = torch.randn(400, 3)
    census = rectifier.census(model, [x, x])
    assert (census.samples, census.distinct_samples) == (800, 400)
    assert census.layers[0].firing_bound == pytest.approx(1 - 0.05 ** (1 / 400))


def test_a_watch_that_goes_on_is_not_told():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with rectifier.watch(model, every=1) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(7, 3)).square().mean().backward()
            optimizer.step()
            rectifier.census(model, [torch.randn(11, 3)])
    (window,) = watch.run.processes[0].snapshots[0].windows[:1]
    assert sum(s.windows[0].visits for s in watch.run.processes[0].snapshots if s.windows) == 21
    assert window.steps[0] == 0


@pytest.mark.parametrize(
    ("model", "data", "told"),
    [
        (3, [], "this takes a torch.nn.Module first, and got a int."),
        (nn.Linear(3, 5), [], "the data hold no batch. A generator that has been used is empty: pass a new one."),
        (nn.Linear(3, 5), 3, "the data must be an iterable of batches, such as a DataLoader; got a int."),
        (nn.Linear(3, 5), torch.ones(7, 3), "the data must be an iterable of batches, such as a DataLoader; got float"),
        (nn.Linear(3, 5), [torch.ones(7, 4)], "Linear could not be run on float32 7 × 4: RuntimeError: mat1 and mat2"),
        (nn.Linear(3, 5), [{"x": torch.ones(7, 4)}], "Linear could not be run on a batch of x: float32 7 × 4: Type"),
        (nn.LazyLinear(5), [torch.ones(7, 4)], "LazyLinear has parameters without a shape (weight). Run it on a batch"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_told_in_one_message(model, data, told):
    with pytest.raises(CannotProbe) as error:
        rectifier.census(model, data)
    assert str(error.value).startswith(told)


# The rule ------------------------------------------------------------------------------------------------------------


def count(fired, visits, *, lowest=None, highest=None, mean_abs=None, **where):
    units = len(fired)
    return SiteCount(
        site=site(units=units or None, **where), visits=visits, fired=np.array(fired, np.int64),
        lowest=np.zeros(units) if lowest is None else np.array(lowest, float),
        highest=np.ones(units) if highest is None else np.array(highest, float),
        mean_abs=np.ones(units) if mean_abs is None else np.array(mean_abs, float),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("distinct", "means"), [(None, "suspected"), (1, "suspected"), (298, "suspected"), (299, "dead"), (3000, "dead")]
)
def test_silence_is_death_from_a_bound_of_one_percent_on(distinct, means):
    (layer,) = judge_census([count([0, 5], 4000)], distinct)
    assert (layer.silent, layer.silent_means, layer.silent_units) == (1, means, (0,))
    if distinct:
        assert layer.firing_bound == pytest.approx(1 - 0.05 ** (1 / distinct))
        assert (layer.firing_bound <= 0.01) == (means == "dead")


@pytest.mark.parametrize(("fired", "rare"), [(0, 0), (1, 1), (39, 1), (40, 0), (41, 0)])
def test_rare_is_less_than_one_percent(fired, rare):
    assert judge_census([count([fired, 4000], 4000)], 4000)[0].rare == rare


def test_a_silent_unit_of_leaky_relu_is_stuck_and_of_hardswish_too():
    for name, means in (("leaky_relu:0.1", "stuck"), ("leaky_relu:0", "dead"), ("relu6", "dead"), ("elu", "stuck")):
        assert judge_census([count([0], 4000, activation=name)], 4000)[0].silent_means == means


@pytest.mark.parametrize(("lowest", "on"), [(0.0, 0), (1e-30, 1), (-1.0, 0)])
def test_always_on_is_above_zero_everywhere(lowest, on):
    assert judge_census([count([4000], 4000, lowest=[lowest])], 4000)[0].always_on == on


def test_what_is_not_finite_is_neither_dead_nor_on():
    nan = float("nan")
    (layer,) = judge_census([count([0, 4000], 4000, lowest=[nan, 1], highest=[nan, float("inf")])], 4000)
    assert (layer.silent, layer.rare, layer.always_on, layer.not_finite) == (0, 0, 0, 2)


@pytest.mark.parametrize(
    ("smallest", "dormant"),
    [(0, (1, 1, 1)), (0.0225, (0, 1, 1)), (0.0227, (0, 0, 1)), (0.0909, (0, 0, 1)), (0.091, (0, 0, 0))],
)
def test_dormant_is_measured_against_the_layers_mean(smallest, dormant):
    values = np.array([smallest, *[1.0] * 9])
    got = judge_census([count([5] * 10, 10, mean_abs=values / values.mean())], 10)[0].dormant
    assert got == tuple(zip((0.0, 0.025, 0.1), dormant, strict=True))
    assert judge_census([count([5] * 10, 10, activation="elu")], 10)[0].dormant == ()


def test_without_a_unit_axis_nothing_is_said_of_units():
    (layer,) = judge_census([count([], 7)], 7)
    assert (layer.units, layer.silent, layer.rare, layer.always_on) == (None, None, None, None)


def test_the_first_use_of_any_public_name_draws_no_random_number():
    code = (
        "import random; random.seed(3); state = random.getstate()\n"
        "import rectifier\n"
        "for name in rectifier.__all__: getattr(rectifier, name)\n"
        "with rectifier.watch() as watch: pass\n"
        "repr(watch)\n"
        "assert random.getstate() == state\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_data_that_fail_half_way_are_told_as_theirs():
    def torn():
        yield torch.ones(7, 3)
        raise OSError("the disk is gone")

    with pytest.raises(CannotProbe, match="the data could not be read to their end: OSError: the disk is gone"):
        rectifier.census(nn.Sequential(nn.Linear(3, 5), nn.ReLU()), torn())
