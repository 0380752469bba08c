"""Networks trained together are those trained alone, and what cannot be trained together is not."""

import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from rectifier.comparison.models import compare as models
from rectifier.comparison.models import ensemble
from rectifier.comparison.models.draws import Recipe, draws_for
from rectifier.comparison.models.ensemble import refusal, train_alone, train_together


def mlp():
    return nn.Sequential(nn.Linear(11, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))


class Residual(nn.Module):
    """No chain: a skip, a norm, a functional call, and a linear layer without bias."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(11, 7), nn.Linear(7, 7, bias=False), nn.LayerNorm(7)
        self.head = nn.Linear(7, 3)

    def forward(self, inputs):
        hidden = torch.relu(self.first(inputs))
        return self.head(hidden + torch.relu(self.second(self.norm(hidden))))


def cnn():
    return nn.Sequential(nn.Unflatten(-1, (1, 11)), nn.Conv1d(1, 3, 4), nn.ReLU(), nn.Flatten(-2), nn.Linear(24, 3))


def task(build=mlp, optimizer=partial(Adam, lr=5e-3), samples=75):  # noqa: B008
    draws = np.random.default_rng(4)
    inputs = torch.from_numpy(draws.normal(size=(samples + 13, 11)).astype(np.float32))
    labels = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0)
    return ensemble.Task(
        build=build,
        inputs=inputs[:samples],
        targets=labels[:samples],
        test_inputs=inputs[samples:],
        test_targets=labels[samples:],
        recipe=Recipe(epochs=5, batch_size=7),
        optimizer=optimizer,
        loss=nn.functional.cross_entropy,
        score=models.accuracy,
    )


def assert_same_runs(one, other, steps=50):
    torch.testing.assert_close(one.losses[:steps], other.losses[:steps], rtol=2e-4, atol=1e-6)


@pytest.fixture(autouse=True)
def kept_stream():
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize(
    ("build", "arm"),
    [(mlp, "baseline"), (mlp, "prelu:0.25"), (Residual, "baseline"), (Residual, "leaky_relu:0.1"), (cnn, "gelu")],
)
def test_each_member_equals_its_own_single_training(build, arm):
    draws = draws_for(3, 3)
    together, alone = (way(task(build), arm, draws) for way in (train_together, train_alone))
    assert together.losses.shape == (55, 3)
    assert_same_runs(together, alone)
    torch.testing.assert_close(together.outputs, alone.outputs, rtol=1e-2, atol=1e-3)
    # The same comparison notices another member and another activation.
    with pytest.raises(AssertionError):
        assert_same_runs(together, train_alone(task(build), arm, [draws[1], *draws[1:]]))
    with pytest.raises(AssertionError):
        assert_same_runs(together, train_alone(task(build), "leaky_relu:0.12", draws))


def test_sgd_with_momentum_is_the_same_too():
    plain = task(Residual, partial(SGD, lr=0.05, momentum=0.9))
    draws = draws_for(1, 3)
    assert_same_runs(train_together(plain, "baseline", draws), train_alone(plain, "baseline", draws))


def with_dropout():
    return nn.Sequential(nn.Linear(11, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 3))


class WholeNorm(SGD):
    """Scales all gradients by their common norm: no member is by itself any more."""

    def step(self, closure=None):
        nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.01)
        return super().step(closure)


def tied():
    """The second layer has the first one's bias."""
    model = nn.Sequential(nn.Linear(11, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 3))
    model[2].bias = model[0].bias
    return model


@pytest.mark.parametrize(
    ("unfit", "why"),
    [
        (task(with_dropout), "cannot be stacked: "),
        (task(tied), "cannot be stacked: "),
        (task(optimizer=partial(WholeNorm, lr=5.0)), "differ from those of a single training"),
    ],
)
def test_what_would_not_be_the_same_training_is_done_one_by_one(unfit, why):
    assert why in refusal(unfit, "baseline", draws_for(0, 4))


@pytest.mark.parametrize("members", [4, 9])
@pytest.mark.parametrize("build", [mlp, Residual])
def test_on_several_threads_each_member_is_the_same_and_the_number_of_threads_is_kept(build, members):
    before = torch.get_num_threads()
    draws, given = draws_for(3, members), task(build)
    torch.set_num_threads(2)
    try:
        parts = train_together(given, "elu:0.7", draws)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert parts.losses.shape == (55, members)
    alone = train_alone(given, "elu:0.7", draws)
    assert_same_runs(parts, alone)
    torch.testing.assert_close(parts.outputs, alone.outputs, rtol=1e-2, atol=1e-3)


def test_what_goes_wrong_on_the_last_thread_ends_the_others_and_is_told():
    calls, threads = {}, torch.get_num_threads()

    def loss(predicted, targets):
        name = threading.current_thread().name
        calls[name] = calls.get(name, 0) + 1
        if name.endswith("_1") and calls[name] == 20:
            raise ZeroDivisionError("on the way")
        return nn.functional.cross_entropy(predicted, targets)

    long = replace(task(), loss=loss, recipe=Recipe(epochs=10_000, batch_size=7))
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError, match="on the way"):
            train_together(long, "baseline", draws_for(0, 8))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert len(calls) == 2
    assert max(calls.values()) < 20_000, "of 110,000 steps"


def chain(*layers):
    return lambda: nn.Sequential(nn.Linear(11, 7), *(make() for make in layers), nn.Linear(7, 3))


def hooked():
    model = mlp()
    model[1].register_forward_hook(lambda module, inputs, output: output * 0.5)
    return model


def inplace_first():
    return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(11, 7), nn.ReLU(inplace=True), nn.Linear(7, 3))


@pytest.mark.parametrize(
    "build",
    [
        chain(nn.Tanh, nn.ReLU), chain(nn.Sigmoid, nn.ReLU), chain(nn.ReLU, nn.ReLU), chain(nn.ReLU, nn.ELU),
        hooked, inplace_first,
    ],
)  # fmt: skip
@pytest.mark.parametrize("arm", ["baseline", "leaky_relu:0.2"])
def test_unusual_chains_are_trained_as_they_would_be_alone(build, arm):
    draws, given = draws_for(3, 3), task(build)
    one, other = train_together(given, arm, draws), train_alone(given, arm, draws)
    assert_same_runs(one, other)
    torch.testing.assert_close(one.outputs, other.outputs, rtol=1e-2, atol=1e-3)


def test_targets_that_are_left_out_are_left_out_of_the_mean():
    given = task()
    targets = given.targets.clone()
    targets[::9] = -100
    left_out, draws = replace(given, targets=targets), draws_for(3, 3)
    assert_same_runs(train_together(left_out, "baseline", draws), train_alone(left_out, "baseline", draws))


def test_an_optimizer_that_analyses_at_shapes_is_refused():
    def by_shape(parameters):
        parameters = list(parameters)
        groups = [[p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() < 2]]
        return SGD([{"params": group, "weight_decay": 0.1 * (not number)} for number, group in enumerate(groups)], 0.1)

    unfit, draws = task(optimizer=by_shape), draws_for(0, 4)
    with pytest.raises(RuntimeError, match="looks at their shapes"):
        train_together(unfit, "baseline", draws)
    assert "looks at their shapes" in refusal(unfit, "baseline", draws)


def test_a_model_that_refuses_without_a_word_is_trained_one_by_one():
    class Mute(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(11, 3)

        def forward(self, inputs):
            if torch._C._are_functorch_transforms_active():
                raise ValueError
            return torch.relu(self.layer(inputs))

    assert "cannot be stacked: ValueError" in refusal(task(Mute), "baseline", draws_for(0, 2))
