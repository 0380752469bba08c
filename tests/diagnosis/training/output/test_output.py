"""Outputs that tell no row from another, and dead units of an output; and those that must not be accused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.records import DeadOutput, Finding, Rule, Site
from rectifier.report.sentences import describe
from tests.diagnosis.builders import (
    FALLING,
    FLAT,
    counts,
    inputs,
    last_axis,
    output,
    parameter,
    process,
    readings,
    site,
    snapshot,
    window,
)
from tests.edge import diagnose, where, why

THEN_FLAT = [4.0, 4.0, *[1e-3] * 20]
"""Spreads that fall to a four-thousandth and stay there for 200 steps."""
LOW_OPTIMUM = list(np.geomspace(2.0, 0.01, 200))


def judged(read, *, losses=FALLING, given=None, sites=(), windows=(), rule="collapsed-output", parameters=(), **more):
    shot = snapshot(windows, losses=losses, outputs=(read,), step=200, **more)
    found = diagnose(process(sites, shot, outputs=(given or output(),), parameters=parameters)).findings
    return [finding for finding in found if finding.rule == rule]


@pytest.mark.parametrize(("share", "said"), [(0.011, False), (0.01, False), (0.0099, True), (0.0, True)])
@pytest.mark.parametrize("target", [1.0, 1e-4, 900.0])
def test_an_output_is_measured_by_its_targets(share, said, target):
    assert bool(judged(readings([share * target] * 20, target=target))) == said


@pytest.mark.parametrize(("losses", "severity"), [(FALLING, "warning"), (FLAT, "serious"), (None, "warning")])
def test_whatever_the_loss_does(losses, severity):
    (finding,) = judged(readings(THEN_FLAT, target=1.0), losses=losses)
    assert finding.severity == severity
    assert (finding.since, where(finding)) == (20, "head.weight")


@pytest.mark.parametrize(("every", "said"), [(10, True), (9, False)])
def test_it_must_last_a_hundred_steps(every, said):
    assert bool(judged(readings([4.0, *[0.0] * 11], target=1.0, every=every))) == said


def test_two_readings_prove_nothing():
    assert not judged(readings([4.0, 0.0, 0.0], target=1.0, every=100))
    assert judged(readings([4.0, 0.0, 0.0, 0.0], target=1.0, every=100))


def test_one_reading_that_tells_rows_apart_ends_it():
    assert not judged(readings([*THEN_FLAT, 1.0], target=1.0))


@pytest.mark.parametrize(("rows", "said"), [(1, False), (7, False), (8, True)])
def test_batches_of_few_rows_are_never_accused(rows, said):
    assert bool(judged(readings([0.0] * 20, target=1.0, rows=rows))) == said


@given(st.floats(1e-9, 1e6), st.floats(0.0, 1e-9))
def test_targets_that_hardly_vary_are_answered_by_a_constant(before, target):
    """A regression of nearly constant targets, a discriminator's batch of one label, a critic before any reward."""
    assert not judged(readings([before, before, *[target] * 20], target=target))


def test_an_output_that_began_small_and_grows_is_on_its_way():
    assert not judged(readings(np.geomspace(1e-6, 9e-3, 20), target=1.0))
    assert judged(readings(np.geomspace(1e-3, 1.4e-3, 20), target=1.0))


@pytest.mark.parametrize(("entropy", "said"), [(0.19, False), (0.2, True), (2.3, True)])
def test_classes_of_which_one_is_nearly_all_are_answered_by_a_constant(entropy, said):
    read = readings(THEN_FLAT, classes=2, entropy=entropy)
    assert bool(judged(read, given=output(loss=("NllLoss", "LogSoftmax")))) == said


@pytest.mark.parametrize(("end", "said"), [(9.9e-3, True), (1e-2, False), (1.0, False)])
def test_logits_that_began_too_large_may_shrink(end, said):
    assert bool(judged(readings([1e4, 1e4, *[end] * 20], classes=10, entropy=2.3))) == said


@pytest.mark.parametrize(("spread", "said"), [(0.0, True), (1e-13, True), (1e-3, False)])
def test_logits_that_never_told_rows_apart_are_found_without_a_before(spread, said):
    """A normalisation over one element passes the same for every sample, from the first step on."""
    found = judged(readings([spread] * 20, classes=4, entropy=1.3, square=2.0))
    assert bool(found) == said
    if said:
        assert found[0].detail.startswith("Since step 0 the variance of its 1 unit between samples has been")
        assert "their mean square is 2 (" in found[0].detail


def test_a_single_class_in_each_batch_says_nothing():
    assert not judged(readings(THEN_FLAT, classes=1, entropy=0.0))


