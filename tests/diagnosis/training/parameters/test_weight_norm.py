"""Weights that shrink away or grow without bound: each limit, each cause, and when nothing is said."""

import pytest

from rectifier.records import OptimizerState, ParameterRef
from tests.diagnosis.builders import FALLING, FLAT, NAN
from tests.diagnosis.parameter_records import TRAINS, healthy, parameter, training
from tests.edge import diagnose, why

DECAYED = {**TRAINS, "weight_last": 1e-3, "weight_decay": 0.5, "gradient": 1e-5}


def norms(rows, **more):
    findings = diagnose(training(rows, **{"losses": FLAT, **more})).findings
    return [finding for finding in findings if finding.rule == "weight-norm"]


def test_weights_that_decay_takes_away_are_told_with_both_pulls():
    rows = [(parameter("fc.weight"), DECAYED), (parameter("fc.bias", (5,)), TRAINS)]
    (one,) = norms(rows)
    assert (one.severity, why(one), one.site) == ("serious", "weight_decay", ParameterRef("fc.weight"))
    assert one.remedies == ("lower_weight_decay",)
    assert one.title == "fc.weight: 1 of 1 weights shrank towards 0"
    assert one.detail == (
        "From step 0 to 198 the norm of fc.weight fell, from 1 to 0.001. Training does not "
        "progress: the loss went from 2.3 to 2.3 in 200 steps."
    )
    assert one.cause.text == (
        "weight decay of 0.5 at a learning rate of 0.01 changed these weights, not the loss; at step 199 its "
        "pull was about 0.0005, that of the gradient 1e-05"
    )
    assert one.advice == "Divide weight_decay by 10; repeat until the weights keep their norm."


@pytest.mark.parametrize(
    ("known", "cause"),
    [
        ({"gradient": 1e-2}, "unknown"),
        # After a third of the steps a tenth of the norm is left: 0.5 · 0.1.
        ({"gradient": 0.049, "last_looked": 66}, "weight_decay"),
        ({"gradient": 0.051, "last_looked": 66}, "unknown"),
        # 0.01 · 1.8 · 198 = 3.6 of the 6.9 that ln 1000 is: half of the way.
        ({"gradient": 1e-2, "weight_decay": 1.8}, "weight_decay"),
        ({"gradient": 1e-2, "weight_decay": 1.7}, "unknown"),
        ({"gradient": NAN}, "unknown"),
        ({"weight_decay": 0.0}, "unknown"),
        ({"weight_decay": NAN}, "unknown"),
        ({"learning_rate": 0.0}, "unknown"),
        ({"weight_last": 0.0}, "unknown"),
        # Below the smallest number after 104 e-foldings, half of which are 52: 0.1 · 2.7 · 198 = 53.
        ({"weight_last": 0.0, "learning_rate": 0.1, "weight_decay": 2.7}, "weight_decay"),
        ({"weight_last": 0.0, "learning_rate": 0.1, "weight_decay": 2.6}, "unknown"),
    ],
)
def test_decay_is_named_where_it_outweighs_the_gradient_or_makes_half_of_the_way(known, cause):
    (one,) = norms([(parameter(), {**DECAYED, **known})])
    assert why(one) == cause
    assert bool(one.remedies) == (cause != "unknown")


@pytest.mark.parametrize(("momentum", "cause"), [(None, "unknown"), (0.9, "weight_decay")])
def test_momentum_adds_up_what_decay_does(momentum, cause):
    row = {**DECAYED, "gradient": 1e-2, "weight_decay": 0.2}
    (one,) = norms([(parameter(), row)], optimizers=(OptimizerState(name="SGD", steps=200, momentum=momentum),))
    assert why(one) == cause


@pytest.mark.parametrize(("last", "said"), [(0.0101, False), (0.0099, True), (99.0, False), (101.0, True)])
def test_a_hundredth_and_a_hundredfold_are_the_limits(last, said):
    assert bool(norms([(parameter(), {**DECAYED, "weight_last": last})])) == said


@pytest.mark.parametrize(("update", "cause"), [(0.2, "learning_rate"), (0.09, "unknown"), (NAN, "unknown")])
def test_growth_is_the_learning_rates_where_updates_were_large(update, cause):
    (one,) = norms([(parameter(), {**TRAINS, "weight_last": 500.0})], windows=[healthy(update=update)])
    assert (why(one), one.evidence.grew) == (cause, True)
    assert one.title == "fc.weight: 1 of 1 weights grew far beyond their initial norm"
    if cause == "learning_rate":
        assert one.remedies[0] == "lower_learning_rate"
        assert one.cause.text.endswith("an update moved those that feed act by 20% of their norm")


@pytest.mark.parametrize("losses", [FALLING, [2.3] * 9, None], ids=["progress", "too few", "no loss"])
def test_nothing_is_said_unless_training_stands_still(losses):
    assert norms([(parameter(), DECAYED)], losses=losses) == []


@pytest.mark.parametrize(
    "known", [{"optimizer": -1}, {"weight_first": 0.0}, {"weight_first": NAN}, {"weight_last": NAN}]
)
def test_weights_without_an_optimizer_or_a_norm_are_left_out(known):
    assert norms([(parameter(), {**DECAYED, **known})]) == []


def test_biases_and_gains_are_left_out():
    assert norms([(parameter("fc.bias", (5,)), DECAYED)]) == []


def test_a_small_part_is_a_warning_and_explains_nothing():
    rows = [(parameter(f"l{n}.weight"), DECAYED if n == 0 else TRAINS) for n in range(3)]
    (one,) = norms(rows)
    assert (one.severity, one.evidence.of_weights) == ("warning", 3)
    dead = healthy(fired=(0,) * 5, silent=4000, distinct=4000, delta=0.0)
    alarms = diagnose(training(rows, windows=[dead], losses=FLAT)).findings
    assert "born dead" in [why(finding) for finding in alarms]
    rows = [(parameter(f"l{n}.weight"), DECAYED) for n in range(3)]
    alarms = diagnose(training(rows, windows=[dead], losses=FLAT)).findings
    assert {why(finding) for finding in alarms} == {"weight_decay", "upstream"}
    assert [finding.rule for finding in alarms if finding.severity != "info"] == ["weight-norm"]
