"""What is asked: arms, directions, summaries, and keys that name exactly what could change an outcome."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rectifier.comparison.metric import higher_is_better, metric_of, printed_values, summarise
from rectifier.comparison.question import BASELINE, PLACEBO, Question, arms_from, script_digest
from rectifier.errors import NothingToCompare, UnknownActivation
from rectifier.records import Failure, FailureKind, Trial

QUESTION = Question(
    command=("train.py", "--out", "{trial_dir}/model.pt", "--seed={seed}", "--format", "{x}"),
    script="abc",
    arms=("leaky_relu:0.1", "elu:1.0"),
    seeds=3,
    metric="loss",
    summary="last-tenth",
    higher_is_better=False,
    margin=None,
    threads=1,
)


def test_plan_is_paired_seed_by_seed_and_the_placebo_draws_other_numbers():
    plan = list(QUESTION.plan())
    assert [(spec.arm, spec.seed) for spec in plan[:5]] == [
        (BASELINE, 0),
        ("leaky_relu:0.1", 0),
        ("elu:1.0", 0),
        (PLACEBO, 0),
        (BASELINE, 1),
    ]
    assert len(plan) == 12
    assert [spec.swap for spec in plan[:4]] == [(), ("relu=leaky_relu:0.1",), ("relu=elu:1.0",), ()]
    drawn = {arm: {spec.drawn for spec in plan if spec.arm == arm} for arm in (BASELINE, "elu:1.0", PLACEBO)}
    assert drawn[BASELINE] == drawn["elu:1.0"] == {0, 1, 2}
    assert not drawn[BASELINE] & drawn[PLACEBO]
    assert len({spec.key for spec in plan}) == 12


def test_placeholders_are_replaced_and_other_braces_stay():
    spec = list(QUESTION.plan())[4]
    assert spec.arguments(Path("/t")) == ("train.py", "--out", "/t/model.pt", "--seed=1", "--format", "{x}")
    assert spec.takes_seed
    assert not replace(spec, command=("train.py", "--seed", "3")).takes_seed


def test_a_key_changes_with_everything_that_could_change_the_outcome_and_with_nothing_else():
    spec = next(QUESTION.plan())
    # Written down: a study of today must be continued by the version of tomorrow.
    assert spec.key == "ad66687799a531bce0a6400e3659a74d9aaa67d986c5814e4118725cf2ab7d95"
    changed = [
        replace(spec, command=("train.py",)),
        replace(spec, script="abd"),
        replace(spec, arm="x"),
        replace(spec, swap=("relu=gelu",)),
        replace(spec, seed=1),
        replace(spec, drawn=1),
        replace(spec, threads=2),
        replace(spec, learning_rate=0.5),
        replace(spec, rescale=True),
        replace(spec, max_steps=3),
    ]
    assert len({spec.key, *(other.key for other in changed)}) == 11
    same = replace(QUESTION, seeds=9, arms=("gelu", "elu:1.0"), metric="accuracy", margin=0.1)
    assert next(same.plan()).key == spec.key


def test_arms_are_read_into_one_spelling():
    assert arms_from("LeakyReLU:0.10, elu,relu,elu:1") == ("leaky_relu:0.1", "elu:1.0")
    with pytest.raises(NothingToCompare, match="nothing but the script as it is"):
        arms_from("relu")
    with pytest.raises(UnknownActivation, match="leaky_relu"):
        arms_from("leaky_rleu:0.1")


@pytest.mark.parametrize("name", ["val_accuracy", "Acc@1", "valAcc", "test/F1", "mean_reward", "AUC"])
def test_higher(name):
    assert higher_is_better(name) is True


@pytest.mark.parametrize("name", ["loss", "val_loss", "trainLoss", "top1-error", "perplexity", "RMSE"])
def test_lower(name):
    assert higher_is_better(name) is False


@pytest.mark.parametrize("name", ["quality", "speed", "loss_score", ""])
def test_a_name_that_does_not_tell_asks(name):
    with pytest.raises(NothingToCompare, match="--maximize or --minimize"):
        higher_is_better(name)


def test_summaries():
    values = np.array([5.0, 1.0, 4.0, 3.0, 2.0, 9.0, 8.0, 7.0, 6.0, 10.0, 12.0])
    assert summarise(values, "final", higher=True) == 12
    assert summarise(values, "best", higher=True) == 12
    assert summarise(values, "best", higher=False) == 1
    assert summarise(values, "last-tenth", higher=True) == 11
    assert summarise(values[:1], "last-tenth", higher=True) == 5
    broken = np.append(values, math.nan)
    assert math.isnan(summarise(broken, "final", higher=True))
    assert math.isnan(summarise(broken, "last-tenth", higher=True))
    assert summarise(broken, "best", higher=True) == 12
    assert math.isnan(summarise(broken[-1:], "best", higher=True))


def test_the_script_is_known_by_its_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.py"
    script.write_text("1")
    first = script_digest(["train.py", "--x"])
    script.write_text("2")
    assert first != script_digest(["train.py"])
    assert script_digest(["-m", "package"]) is None
    with pytest.raises(NothingToCompare, match=r"absent\.py cannot be read"):
        script_digest(["absent.py"])
    with pytest.raises(NothingToCompare, match="no script was given"):
        script_digest([])


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("test accuracy ([0-9.]+)", "test accuracy"),
        (r"\bval_loss\s*[:=]\s*(\S+)", "val_loss"),
        (r"(\d+) %", "value"),
        (r"epoch \d+: loss (?:is )?(\d+)", "epoch loss"),
    ],
)
def test_a_pattern_names_its_metric(pattern, name):
    assert metric_of(pattern) == name


@pytest.mark.parametrize(
    ("pattern", "reason"), [("acc (", "no regular expression"), ("acc", "has 0 groups"), ("(a)(b)", "has 2 groups")]
)
def test_a_pattern_that_can_find_no_number_is_told(pattern, reason):
    with pytest.raises(NothingToCompare, match=reason):
        metric_of(pattern)


def test_what_was_printed_is_read_to_the_last_line():
    text = "loss 3\nacc nan\nacc 1e-3\racc -2.5 acc: 9\nacc six\nno acc 7"
    values = printed_values(r"acc (\S+)", text)
    assert math.isnan(values[0])
    assert values[1:].tolist() == [0.001, -2.5, 7.0]
    assert printed_values(r"^acc (\S+)$", "acc 1\nx acc 2\nacc 3").tolist() == [1.0, 3.0]
    assert printed_values("acc( .)?", "acc").tolist() == []


def test_the_competitors_leave_the_activation_and_a_restart_costs_no_training():
    asked = replace(QUESTION, arms=arms_from("half-lr,elu,rescale,restart"))
    assert asked.arms == ("half-lr", "elu:1.0", "rescale", "restart")
    plan = [spec for spec in asked.plan() if spec.seed == 0]
    assert [(spec.arm, spec.swap, spec.learning_rate) for spec in plan] == [
        (BASELINE, (), 1.0), ("half-lr", (), 0.5), ("elu:1.0", ("relu=elu:1.0",), 1.0), ("rescale", (), 1.0),
        (PLACEBO, (), 1.0),
    ]  # fmt: skip
    assert [spec.arm for spec in plan if spec.rescale] == ["rescale"]


def test_changes_of_explain_are_arms_that_leave_the_activation():
    asked = replace(QUESTION, arms=arms_from("weight_decay_off,elu,loss_term_off:01,guard_operation:fit.py:41 sqrt"))
    assert asked.arms == ("weight_decay_off", "elu:1.0", "loss_term_off:01", "guard_operation:fit.py:41 sqrt")
    plan = {spec.arm: (spec.intervention, spec.swap) for spec in asked.plan() if spec.seed == 0}
    assert plan == {
        BASELINE: (None, ()),
        "weight_decay_off": ("weight_decay_off", ()),
        "elu:1.0": (None, ("relu=elu:1.0",)),
        "loss_term_off:01": ("loss_term_off:01", ()),
        "guard_operation:fit.py:41 sqrt": ("guard_operation:fit.py:41 sqrt", ()),
        PLACEBO: (None, ()),
    }
    assert len({spec.key for spec in asked.plan()}) == len(list(asked.plan()))
    assert asked.title.endswith("what helps?")


def test_controls_of_explain_are_no_arms_and_a_guard_needs_its_place():
    for arm in ("placebo", "none"):
        with pytest.raises(UnknownActivation):
            arms_from(arm)
    with pytest.raises(NothingToCompare, match=r"guard_operation:train\.py:41"):
        arms_from("guard_operation")


def test_a_restart_is_the_placebos_training_where_the_first_one_failed():
    asked = replace(QUESTION, arms=("restart",), seeds=3)
    trials = [
        Trial(arm=BASELINE, seed=0, metric=0.5, seconds=2.0), Trial(arm=PLACEBO, seed=0, metric=0.7, seconds=3.0),
        Trial(arm=BASELINE, seed=1, metric=None, failed=Failure(FailureKind.NO_PROGRESS), seconds=2.0),
        Trial(arm=PLACEBO, seed=1, metric=0.9, seconds=3.0),
        Trial(arm=BASELINE, seed=2, metric=None, failed=Failure(FailureKind.NO_PROGRESS), seconds=2.0),
    ]  # fmt: skip
    made = {trial.seed: trial for trial in asked.with_restarts(trials) if trial.arm == "restart"}
    assert {seed: (trial.metric, trial.failed, trial.seconds) for seed, trial in made.items()} == {
        0: (0.5, None, 2.0),
        1: (0.9, None, 5.0),
    }
    assert replace(asked, arms=()).with_restarts(trials) == trials