@pytest.mark.parametrize(("ones", "said"), [(0.02, False), (0.5, True)])
@pytest.mark.parametrize("loss", ["BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"])
def test_two_classes_of_which_one_is_nearly_all(ones, said, loss):
    read = readings([1.0, *[1e-6] * 20], target=ones * (1 - ones))
    object.__setattr__(read, "target_square", np.full(21, ones))
    assert bool(judged(read, given=output(loss=(loss,)))) == said


def test_targets_in_other_units_than_the_output_are_no_measure():
    """The logarithm of a rate varies far less than its counts."""
    assert not judged(readings([0.04] * 20, target=100.0), given=output(loss=("PoissonNllLoss",)))
    assert judged(readings([0.04] * 20, target=100.0))


def other_model():
    """A second model that trains at the same steps."""
    return (
        readings(THEN_FLAT, index=1, target=1.0),
        output("score.weight", model="Discriminator"),
        output("head.weight", model="Generator"),
    )


def test_a_discriminator_beside_a_generator_is_never_accused():
    read, discriminator, generator = other_model()
    shot = snapshot([], losses=FALLING, outputs=(readings([1.0] * 22, target=1.0), read), step=200)
    both = diagnose(process([], shot, outputs=(generator, discriminator))).findings
    assert [finding.rule for finding in both if finding.severity != "info"] == []
    alone = snapshot([], losses=FALLING, outputs=(readings(THEN_FLAT, target=1.0),), step=200)
    assert diagnose(process([], alone, outputs=(discriminator,))).findings


def test_without_targets_features_must_have_collapsed_too():
    assert not judged(readings(THEN_FLAT, features=1.0))
    (finding,) = judged(readings(THEN_FLAT, features=THEN_FLAT), losses=LOW_OPTIMUM)
    assert finding.numbers["against"] == "before"


def test_what_shrinks_as_a_whole_and_is_normalised_afterwards_tells_rows_apart():
    spread = np.array(THEN_FLAT)
    assert not judged(readings(THEN_FLAT, square=2 * spread, features=THEN_FLAT))


@pytest.mark.parametrize(
    ("losses", "kind"),
    [(LOW_OPTIMUM, "objective"), ([1.0 - n / 100 for n in range(200)], "objective"), (FLAT, "unknown"),
     (list(np.geomspace(2.0, 1.0, 200)), "unknown")],
)  # fmt: skip
def test_an_objective_has_its_optimum_at_a_constant(losses, kind):
    (finding,) = judged(readings(THEN_FLAT, features=THEN_FLAT), losses=losses)
    assert why(finding) == kind
    assert finding.remedies == (("stop_gradient", "change_objective") if kind == "objective" else ())


def test_an_objective_is_not_blamed_where_targets_are_kept():
    (finding,) = judged(readings(THEN_FLAT, features=THEN_FLAT, target=1.0), losses=LOW_OPTIMUM)
    assert why(finding) == "unknown"


@pytest.mark.parametrize(
    ("loss", "units", "kind"),
    [
        (("MseLoss", "Expand"), 1, "loss_shape"),
        (("MseLoss", "Expand"), 3, "unknown"),
        (("MseLoss",), 1, "unknown"),
        (("BinaryCrossEntropyWithLogits", "Sigmoid"), 1, "output_activation"),
        (("SmoothL1Loss", "Sigmoid"), 1, "unknown"),
        (("NllLoss", "LogSoftmax", "Softmax"), 9, "output_activation"),
    ],
)  # fmt: skip
def test_what_stands_between_output_and_loss_is_named(loss, units, kind):
    (finding,) = judged(readings(THEN_FLAT, target=1.0, features=THEN_FLAT), given=output(loss=loss, units=units))
    assert why(finding) == kind


def test_inputs_and_decay_are_named():
    read = readings([0.0] * 20, target=1.0)
    assert why(judged(read, inputs=inputs(zero=True))[0]) == "input_constant"
    assert why(judged(read, inputs=inputs(constant=5))[0]) == "input_constant"
    assert why(judged(read, inputs=inputs(constant=4))[0]) == "unknown"
    # The corner of an image is dark in all.
    assert why(judged(read, inputs=inputs(constant=5), input_offset=1.5)[0]) == "unknown"
    assert why(judged(read, input_offset=11.0)[0]) == "input_scale"
    shrunk = {"parameters": (parameter(),)}
    for last, decay, kind in ((0.49, 0.5, "weight_decay"), (0.51, 0.5, "unknown"), (0.49, 0.01, "unknown")):
        shot = snapshot(
            [], losses=FALLING, outputs=(read,), step=200, parameters=counts(last=last, decay=decay, gradient=0.1)
        )
        found = diagnose(process([], shot, outputs=(output(),), **shrunk)).findings
        (finding,) = [one for one in found if one.rule == "collapsed-output"]
        assert why(finding) == kind


