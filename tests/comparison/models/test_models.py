"""`rectifier.compare_models`: the same record both ways, its failures, its analyses, and what is told of misuse."""

import itertools
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD

import rectifier
from rectifier.comparison.models import ensemble
from rectifier.comparison.models.ensemble import train_together
from rectifier.errors import NothingToCompare, UnknownActivation
from rectifier.records import Failure, FailureKind
from tests.comparison.models.test_ensemble import kept_stream as kept_stream
from tests.comparison.models.test_ensemble import mlp, task


def test_only_the_arm_that_cannot_be_stacked_is_trained_one_by_one(monkeypatch):
    tried = []

    def other_than_the_arm(task, arm, draws, *, steps=None):
        tried.append((arm, len(draws)))
        return train_together(task, "gelu" if arm == "elu:1.0" else arm, draws, steps=steps)

    monkeypatch.setattr(ensemble, "train_together", other_than_the_arm)
    given = task()
    data = given.inputs, given.targets, given.test_inputs, given.test_targets
    found = rectifier.compare_models(mlp, data, arms=["leaky_relu:0.3", "elu"], seeds=3, epochs=1, batch_size=25)
    assert tried == [("baseline", 2), ("leaky_relu:0.3", 2), ("elu:1.0", 2), ("placebo", 2)]
    how = {arm: found.settings[f"trained, {arm}"] for arm in ("baseline", "leaky_relu:0.3", "elu:1.0", "placebo")}
    assert how.pop("elu:1.0") == "one by one (stacked, the first steps differ from those of a single training)"
    assert set(how.values()) == {"together"}


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
    assert arms == ["baseline", "leaky_relu:0.3", "elu:1.0", "placebo"] * 2
    for other in found[1:]:
        assert [row.arm for row in other.arms] == [row.arm for row in found[0].arms]
        for one, same in zip(found[0].trials, other.trials, strict=True):
            assert (one.arm, one.seed) == (same.arm, same.seed)
            assert one.metric == pytest.approx(same.metric, abs=2 / 13)
    assert found[0].settings["trained, baseline"] == "together"
    assert found[1].settings["trained, baseline"] == "one by one (as asked)"
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
    assert {trial.failed for trial in found.trials if trial.arm == "baseline"} == {Failure(FailureKind.CONSTANT_OUTPUT)}
    wild = rectifier.compare_models(
        mlp, data, arms=["elu"], seeds=2, epochs=3, batch_size=25, optimizer=partial(SGD, lr=1e18)
    )
    assert {trial.failed for trial in wild.trials if trial.arm == "baseline"} == {Failure(FailureKind.DIVERGED)}


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


def test_with_analyses_seeds_come_in_batches_and_decided_arms_are_trained_no_more():
    given, told = task(optimizer=partial(SGD, lr=0.1)), []
    score = itertools.count()

    def better_where_it_is_leaky(predicted, labels):
        return 0.5 + 0.4 * (told == ["baseline"]) + (next(score) * 7919 % 13) / 100

    data = given.inputs, given.targets, given.test_inputs, given.test_targets
    found = rectifier.compare_models(
        mlp, data, arms=["leaky_relu:0.3", "elu"], seeds=11, interim=[9, 11], epochs=1, batch_size=25, together=False,
        score=better_where_it_is_leaky, on_arm=told.append,
    )  # fmt: skip
    assert told == ["baseline", "leaky_relu:0.3", "elu:1.0", "placebo", "baseline", "elu:1.0", "placebo"]
    assert [(arm.arm, arm.n, arm.stopped_at) for arm in found.arms[1:3]] == [
        ("leaky_relu:0.3", 9, 9),
        ("elu:1.0", 11, None),
    ]
    assert sorted({trial.seed for trial in found.trials if trial.arm == "elu:1.0"}) == list(range(11))
    # The second batch is that of other seeds, not of the first ones again.
    prints = [trial.fingerprint for trial in found.trials if trial.arm == "baseline"]
    assert len(set(prints)) == 11
    with pytest.raises(NothingToCompare, match="could find nothing"):
        rectifier.compare_models(mlp, data, arms=["elu"], seeds=11, interim=[5, 11])
