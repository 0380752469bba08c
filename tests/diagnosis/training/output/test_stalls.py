"""A loss that stands still while everything seems to work, and networks without an activation."""

from dataclasses import replace

import numpy as np
import pytest

from rectifier.records import Unseen
from tests.diagnosis.builders import (
    FALLING,
    FLAT,
    counts,
    inputs,
    output,
    parameter,
    process,
    readings,
    site,
    snapshot,
    window,
)
from tests.edge import diagnose, why


def working(*, update=1e-3, delta=1.0, model="Net", index=0, first=0, rate=0.01, fired=(9,) * 5):
    steps = range(first, first + 200)
    return window(
        index, steps=steps, fired=fired, distinct=5000, delta=delta, update=update, learning_rate=np.full(200, rate)
    )  # fmt: skip


def standing(losses=FLAT, *, read=None, given=None, one=None, **more):
    read_at = () if read is None else (read,)
    shot = snapshot([one or working()], losses=losses, outputs=read_at, step=200, **more)
    outputs = () if read is None else (given or output(),)
    found = diagnose(process([site()], shot, outputs=outputs)).findings
    return [finding for finding in found if finding.rule == "standing-still"]


@pytest.mark.parametrize(
    ("losses", "said"), [(FLAT, True), (FLAT[:100], True), (FLAT[:99], False), (FALLING, False), (None, False)]
)
def test_a_loss_that_stays_where_it_began(losses, said):
    found = standing(losses)
    assert bool(found) == said
    if said:
        assert (found[0].severity, why(found[0]), found[0].remedies) == ("warning", "unknown", ())


@pytest.mark.parametrize(("often", "said"), [(2, True), (0, False)])
def test_a_gradient_that_dropout_takes_away_at_some_steps_still_arrives(often, said):
    delta = np.zeros(200)
    delta[-7 : -7 + often] = 1.0
    assert bool(standing(one=working(delta=delta))) == said


@pytest.mark.parametrize("losses", [[-1.0] * 200, [0.0] * 200, [0.01, -0.01] * 100])
def test_a_loss_around_or_below_0_is_no_measure(losses):
    assert not standing(losses)


def test_a_loss_that_is_mostly_noise_is_no_measure():
    """Of a critic, or of a converged classifier in small batches."""
    noise = np.random.default_rng(0).exponential(0.05, 300)
    assert not standing(list(noise))


def test_several_models_at_once_have_no_loss_of_their_own():
    sites = [site("a"), site("b", model="Other")]
    shot = snapshot([working(), working(index=1)], losses=FLAT)
    assert [finding.rule for finding in diagnose(process(sites, shot)).findings] == []


@pytest.mark.parametrize("delta", [0.0, float("nan")])
def test_gradients_must_arrive(delta):
    assert not standing(one=working(delta=delta))


def test_what_another_finding_explains_is_said_once():
    shot = snapshot([working(fired=(0,) * 5)], losses=FLAT)
    rules = [finding.rule for finding in diagnose(process([site()], shot)).findings]
    assert "dead-units" in rules
    assert "standing-still" not in rules


def test_a_training_that_is_joined_or_resumed_may_have_converged_before():
    shot = snapshot([working()], losses=FLAT)
    late = shot.series["loss"]
    object.__setattr__(late, "steps", late.steps + 5000)
    assert not [one for one in diagnose(process([site()], shot)).findings if one.rule == "standing-still"]


@pytest.mark.parametrize(
    ("level", "said"), [(2.302, True), (2.19, True), (2.18, False), (0.3, False), (3.5, True)]
)  # fmt: skip
def test_a_flat_loss_below_the_best_constant_knows_something(level, said):
    """A network that was trained before begins there."""
    read = readings([1.0] * 20, classes=10, entropy=np.log(10), rows=10_000)
    assert bool(standing([level] * 200, read=read, given=output(loss=("NllLoss", "LogSoftmax")))) == said


