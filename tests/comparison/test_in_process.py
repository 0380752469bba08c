"""`rectifier.compare` on a function: paired, seeded, undone, and honest about what a function did."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_pre_hooks

import rectifier
from rectifier.errors import NothingToCompare, UnknownActivation
from rectifier.monitor.training.steps.schedule import Sampling, Schedule
from rectifier.records import Failure, FailureKind

INPUTS = torch.linspace(-2, 2, 33)[:, None]


def train(seed, *, steps=25, seen=None):
    model = nn.Sequential(nn.Linear(1, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    if seen is not None:
        streams = (model[0].weight.sum().item(), random.random(), np.random.rand())
        seen.append((seed, type(model[1]).__name__, streams, torch.rand(1).item()))
    for _ in range(steps):
        loss = (model(INPUTS) - INPUTS.abs()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_trainings_are_paired_and_the_placebo_is_not():
    seen, told = [], []
    found = rectifier.compare(
        lambda seed: train(seed, seen=seen),
        arms="leaky_relu:0.3,half-lr",
        seeds=3,
        metric="final_loss",
        on_trial=told.append,
    )
    kinds = [kind for _, kind, _, _ in seen]
    assert kinds == ["ReLU", "LeakyReLU", "ReLU", "ReLU"] * 3
    for first in range(0, 12, 4):
        as_is, arm, half, placebo = (entry[2:] for entry in seen[first : first + 4])
        assert as_is == arm == half != placebo
    assert len({entry[2] for entry in seen}) == 6
    assert [(trial.arm, trial.seed) for trial in told[:5]] == [
        ("baseline", 0), ("leaky_relu:0.3", 0), ("half-lr", 0), ("placebo", 0), ("baseline", 1),
    ]  # fmt: skip
    metrics = {(trial.arm, trial.seed): trial.metric for trial in found.trials}
    torch.manual_seed(1)
    assert metrics["baseline", 1] == train(1), "the baseline is the training itself, to the bit"
    assert all(trial.dead_fraction is not None for trial in found.trials)
    assert found.metric == "final_loss"
    assert not found.higher_is_better
    assert found.settings["metric"] == "final_loss, as returned"
    assert "--" not in " ".join([*found.notes, *found.settings.values()]), "nobody typed a command"


def test_nothing_is_left_behind():
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    relu, hooks = torch.relu, dict(_global_optimizer_pre_hooks)
    with pytest.raises(ZeroDivisionError):
        rectifier.compare(lambda seed: 1 / 0, arms=["elu", "half-lr"], seeds=2)
    rectifier.compare(train, arms=["elu", "half-lr"], seeds=1, metric="loss")
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert before == after
    assert torch.relu is relu
    assert dict(_global_optimizer_pre_hooks) == hooks
    assert type(nn.Sequential(nn.ReLU())[0]) is nn.ReLU


def test_an_arm_that_breaks_the_training_fails_and_the_loss_stands_for_nothing_returned():
    def breaks(seed):
        model = nn.Sequential(nn.Linear(1, 5), nn.ReLU())
        if not isinstance(model[1], nn.ReLU):
            raise RuntimeError("no such kernel\nsecond line")
        train(seed)

    found = rectifier.compare(breaks, arms=["elu"], seeds=2)
    outcomes = {(trial.arm, trial.failed) for trial in found.trials}
    assert outcomes == {
        ("baseline", None),
        ("elu:1.0", Failure(FailureKind.RAISED, "RuntimeError: no such kernel")),
        ("placebo", None),
    }
    assert found.metric == "training loss"
    assert "the loss that the function back-propagates" in found.notes[0]
    torch.manual_seed(0)
    nn.Linear(1, 5)  # drawn by the function before
    ended = train(0)
    assert ended < found.trials[0].metric < 1.5 * ended, "the mean of the last tenth of the losses"


def test_the_dead_share_does_not_depend_on_how_busy_the_machine_is(monkeypatch):
    """Two of five units die late; under a budget, a machine that interrupts us would not look again."""

    def loses_two(seed):
        model = nn.Sequential(nn.Linear(1, 5), nn.ReLU(), nn.Linear(5, 1))
        nn.init.constant_(model[0].bias, 3.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        for step in range(1400):
            if step == 1200:
                with torch.no_grad():
                    model[0].bias[:2] = -9.0
            loss = (model(INPUTS) - INPUTS.abs()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    def dead_share():
        (trial, *_) = rectifier.compare(loses_two, arms=["half-lr"], seeds=1, metric="loss").trials
        return trial.dead_fraction

    assert dead_share() == pytest.approx(0.4)
    spent = Schedule.spent

    def interrupted(self, sampling, steps, training_seconds):
        self.watching_seconds += 60.0 if sampling is Sampling.LIGHT else 0.0
        spent(self, sampling, steps, training_seconds)

    monkeypatch.setattr(Schedule, "spent", interrupted)
    assert dead_share() == pytest.approx(0.4)


def test_a_training_that_gets_nowhere_is_a_failure_with_a_metric():
    def stands_still(seed):
        weight = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=1e-9)
        for _ in range(30):
            loss = (weight - 1).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    found = rectifier.compare(stands_still, arms=["elu"], seeds=1, metric="loss")
    assert {trial.failed for trial in found.trials} == {Failure(FailureKind.NO_PROGRESS)}
    assert all(trial.metric == pytest.approx(1.0) for trial in found.trials)


@pytest.mark.parametrize(
    ("function", "options", "error", "text"),
    [
        (lambda seed: {"loss": 1}, {"metric": "loss"}, NothingToCompare, "returned a dict"),
        (lambda seed: torch.ones(3), {"metric": "loss"}, NothingToCompare, "returned a Tensor"),
        (lambda seed: 0.93, {}, NothingToCompare, "returned 0.93; say what that is"),
        (lambda seed: None, {"metric": "test_accuracy"}, NothingToCompare, "so there is no test_accuracy"),
        (train, {"seeds": 0}, NothingToCompare, "at least one seed"),
        (lambda seed: None, {}, NothingToCompare, "no loss was seen"),
        (train, {"arms": ["relu"]}, NothingToCompare, "names nothing but the script as it is"),
        (train, {"arms": ["rescale"]}, NothingToCompare, r"rectifier\.rescale\(model, batch\)"),
        (train, {"arms": ["rleu"]}, UnknownActivation, "rleu"),
        (train, {"metric": "thing"}, NothingToCompare, "say --maximize or --minimize"),
    ],
)
def test_misuse_is_told(function, options, error, text):
    with pytest.raises(error, match=text):
        rectifier.compare(function, **{"seeds": 1, "arms": ["elu"], **options})


def test_seeds_that_change_nothing_are_told_in_words_for_a_function():
    def always_the_same(seed):
        torch.manual_seed(3)
        return train(seed)

    found = rectifier.compare(always_the_same, arms="elu", seeds=2, metric="loss")
    assert any("let it use the seed that it is given" in note for note in found.notes)
    assert not any("train.py" in note for note in found.notes)


def test_an_arm_that_an_analysis_decides_is_called_no_more():
    calls = []

    def scored(seed):
        arm = type(nn.Sequential(nn.ReLU())[0]).__name__
        calls.append((arm, seed))
        return 0.5 + 0.4 * (arm == "LeakyReLU") + (seed * 7919 % 13) / 100 + 0.01 * (seed % 3 - 1) * (arm == "ELU")

    found = rectifier.compare(
        scored, arms=["leaky_relu:0.3", "elu"], seeds=11, interim=[9, 11], metric="accuracy", higher_is_better=True
    )
    assert [(arm.arm, arm.n, arm.stopped_at) for arm in found.arms[1:3]] == [
        ("leaky_relu:0.3", 9, 9),
        ("elu:1.0", 11, None),
    ]
    assert [arm.verdict for arm in found.arms[1:3]] == ["helped", "undecided"]
    assert sum(arm == "LeakyReLU" for arm, _ in calls) == 9
    with pytest.raises(NothingToCompare, match="an analysis at 5 of 11 seeds could find nothing"):
        rectifier.compare(scored, arms=["elu"], seeds=11, interim=[5], metric="accuracy", higher_is_better=True)
