"""The engine trains by plan, whoever trains; a script and a function with the same outcomes have the same verdicts."""

from dataclasses import replace

import pytest
from torch import nn

from rectifier.comparison.engine import Engine
from rectifier.comparison.function import compare_function
from rectifier.comparison.question import BASELINE, PLACEBO, Question
from rectifier.comparison.script.driver import run_comparison
from rectifier.errors import UnreadableRun
from rectifier.records import Trial

QUESTION = Question(
    command=("train.py",),
    script=None,
    arms=("leaky_relu:0.3", "elu:1.0"),
    seeds=11,
    metric="accuracy",
    summary="final",
    higher_is_better=True,
    margin=None,
    threads=1,
    interim=(9, 11),
)


def value(arm, seed):
    return 0.5 + 0.4 * (arm == "leaky_relu:0.3") + (seed * 7919 % 13) / 100 + 0.01 * (seed % 3 - 1) * (arm == "elu:1.0")


def outcome(spec):
    return Trial(
        arm=spec.arm, seed=spec.seed, metric=value(spec.arm, spec.drawn), fingerprint=f"{spec.drawn}{spec.arm}"
    )


class Trainer:
    """Trains backwards, to show that the order is its own; fails after so many trainings."""

    def __init__(self, most=None):
        self.batches, self.most = [], most

    def __call__(self, specs, ended):
        self.batches.append([(spec.arm, spec.seed) for spec in specs])
        for spec in reversed(specs):
            if self.most is not None and not self.most:
                raise KeyboardInterrupt
            ended(spec, outcome(spec))
            self.most = self.most and self.most - 1


def test_each_analysis_asks_for_what_it_waits_for_and_a_decided_arm_is_asked_for_no_more():
    trainer, told, interim = Trainer(), [], []
    engine = Engine(QUESTION)
    engine.run(trainer, lambda spec, trial: told.append(spec), lambda before: interim.append(before.analysis))
    first, second = trainer.batches
    assert set(first) == {(arm, seed) for arm in (BASELINE, *QUESTION.arms, PLACEBO) for seed in range(9)}
    assert set(second) == {(arm, seed) for arm in (BASELINE, "elu:1.0", PLACEBO) for seed in (9, 10)}
    assert interim == [9, 11]
    assert len(told) == len(engine.done) == len(first) + len(second)
    assert [arm.verdict for arm in engine.comparison(1.0).arms[1:3]] == ["helped", "undecided"]


def test_what_was_recorded_is_not_trained_again_and_the_verdict_is_the_same():
    whole, broken = Engine(QUESTION), Engine(QUESTION)
    whole.run(Trainer())
    with pytest.raises(UnreadableRun):
        broken.comparison(0.0)
    with pytest.raises(KeyboardInterrupt):
        broken.run(Trainer(most=13))
    assert len(broken.done) == 13
    rest = Trainer()
    again = Engine(QUESTION, broken.done)
    again.run(rest)
    trained = [one for batch in rest.batches for one in batch]
    assert len(trained) == len(whole.done) - 13
    assert not {(trial.arm, trial.seed) for trial in broken.done.values()} & set(trained)
    assert again.comparison(0.0).arms == whole.comparison(0.0).arms


def test_a_script_and_a_function_with_the_same_outcomes_have_the_same_verdicts(tmp_path):
    names = {"ReLU": BASELINE, "LeakyReLU": "leaky_relu:0.3", "ELU": "elu:1.0"}

    def train(seed):
        arm = names[type(nn.Sequential(nn.ReLU())[0]).__name__]
        return value(PLACEBO if seed >= 1_000_000 else arm, seed)

    script = run_comparison(QUESTION, tmp_path, lambda spec, question, folder: outcome(spec), jobs=3)
    function = compare_function(train, replace(QUESTION, compared="function"), lambda trial: None)
    judged = [[(arm.arm, arm.n, arm.verdict, arm.metric, arm.stopped_at) for arm in c.arms] for c in (script, function)]
    assert judged[0] == judged[1]
    assert {arm.verdict for arm in script.arms} == {"identical", "helped", "undecided"}