def test_the_entropy_of_few_rows_is_too_small_by_a_known_amount():
    # 64 rows of ten classes: 9/128 = .07 nats (Miller 1955).
    read = readings([1.0] * 20, classes=10, entropy=np.log(10) - 9 / 128, rows=64)
    (finding,) = standing([2.3] * 200, read=read, given=output(loss=("NllLoss", "LogSoftmax")))
    assert finding.numbers["best_constant"] == pytest.approx(np.log(10))
    assert finding.numbers["at_best_constant"] == 1


FELL_TO = [*np.geomspace(8.0, 1.0, 40), *[1.0] * 260]


@pytest.mark.parametrize(("target", "said"), [(1.0, True), (0.97, True), (1.2, False), (0.9, True), (100.0, False)])
def test_a_loss_that_fell_to_the_variance_of_its_targets_and_stays_there(target, said):
    # Of 64 rows the variance is too small by 1/64. A loss that settles above that knows less than a constant does.
    assert bool(standing(FELL_TO, read=readings([1.0] * 20, target=target * 63 / 64))) == said


def test_of_other_losses_the_variance_of_the_targets_is_no_cost():
    assert not standing(FELL_TO, read=readings([1.0] * 20, target=1.0), given=output(loss=("SmoothL1Loss",)))


@pytest.mark.parametrize(
    ("update", "rate", "kind"),
    [
        (0.9e-5, 1e-6, "learning_rate_low"),
        (2.4e-4, 1e-6, "learning_rate_low"),
        (2.6e-4, 1e-6, "unknown"),
        (1e-3, 0.0, "learning_rate_zero"),
        (1e-9, 1e-13, "learning_rate_zero"),
    ],
)
def test_updates_that_are_too_small_are_named(update, rate, kind):
    (finding,) = standing(one=working(update=update, rate=rate))
    assert why(finding) == kind
    assert bool(finding.remedies) == (kind != "unknown")
    if finding.remedies:
        assert finding.remedies[0] == "raise_learning_rate"


def test_inputs_and_the_loss_are_named():
    assert why(standing(inputs=inputs(zero=True))[0]) == "input_constant"
    assert why(standing(distinct=1)[0]) == "input_constant"
    assert why(standing(input_rms=11.0)[0]) == "input_scale"
    read = readings([1.0] * 20, target=1.0)
    assert why(standing([1.0] * 200, read=read, given=output(loss=("MseLoss", "Expand")))[0]) == "loss_shape"
    # Stretched targets are the same in each row.
    stretched = readings([1.0] * 20, target=0.0)
    assert why(standing(FELL_TO, read=stretched, given=output(loss=("MseLoss", "Expand")))[0]) == "loss_shape"


def test_the_words():
    read = readings([1.0] * 20, classes=10, entropy=np.log(10), rows=10_000)
    (finding,) = standing(read=read, one=working(update=1e-6, rate=1e-7))
    assert finding.title == "training stands still: the loss stays at that of the best constant answer"
    assert finding.detail == (
        "The loss went from 2.3 to 2.3 in 200 steps. Units fire and gradients arrive. The best constant answer, the "
        "class frequencies, has a loss of 2.303. A step moves the weights of a layer by at most "
        "0.0001% of their norm (median)."
    )
    assert finding.cause.text == (
        "a step moves the weights by 0.0001% of their norm, where 0.1% is usual; the learning rate is 1e-07"
    )


def linear(losses=FALLING, *, weights=2, connected=9, unseen=(), sites=(), windows=(), known=True):
    shot = snapshot(
        windows, losses=losses, outputs=(readings([1.0] * 20, target=1.0),), step=200,
        parameters=counts(weights, connected=connected),
    )  # fmt: skip
    given = process(
        sites, shot, outputs=(output(linear=known),),
        parameters=[parameter(f"{n}.weight") for n in range(weights)], unseen=unseen,
    )  # fmt: skip
    return {finding.rule: finding for finding in diagnose(given).findings}


