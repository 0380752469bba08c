"""Networks trained together are those trained alone, and what cannot be trained together is not."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

import rectifier
from rectifier.errors import NothingToCompare, UnknownActivation
from rectifier.study import models
from rectifier.study.ensemble import Recipe, draws_for


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
    return models.Task(
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
    [(mlp, "as is"), (mlp, "prelu:0.25"), (Residual, "as is"), (Residual, "leaky_relu:0.1"), (cnn, "gelu")],
)
def test_each_member_equals_its_own_single_training(build, arm):
    draws = draws_for(3, 3)
    together, alone = (way(task(build), arm, draws) for way in (models.train_together, models.train_alone))
    assert together.losses.shape == (55, 3)
    assert_same_runs(together, alone)
    torch.testing.assert_close(together.outputs, alone.outputs, rtol=1e-2, atol=1e-3)
    # The same comparison notices another member and another activation.
    with pytest.raises(AssertionError):
        assert_same_runs(together, models.train_alone(task(build), arm, [draws[1], *draws[1:]]))
    with pytest.raises(AssertionError):
        assert_same_runs(together, models.train_alone(task(build), "leaky_relu:0.12", draws))


def test_sgd_with_momentum_is_the_same_too():
    plain = task(Residual, partial(SGD, lr=0.05, momentum=0.9))
    draws = draws_for(1, 3)
    assert_same_runs(models.train_together(plain, "as is", draws), models.train_alone(plain, "as is", draws))


def with_dropout():
    return nn.Sequential(nn.Linear(11, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 3))


class WholeNorm(SGD):
    """Scales all gradients by their common norm: no member is by itself any more."""

    def step(self, closure=None):
        nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.01)
        return super().step(closure)


@pytest.mark.parametrize(
    ("unfit", "why"),
    [
        (task(with_dropout), "cannot be stacked"),
        (task(optimizer=partial(WholeNorm, lr=5.0)), "differ from those of a single training"),
    ],
)
def test_what_would_not_be_the_same_training_is_done_one_by_one(unfit, why):
    way, reason = models.choose(unfit, "as is", draws_for(0, 4))
    assert way == "one by one"
    assert why in reason


def test_both_ways_give_the_same_record_and_the_random_stream_is_kept():
    data = [getattr(task(), name) for name in ("inputs", "targets", "test_inputs", "test_targets")]
    before, arms = torch.get_rng_state(), []
    found = [
        rectifier.compare_models(
            mlp, data, arms=["leaky_relu:0.3", "elu"], seeds=4, epochs=3, batch_size=7, together=way, on_arm=arms.append
        )
        for way in (True, False, None)
    ]
    assert torch.equal(before, torch.get_rng_state())
    assert arms == ["as is", "leaky_relu:0.3", "elu:1.0", "placebo"] * 3
    for other in found[1:]:
        assert [row.arm for row in other.arms] == [row.arm for row in found[0].arms]
        for one, same in zip(found[0].trials, other.trials, strict=True):
            assert (one.arm, one.seed) == (same.arm, same.seed)
            assert one.metric == pytest.approx(same.metric, abs=2 / 13)
    assert found[0].settings["trained, as is"] == "together (as asked)"
    assert found[0].smallest_n == 8
    # Paired: the baseline and an arm begin alike, the placebo does not.
    assert len({trial.fingerprint for trial in found[0].trials}) == 16


def test_a_collapsed_member_and_a_diverged_one_are_failures():
    def dying():
        model = mlp()
        nn.init.constant_(model[2].bias, -1e3)
        return model

    data = [getattr(task(), name) for name in ("inputs", "targets", "test_inputs", "test_targets")]
    found = rectifier.compare_models(dying, data, arms=["leaky_relu:0.3"], seeds=3, epochs=1, batch_size=25)
    assert {trial.failed for trial in found.trials if trial.arm == "as is"} == {"constant output"}
    wild = rectifier.compare_models(
        mlp, data, arms=["elu"], seeds=2, epochs=3, batch_size=25, optimizer=partial(SGD, lr=1e18)
    )
    assert {trial.failed for trial in wild.trials if trial.arm == "as is"} == {"diverged"}


def test_misuse_is_told_in_one_sentence():
    data = [getattr(task(), name) for name in ("inputs", "targets", "test_inputs", "test_targets")]
    with pytest.raises(NothingToCompare, match="0 inputs and 75 targets"):
        rectifier.compare_models(mlp, (data[0][:0], *data[1:]))
    with pytest.raises(NothingToCompare, match="nothing but relu"):
        rectifier.compare_models(mlp, data, arms=["relu"])
    with pytest.raises(UnknownActivation):
        rectifier.compare_models(mlp, data, arms=["half-lr"])
    with pytest.raises(NothingToCompare, match="--maximize or --minimize"):
        rectifier.compare_models(mlp, data, metric="quality")
