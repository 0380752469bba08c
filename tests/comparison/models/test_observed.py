"""Each member of an ensemble is the run it would have been alone, and its counters tell the truth."""

import numpy as np
import pytest
import torch

from rectifier.catalogue import parse
from rectifier.comparison.models.draws import Recipe, batches, built, draws_for
from rectifier.comparison.models.observed import Network, plain_mlp, train_observed
from rectifier.datasets import MissingData, Split, digits
from rectifier.records import Failure, FailureKind

NETWORK = Network(inputs=11, hidden_layers=5, width=7, outputs=3)
RECIPE = Recipe(epochs=5, batch_size=7)
RATE = 5e-3


def small_data(samples=75):
    draws = np.random.default_rng(4)
    inputs = draws.normal(size=(samples + 13, 11)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64) + (inputs[:, 1] > 0)
    return Split("test", inputs[:samples], labels[:samples], inputs[samples:], labels[samples:], 3)


MODULES = {
    "relu": torch.nn.ReLU,
    "leaky_relu:0.1": lambda: torch.nn.LeakyReLU(0.1),
    "prelu:0.25": torch.nn.PReLU,
    "elu:1.0": torch.nn.ELU,
}


def initial_weights(network, draws):
    """(fan-in, fan-out) of every layer of one member."""
    with torch.random.fork_rng():
        model = built(lambda: plain_mlp(network, parse("relu")), draws)
    return [layer.weight.detach().T for layer in model if isinstance(layer, torch.nn.Linear)]