def test_several_layers_without_an_activation_are_information():
    got = linear()["no-activation"]
    assert (got.severity, why(got), got.numbers["weights"]) == ("info", "no_activation", 2)


def test_and_an_alarm_where_the_loss_stands_still():
    found = linear([1.1] * 200)
    assert why(found["standing-still"]) == "no_activation"
    assert found["no-activation"].severity == "warning"


def test_a_single_layer_an_activation_or_weights_that_the_loss_does_not_reach_are_no_linear_network():
    assert "no-activation" not in linear(weights=1)
    assert "no-activation" not in linear(connected=0)
    assert "no-activation" not in linear(sites=[site()], windows=[working()])


def test_a_network_with_an_operation_that_may_hold_an_activation_is_not_called_linear():
    """A recurrent layer computes its tanh within one operation, and no call of it is observed."""
    assert "no-activation" not in linear(known=False)
    assert why(linear([1.1] * 200, known=False)["standing-still"]) == "unknown"


def test_what_could_not_be_judged_is_a_fact():
    nothing = diagnose(process([], snapshot([], losses=FALLING))).not_judged
    assert [str(one.kind) for one in nothing] == ["nothing_observed"]
    assert diagnose(process([], snapshot([], losses=FALLING, parameters=counts()))).not_judged == ()
    seen = diagnose(
        process([site("a", units=None)], snapshot([window(fired=())]), unseen=(Unseen(what="F.relu", reason="x"),))
    ).not_judged
    assert [(str(one.kind), one.what) for one in seen] == [("units_unknown", "a"), ("unseen", "F.relu")]
    assert diagnose(process([site("a")], snapshot([working()], losses=FALLING))).not_judged == ()


@pytest.mark.parametrize(("level", "said"), [(1.9, False), (2.1, True)])
def test_a_loss_far_above_the_best_constants_cost_is_told_though_it_falls(level, said):
    loss = np.geomspace(20.0, level, 300)
    read = replace(readings([9.0] * 20, target=1.0), cost=np.geomspace(20.0, level, 20))
    found = standing([*loss, *[level] * 30], read=read)
    assert bool(found) == said
    if found:
        assert found[0].title == "the model is worse than the best constant answer"
        assert why(found[0]) == "initial_weights"
        # Answers near 0 that are as far off are the targets' doing.
        small = replace(read, square=np.full(20, 0.1), target_square=np.full(20, 121.0))
        (told,) = standing([*loss, *[level] * 30], read=small)
        assert why(told) == "target_scale"


def test_of_a_loss_that_is_scaled_or_a_sum_no_cost_is_known():
    for loss in (("Div", "MseLoss"), ("Add", "MseLoss"), ("Sum", "MseLoss")):
        assert not standing(FELL_TO, read=readings([1.0] * 20, target=1.0), given=output(loss=loss))


@pytest.mark.parametrize(("moved", "said"), [(1.9, True), (2.1, False), (0.52, True), (0.48, False)])
def test_targets_that_move_with_the_training_have_no_best_constant(moved, said):
    squares = np.array([2.0] * 10 + [2.0 * moved] * 10)
    read = replace(readings([1.0] * 20, target=1.0), target_square=squares)
    assert bool(standing(FELL_TO, read=read)) == said


@pytest.mark.parametrize(("classes", "said"), [(21, True), (22, False)])
def test_of_words_a_batch_has_too_few_to_know_their_shares(classes, said):
    level = np.log(classes)
    read = readings([1.0] * 20, classes=classes, entropy=level - (classes - 1) / 128, rows=64)
    found = standing([*np.geomspace(3 * level, level, 40), *[level] * 260], read=read,
                     given=output(loss=("NllLoss", "LogSoftmax")))  # fmt: skip
    assert bool(found) == said
