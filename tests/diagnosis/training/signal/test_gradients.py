"""Vanishing, exploding, shrinking: at, just below and just above each threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.diagnosis.builders import FALLING, FLAT, NAN, process, site, snapshot, window
from tests.edge import diagnose, where, why


def network(first, last, *, losses=FLAT, update=1e-3, steps=4, middle=None):
    deltas = [first, middle if middle is not None else last, last]
    sites = [site(name) for name in "abc"]
    windows = [window(i, steps=range(steps), fired=(9,) * 5, delta=d, update=update) for i, d in enumerate(deltas)]
    return of_gradients(process(sites, snapshot(windows, losses=losses)))


def of_gradients(process):
    """What is said beside that a flat loss stands still."""
    return [finding for finding in diagnose(process).findings if finding.rule != "standing-still"]


@pytest.mark.parametrize(("ratio", "vanished"), [(1.01e-3, False), (1e-3, False), (0.99e-3, True), (1e-9, True)])
def test_vanishing_needs_the_ratio_and_a_loss_that_does_not_move(ratio, vanished):
    names = [finding.rule for finding in network(ratio * 0.5, 0.5)]
    assert ("vanishing-gradient" in names) == vanished
    assert "vanishing-gradient" not in [finding.rule for finding in network(ratio * 0.5, 0.5, losses=FALLING)]


@pytest.mark.parametrize(("update", "vanished"), [(1.1e-6, False), (0.9e-6, True)])
def test_or_a_first_layer_that_does_not_move(update, vanished):
    names = [finding.rule for finding in network(1e-9, 0.5, losses=FALLING, update=update)]
    assert ("vanishing-gradient" in names) == vanished


def test_of_an_exact_zero_nothing_is_left():
    (found,) = [one for one in network(0.0, 0.5) if one.rule == "vanishing-gradient"]
    assert found.title.startswith("the gradient vanishes: none of it is left from ")


@pytest.mark.parametrize(("steps", "judged"), [(2, False), (3, True)])
def test_two_observations_prove_nothing(steps, judged):
    assert bool(network(1e-9, 0.5, steps=steps)) == judged


@pytest.mark.parametrize(("deltas", "vanished"), [([1e-9, 1e-9, 1.0], False), ([1e-9, 1e-9, 1.0, 1e-9], True)])
def test_two_steps_out_of_three_are_not_three(deltas, vanished):
    names = [finding.rule for finding in network(deltas, 1.0, steps=len(deltas))]
    assert ("vanishing-gradient" in names) == vanished


def test_the_message_names_layers_factor_and_evidence():
    (finding,) = network(1e-9, 1e-1)
    assert finding.severity == "serious"
    assert where(finding) == "a"
    assert finding.title == "the gradient vanishes: 1.0e-08 of it is left from c down to a"
    assert finding.detail == (
        "‖∂L/∂z‖ per sample changes to 0.0001 times its size per layer (3 activations, 4 observed steps), most of "
        "it between b and a: 1e-08 times; and the "
        "loss went "
        "from 2.3 to 2.3 in 200 steps."
    )
    assert finding.cause.text == (
        "initialisation and depth: at the first observed steps it was 1e-08 already (torch.nn.Linear's default "
        "initialisation gives 0.41 per ReLU layer)"
    )
    assert finding.numbers["factor_per_layer"] == pytest.approx(1e-4)
    assert finding.numbers["observed_steps"] == 4


def test_a_first_layer_that_does_not_move_is_told_with_its_update():
    (finding,) = network(1e-9, 1e-1, losses=FALLING, update=3e-9)
    assert finding.detail.endswith("; and the first layer's weights move by 3e-09 of their norm a step (median).")


def test_a_vanishing_that_came_with_training_is_not_blamed_on_initialisation():
    (finding,) = network([0.1, 0.1, 0.1, 1e-9, 1e-9, 1e-9], 0.1, steps=6)
    assert finding.cause.text.startswith(
        "cause unknown: at the first observed steps it was 1, so it came with training"
    )


def test_a_vanishing_that_training_has_left_behind_is_history():
    assert network([1e-9, 1e-9, 1e-9, 0.1, 0.1, 0.1], 0.1, steps=6) == []


def test_partly_dead_layers_of_a_vanishing_network_are_no_further_alarms():
    sites = [site(name) for name in "abc"]
    fired, distinct = (0, 0, 0, 9, 9), [5000, 5000, 5000, 0, 0]
    windows = [
        window(i, steps=range(4), fired=fired, distinct=distinct, delta=delta)
        for i, delta in enumerate((1e-9, 1e-4, 0.5))
    ]
    vanishing, *dead = diagnose(process(sites, snapshot(windows, losses=FLAT))).findings
    assert vanishing.rule == "vanishing-gradient"
    assert [(finding.rule, finding.severity) for finding in dead] == [("dead-units", "info")] * 3
    assert "explained by the finding `vanishing-gradient`" in dead[0].detail


@pytest.mark.parametrize(("ratio", "exploded"), [(69.9, False), (70.0, False), (70.1, True)])
def test_exploding_is_a_ratio_above_seventy(ratio, exploded):
    names = [finding.rule for finding in network(ratio, 1.0, losses=FALLING)]
    assert ("exploding-gradient" in names) == exploded


@pytest.mark.parametrize(("factor", "told"), [(0.69, True), (0.7, False), (0.71, False)])
def test_shrinking_is_information(factor, told):
    found = network(factor**2, 1.0, losses=FALLING)
    assert [(f.rule, f.severity) for f in found] == ([("shrinking-gradient", "info")] if told else [])


def test_the_exploding_message():
    (finding,) = network(7100, 1.0)
    assert finding.severity == "serious"
    assert finding.title == "the gradient explodes: it grows 7.1e+03 times from c down to a"
    assert finding.detail == (
        "‖∂L/∂z‖ per sample changes to 84 times its size per layer (3 activations, 4 observed steps), most of it "
        "between b and a: 7.1e+03 times. Training does "
        "not progress: the loss went from 2.3 to 2.3 in 200 steps."
    )
    assert finding.cause.text == "initialisation and depth: at the first observed steps it was 7.1e+03 already"


@pytest.mark.parametrize(
    ("losses", "end"),
    [
        (FALLING, "Training progresses all the same: the loss went from "),
        (None, "Whether training progresses could not be told."),
        (FLAT, "By itself that is no cause for alarm."),
    ],
)
def test_the_shrinking_message_claims_only_what_the_loss_shows(losses, end):
    (finding,) = network(0.2, 1.0, losses=losses)
    assert finding.title == "the gradient shrinks to 0.45 times its size per layer from c down to a"
    assert end in finding.detail


def with_silent_middle(first_delta, *, activation="relu", losses=FLAT):
    sites = [site("a"), site("b", activation=activation), site("c")]
    windows = [
        window(0, steps=range(4), fired=(9,) * 5, delta=first_delta),
        window(1, steps=range(4), fired=(0,) * 5, last=[-1] * 5, distinct=5000, delta=0.0),
        window(2, steps=range(4), fired=(4000,) * 5, delta=0.5),
    ]
    return [finding.rule for finding in diagnose(process(sites, snapshot(windows, losses=losses))).findings]


def test_a_gradient_behind_a_silent_layer_is_told_with_that_layer_only():
    assert with_silent_middle(0.0) == ["constant-network", "dead-units"]


def test_zeros_from_steps_on_which_the_layer_was_silent_are_no_vanishing():
    assert with_silent_middle([0.0, 0.0, 0.0, 0.5]) == ["dead-units"]


def test_a_gradient_that_vanishes_beside_a_silent_branch_is_told():
    assert "vanishing-gradient" in with_silent_middle(1e-9)


def test_a_layer_stuck_under_leaky_relu_explains_no_zero():
    assert "vanishing-gradient" in with_silent_middle(0.0, activation="leaky_relu:0.1")


def test_missing_gradients_are_not_zero_gradients():
    assert network(NAN, 0.5) == []


@pytest.mark.parametrize("delta", [0.0, NAN, np.inf])
def test_without_a_usable_gradient_at_the_end_there_is_no_ratio(delta):
    assert "vanishing-gradient" not in [finding.rule for finding in network(1e-9, delta)]


def test_one_activation_has_no_way_to_judge():
    windows = [window(steps=range(9), fired=(9,) * 5, delta=1e-30)]
    assert of_gradients(process([site()], snapshot(windows, losses=FLAT))) == []


@given(st.lists(st.floats(1e-3, 70), min_size=3, max_size=20))
def test_ordinary_ratios_never_alarm(ratios):
    found = network(ratios, 1.0, steps=len(ratios))
    assert all(finding.severity == "info" for finding in found)


@pytest.mark.parametrize(
    ("losses", "severity"),
    [(FLAT, "serious"), (FLAT[:100], "serious"), (FLAT[:99], "info"), (FALLING, "info"), (None, "warning")],
)
def test_a_gradient_that_grows_is_an_alarm_unless_the_training_progresses(losses, severity):
    # Behind a gate that stays open the last activation gets almost none, and all is well.
    (finding,) = [one for one in network(71.0, 1.0, losses=losses) if one.rule == "exploding-gradient"]
    assert finding.severity == severity


@pytest.mark.parametrize(("early", "kind"), [(0.9e-3, "initial_weights"), (1.1e-3, "unknown"), (1.0, "unknown")])
def test_most_of_the_way_at_the_start_is_the_initialisation(early, kind):
    (finding,) = [one for one in network([early] * 3 + [1e-6] * 9, 1.0, steps=12) if one.rule == "vanishing-gradient"]
    assert why(finding) == kind


@pytest.mark.parametrize(
    ("activation", "told", "not_told"),
    [("relu", "'relu'", "tanh"), ("tanh", "'tanh'", "Leaky ReLU"), ("sigmoid", "sigmoid", "ReLU")],
)
def test_the_advice_names_the_layers_own_activation(activation, told, not_told):
    sites = [site(name, activation=activation) for name in "ab"]
    windows = [window(i, steps=range(9), fired=(9,) * 5, delta=d, update=1e-3) for i, d in enumerate((1e-9, 1.0))]
    (got,) = of_gradients(process(sites, snapshot(windows, losses=FLAT)))
    assert told in got.advice
    assert not_told not in got.advice


@pytest.mark.parametrize(("at_start", "kind"), [(1e10, "initial_weights"), (1.0, "unknown"), (NAN, "unknown")])
def test_an_infinite_gradient_after_one_that_grew_at_the_first_step_was_there_from_the_start(at_start, kind):
    deltas = [[at_start, *[np.inf] * 11], [1.0] * 12]
    windows = [window(i, steps=range(12), fired=(9,) * 5, delta=d, update=1e-3) for i, d in enumerate(deltas)]
    found = diagnose(process([site("a"), site("b")], snapshot(windows, losses=FLAT))).findings
    (infinite,) = [one for one in found if one.rule == "exploding-gradient" and "infinite" in one.title]
    assert (infinite.severity, infinite.cause.kind) == ("serious", kind)


@pytest.mark.parametrize(("spread", "kind"), [(1e-8, "initial_weights"), (1.0, "unknown")])
def test_a_gradient_that_vanished_later_is_laid_to_a_start_that_was_poor_layer_by_layer(spread, kind):
    deltas = np.geomspace(5e-2, 1.0, 5)
    windows = []
    for at, delta in enumerate(deltas):
        gone = np.r_[delta, delta, delta, np.full(17, delta**3 * 1e-6 if at == 0 else delta)]
        measured = np.full(20, NAN)
        measured[0] = spread
        windows.append(
            window(at, steps=range(20), fired=(9,) * 5, delta=gone, update=1e-3, square=measured, spread=measured)
        )
    run = process([site(name) for name in "abcde"], snapshot(windows, losses=FLAT, input_rms=1.0, input_offset=0.0))
    (found,) = [one for one in diagnose(run).findings if one.rule == "vanishing-gradient"]
    assert found.cause.kind == kind