def trained_alone(data, recipe, spec, draws, steps=50, rate=RATE):
    """One member with torch's own modules and optimizer: nothing is batched over members.

    Returns its losses and, per step, the number of samples on which each hidden unit fired.
    """
    layers: list[torch.nn.Module] = []
    for weight in initial_weights(NETWORK, draws):
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(weight.T)
            linear.bias.zero_()
        layers += [linear, MODULES[spec]()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    inputs, labels = torch.from_numpy(data.train_inputs), torch.from_numpy(data.train_labels)
    losses, fired = [], []
    for step, (_, chosen) in enumerate(batches(len(inputs), recipe, [draws])):
        if step == steps:
            break
        hidden, counts = inputs[chosen[0]], []
        for layer in model:
            if not isinstance(layer, torch.nn.Linear):
                counts.append((hidden > 0).sum(0))
            hidden = layer(hidden)
        loss = torch.nn.functional.cross_entropy(hidden, labels[chosen[0]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        fired.append(torch.stack(counts).numpy())
    return np.array(losses), np.array(fired)


def assert_same_run(ensemble, alone, member, steps=50):
    np.testing.assert_allclose(ensemble.loss[:steps, member], alone, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("spec", MODULES)
def test_each_member_equals_its_own_single_training(spec):
    data, draws = small_data(), draws_for(3, 5)
    ensemble = train_observed(data, NETWORK, RECIPE, parse(spec), draws, observe_every=3)
    assert ensemble.loss.shape == (55, 5)
    for member in (0, 2, 4):
        alone, _ = trained_alone(data, RECIPE, spec, draws[member])
        assert_same_run(ensemble, alone, member)
    # The same comparison notices another member, or another learning rate.
    with pytest.raises(AssertionError):
        assert_same_run(ensemble, trained_alone(data, RECIPE, spec, draws[1])[0], 0)
    with pytest.raises(AssertionError):
        assert_same_run(ensemble, trained_alone(data, RECIPE, spec, draws[0], rate=4.9e-3)[0], 0)


def test_arms_share_their_draws_and_the_placebo_does_not():
    data = small_data()
    quick = Recipe(epochs=1, batch_size=7)
    relu = train_observed(data, NETWORK, quick, parse("relu"), draws_for(3, 5))
    again = train_observed(data, NETWORK, quick, parse("relu"), draws_for(3, 5))
    placebo = train_observed(data, NETWORK, quick, parse("relu"), draws_for(3, 5, placebo=True))
    assert np.array_equal(relu.loss, again.loss)
    assert not np.isclose(relu.loss[0], placebo.loss[0]).any()
    for one, other in zip(draws_for(3, 5), draws_for(4, 5), strict=True):
        assert not torch.equal(initial_weights(NETWORK, one)[0], initial_weights(NETWORK, other)[0])


def test_the_global_random_stream_is_not_touched():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    train_observed(small_data(), NETWORK, Recipe(epochs=1, batch_size=7), parse("relu"), draws_for(0, 2))
    assert torch.equal(before, torch.get_rng_state())


def test_observing_does_not_change_the_training():
    data, draws = small_data(), draws_for(1, 3)
    losses = [
        train_observed(data, NETWORK, Recipe(epochs=2, batch_size=7), parse("relu"), draws, observe_every=k).loss
        for k in (0, 1, 5)
    ]
    assert np.array_equal(losses[0], losses[1])
    assert np.array_equal(losses[0], losses[2])


def test_he_normal_weights_and_zero_biases():
    wide = Network(inputs=500, hidden_layers=2, width=400, outputs=300)
    for weight, (fan_in, _) in zip(initial_weights(wide, draws_for(0, 1)[0]), wide.shapes, strict=True):
        assert float(weight.std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
        assert float(weight.mean()) == pytest.approx(0, abs=0.001)


def test_counters_equal_a_count_by_hand():
    data, draws = small_data(), draws_for(3, 4)
    process = train_observed(data, NETWORK, RECIPE, parse("relu"), draws, observe_every=1).process(2)
    _, fired = trained_alone(data, RECIPE, "relu", draws[2], steps=22)
    # Window 0 covers step 0 and the pass before it, window 1 the rest of the first epoch and the pass after it.
    first, second = process.snapshots[0], process.snapshots[1]
    assert (first.step, second.step) == (0, 10)
    assert [window.visits for window in first.windows] == [75 + 7] * 5
    assert [window.visits for window in second.windows] == [68 + 75] * 5
    for layer, window in enumerate(second.windows):
        everything = window.fired - fired[1:11, layer].sum(0)
        assert ((everything >= 0) & (everything <= 75)).all()
        assert window.steps.tolist() == list(range(1, 11))
    assert [len(snapshot.series["loss"].steps) for snapshot in process.snapshots] == [1, 10, 11, 11, 11, 11]
    assert process.series("loss").steps.tolist() == list(range(55))
    assert process.series("test_accuracy").steps.tolist() == [10, 21, 32, 43, 54]
    assert process.snapshots[-1].cost.interval == 1


def test_a_layer_that_is_cut_dies_at_the_step_it_was_cut(monkeypatch):
    """Planted: after step 17 the biases of layer 3 of one member fall to −1e6, so all its units are silent."""
    data, draws = small_data(), draws_for(3, 4)
    real_step = torch.optim.Adam.step
    taken = []

    def step(self, *args, **kwargs):
        result = real_step(self, *args, **kwargs)
        taken.append(None)
        if len(taken) - 1 == 17:
            with torch.no_grad():
                biases = self.param_groups[0]["params"][1::2]
                biases[2][1] = -1e6
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    ensemble = train_observed(data, NETWORK, RECIPE, parse("relu"), draws, observe_every=2)
    last = ensemble.process(1).snapshots[-1]
    window = last.windows[2]
    healthy = ensemble.process(0).snapshots[-1].windows[2]
    # Observed are the even steps and the last of every epoch (10, 21, …): 16 is the last one before the cut.
    assert window.last_fired.max() == 16
    assert window.fired.sum() == 0
    assert window.silent_distinct[window.last_fired == 16].tolist() == [75] * int((window.last_fired == 16).sum())
    assert healthy.last_fired.max() == 54
    # Everything above a silent layer is one constant.
    assert ensemble.failed[1] == Failure(FailureKind.CONSTANT_OUTPUT)
    assert ensemble.failed[0] is None
    assert np.isnan(window.delta).sum() == 0
    assert window.delta[-1] == 0
    assert (window.silent_distinct == 75).all()
    assert not (healthy.silent_distinct == 75).all()
    assert last.cost.interval == 2


def test_dead_under_relu_is_not_dead_under_leaky_relu():
    data, draws = digits(), draws_for(0, 3)
    network, recipe = Network(64, 20, 8, 10), Recipe(epochs=1)
    dead, leaky = (
        train_observed(data, network, recipe, parse(spec), draws, observe_every=0).observer.dead_fraction()
        for spec in ("relu", "leaky_relu:0.1")
    )
    assert (dead > 0.05).all()
    assert leaky.tolist() == [0, 0, 0]


def test_numbers_that_are_none_are_a_divergence_of_that_member_only(monkeypatch):
    data, draws = small_data(), draws_for(3, 3)
    real_step = torch.optim.Adam.step
    taken = []

    def step(self, *args, **kwargs):
        result = real_step(self, *args, **kwargs)
        taken.append(None)
        if len(taken) == 8:
            with torch.no_grad():
                self.param_groups[0]["params"][0][2] = torch.nan
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    ensemble = train_observed(data, NETWORK, RECIPE, parse("relu"), draws, observe_every=3)
    assert ensemble.failed == (None, None, Failure(FailureKind.DIVERGED))
    assert [window.nonfinite_step for window in ensemble.process(2).snapshots[1].windows] == [9] * 5
    assert [window.nonfinite_step for window in ensemble.process(1).snapshots[1].windows] == [None] * 5


def test_digits_are_split_once_and_for_all():
    data = digits()
    assert (data.train_inputs.shape, data.test_inputs.shape) == ((1400, 64), (397, 64))
    assert (data.train_inputs.dtype, data.train_labels.dtype) == (np.float32, np.int64)
    assert (data.train_inputs.min(), data.train_inputs.max()) == (0, 1)
    assert np.bincount(data.train_labels).sum() == 1400
    assert set(data.test_labels) == set(range(10))
    again = digits()
    assert np.array_equal(data.train_inputs, again.train_inputs)
    # The first labels of the split, so that a change of the order cannot pass unnoticed.
    assert data.train_labels[:8].tolist() == [2, 8, 2, 6, 6, 7, 1, 9]
    assert float(data.train_inputs.sum(dtype=np.float64)) + float(data.test_inputs.sum(dtype=np.float64)) == 35107.375


def test_missing_data_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(MissingData, match=r"python -m pip install 'rectifier\[demo\]'"):
        digits()
