"""Networks trained together are those trained alone, and what cannot be trained together is not."""

import itertools
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

import rectifier
from rectifier.errors import NothingToCompare, UnknownActivation
from rectifier.records import Failure, FailureKind
from rectifier.study import ensemble, models
from rectifier.study.draws import Recipe, draws_for
from rectifier.study.ensemble import refusal, train_alone, train_together


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
    [(mlp, "as is"), (mlp, "prelu:0.25"), (Residual, "as is"), (Residual, "leaky_relu:0.1"), (cnn, "gelu")],
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
    assert_same_runs(train_together(plain, "as is", draws), train_alone(plain, "as is", draws))


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
    assert why in refusal(unfit, "as is", draws_for(0, 4))


def test_only_the_arm_that_cannot_be_stacked_is_trained_one_by_one(monkeypatch):
    tried = []

    def other_than_the_arm(task, arm, draws, *, steps=None):
        tried.append((arm, len(draws)))
        return train_together(task, "gelu" if arm == "elu:1.0" else arm, draws, steps=steps)

    monkeypatch.setattr(ensemble, "train_together", other_than_the_arm)
    given = task()
    data = given.inputs, given.targets, given.test_inputs, given.test_targets
    found = rectifier.compare_models(mlp, data, arms=["leaky_relu:0.3", "elu"], seeds=3, epochs=1, batch_size=25)
    assert tried == [("as is", 2), ("leaky_relu:0.3", 2), ("elu:1.0", 2), ("placebo", 2)]
    how = {arm: found.settings[f"trained, {arm}"] for arm in ("as is", "leaky_relu:0.3", "elu:1.0", "placebo")}
    assert how.pop("elu:1.0") == "one by one (stacked, the first steps differ from those of a single training)"
    assert set(how.values()) == {"together"}


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
            train_together(long, "as is", draws_for(0, 8))
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
@pytest.mark.parametrize("arm", ["as is", "leaky_relu:0.2"])
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
    assert_same_runs(train_together(left_out, "as is", draws), train_alone(left_out, "as is", draws))


def test_an_optimizer_that_looks_at_shapes_is_refused():
    def by_shape(parameters):
        parameters = list(parameters)
        groups = [[p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() < 2]]
        return SGD([{"params": group, "weight_decay": 0.1 * (not number)} for number, group in enumerate(groups)], 0.1)

    unfit, draws = task(optimizer=by_shape), draws_for(0, 4)
    with pytest.raises(RuntimeError, match="looks at their shapes"):
        train_together(unfit, "as is", draws)
    assert "looks at their shapes" in refusal(unfit, "as is", draws)


def test_a_model_that_refuses_without_a_word_is_trained_one_by_one():
    class Mute(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(11, 3)

        def forward(self, inputs):
            if torch._C._are_functorch_transforms_active():
                raise ValueError
            return torch.relu(self.layer(inputs))

    assert "cannot be stacked: ValueError" in refusal(task(Mute), "as is", draws_for(0, 2))


def test_both_ways_give_the_same_record_and_the_random_stream_is_kept():
    data = [getattr(task(), name) for name in ("inputs", "targets", "test_inputs", "test_targets")]
    before, arms = torch.get_rng_state(), []
    found = [
        rectifier.compare_models(
            mlp, data, arms=["leaky_relu:0.3", "elu"], seeds=4, epochs=3, batch_size=7, together=way, on_arm=arms.append
        )
        for way in (True, False)
    ]
    assert torch.equal(before, torch.get_rng_state())
    assert arms == ["as is", "leaky_relu:0.3", "elu:1.0", "placebo"] * 2
    for other in found[1:]:
        assert [row.arm for row in other.arms] == [row.arm for row in found[0].arms]
        for one, same in zip(found[0].trials, other.trials, strict=True):
            assert (one.arm, one.seed) == (same.arm, same.seed)
            assert one.metric == pytest.approx(same.metric, abs=2 / 13)
    assert found[0].settings["trained, as is"] == "together"
    assert found[1].settings["trained, as is"] == "one by one (as asked)"
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
    assert {trial.failed for trial in found.trials if trial.arm == "as is"} == {Failure(FailureKind.CONSTANT_OUTPUT)}
    wild = rectifier.compare_models(
        mlp, data, arms=["elu"], seeds=2, epochs=3, batch_size=25, optimizer=partial(SGD, lr=1e18)
    )
    assert {trial.failed for trial in wild.trials if trial.arm == "as is"} == {Failure(FailureKind.DIVERGED)}


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


def test_with_looks_seeds_come_in_batches_and_settled_arms_are_trained_no_more():
    given, told = task(optimizer=partial(SGD, lr=0.1)), []
    score = itertools.count()

    def better_where_it_is_leaky(predicted, labels):
        return 0.5 + 0.4 * (told == ["as is"]) + (next(score) * 7919 % 13) / 100

    data = given.inputs, given.targets, given.test_inputs, given.test_targets
    found = rectifier.compare_models(
        mlp, data, arms=["leaky_relu:0.3", "elu"], seeds=11, looks=[9, 11], epochs=1, batch_size=25, together=False,
        score=better_where_it_is_leaky, on_arm=told.append,
    )  # fmt: skip
    assert told == ["as is", "leaky_relu:0.3", "elu:1.0", "placebo", "as is", "elu:1.0", "placebo"]
    assert [(arm.arm, arm.n, arm.stopped_at) for arm in found.arms[1:3]] == [
        ("leaky_relu:0.3", 9, 9),
        ("elu:1.0", 11, None),
    ]
    assert sorted({trial.seed for trial in found.trials if trial.arm == "elu:1.0"}) == list(range(11))
    # The second batch is that of other seeds, not of the first ones again.
    prints = [trial.fingerprint for trial in found.trials if trial.arm == "as is"]
    assert len(set(prints)) == 11
    with pytest.raises(NothingToCompare, match="could find nothing"):
        rectifier.compare_models(mlp, data, arms=["elu"], seeds=11, looks=[5, 11])