def test_the_words():
    (finding,) = judged(readings(THEN_FLAT, target=1.0, features=THEN_FLAT), losses=FLAT)
    assert finding.title == "the output of head collapsed: it is almost the same for every sample"
    assert finding.detail == (
        "Since step 20 the variance of its 1 unit between samples has been 0.001; that of the targets is 1 (20 "
        "readings of 64 samples, the last at step 210). Between samples, the inputs of this layer hardly differ, "
        "either. Training does not progress: the loss went from 2.3 to 2.3 in 200 steps."
    )


def last_site(units=5, activation="relu", fed_by="head.weight"):
    return Site(
        model="Net", path="out", call=0, activation=activation, kind="module", source=None, units=units,
        unit_axis=last_axis(), fed_by=fed_by,
    )  # fmt: skip


def dead_output(wrong, *, dead=2, losses=FALLING, sites=None, feeds=(), **more):
    fired = (0,) * dead + (9,) * (5 - dead)
    one = window(0, steps=range(200), fired=fired, distinct=[5000] * dead + [0] * (5 - dead), delta=1.0)
    shot = snapshot([one], losses=losses, outputs=(readings([1.0] * 20, target=1.0, wrong=wrong),), step=200)
    given = process(sites or [last_site()], shot, outputs=(output(units=5, **more),), feeds=feeds)
    return {finding.rule: finding for finding in diagnose(given).findings}


def test_a_dead_unit_of_the_last_activation_whose_target_varies_is_a_warning_while_the_loss_falls():
    found = dead_output(2)
    got = found["dead-output"]
    assert (got.severity, why(got), where(got), got.units) == ("warning", "output_activation", "out", (0, 1))
    assert got.remedies == ("linear_output", "leaky_activation")
    assert got.title == "out: 2 of 5 units of the output behind relu never change, although their targets do"
    assert found["dead-units"].severity == "info"


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_unit_that_is_rightly_0_or_of_which_it_is_not_known_is_never_accused(wrong):
    """A pixel that is black in all data."""
    assert "dead-output" not in dead_output(wrong)


def test_of_several_dead_units_only_those_whose_target_varies_are_counted():
    got = dead_output(1, dead=3)["dead-output"]
    assert (got.numbers["dead"], got.units) == (1, ())


def test_a_batch_on_which_a_rare_unit_does_not_fire_proves_nothing():
    assert "dead-output" not in dead_output([2] * 19 + [0])
    assert "dead-output" not in dead_output(2, dead=0)


def test_an_activation_that_feeds_another_site_is_not_the_last():
    assert "dead-output" in dead_output(2, feeds=None)
    assert "dead-output" not in dead_output([2, *[5] * 19], sites=[last_site(), site("b")], feeds=((0, 1),))


def test_all_units_dead_without_progress_is_serious():
    assert dead_output(5, dead=5, losses=FLAT)["dead-output"].severity == "serious"
    assert dead_output(5, dead=5)["dead-output"].severity == "warning"


def test_units_of_a_linear_output_that_stay_constant_are_told_without_a_cause():
    got = judged(readings([1.0] * 20, target=1.0, wrong=1), given=output(units=3), rule="dead-output")
    assert [(one.severity, why(one), one.numbers["dead"]) for one in got] == [("warning", "unknown", 1)]
    short = readings([1.0] * 20, target=1.0, wrong=1, every=5)
    assert not judged(short, given=output(units=3), rule="dead-output")


def test_a_single_output_is_told_in_the_singular():
    evidence = DeadOutput(
        output="head.weight", activation="relu", units=1, dead=1, first_step=80, last_step=256, readings=6
    )
    one = Finding(rule=Rule.DEAD_OUTPUT, severity="serious", evidence=evidence)
    assert describe(one).title == (
        "the output of head: the one unit of the output behind relu never changes, although its target does"
    )


@pytest.mark.parametrize(
    ("share", "activation", "said"),
    [(0.1, "Relu", True), (0.09, "Relu", False), (0.9, "Gelu", False), (float("nan"), "Sigmoid", False)],
)
def test_targets_that_the_last_activation_cannot_give(share, activation, said):
    read = replace(readings([1.0] * 20, target=1.0), targets_out_of_reach=np.full(20, share))
    found = judged(read, given=output(loss=("MseLoss", activation)), rule="output-activation")
    assert bool(found) == said
    if found:
        assert (found[0].severity, why(found[0]), found[0].remedies[0]) == (
            "warning", "output_activation", "linear_output",
        )  # fmt: skip
        assert found[0].title == "relu at the output cannot reach 10% of the targets"
        assert found[0].detail.startswith("These targets lie below 0, where relu has no value (median of 20 readings).")
