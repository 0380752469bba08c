"""A network whose last activation tells no sample from another: at, just below and just above each threshold."""

import numpy as np
import pytest

from tests.diagnosis.builders import FALLING, FLAT, process, site, snapshot, window
from tests.edge import diagnose, where, why

SETTLED = [*np.geomspace(10, 1, 50), *[1.0] * 250]


def predicted(variation, *, losses=FLAT, first_delta=1.0, offset=None, rms=None, distinct=None, update=1e-3, sites=2):
    variation = np.array(variation, float)
    steps = range(len(variation))
    deltas = [first_delta, 1.0, 1.0][:sites] if sites > 1 else [1.0]
    names = ["b", "ab", "acb"][sites - 1]
    windows = [
        window(i, steps=steps, fired=(9,) * 5, delta=delta, update=update,
               **({"square": np.full(len(variation), 4.0), "spread": 4.0 * variation} if i == sites - 1 else {}))
        for i, delta in enumerate(deltas)
    ]  # fmt: skip
    shot = snapshot(windows, losses=losses, input_offset=offset, input_rms=rms, distinct=distinct)
    found = diagnose(process([site(name) for name in names], shot)).findings
    return [finding for finding in found if finding.rule == "constant-predictor"]


@pytest.mark.parametrize(("variation", "said"), [(1.01e-6, False), (1e-6, False), (0.99e-6, True), (0.0, True)])
def test_the_share_that_differs_between_samples(variation, said):
    assert bool(predicted([variation] * 3)) == said


@pytest.mark.parametrize(("variation", "said"), [([0, 0], False), ([0, 0, 0], True), ([0, 0, 0, 1], False)])
def test_it_must_be_so_at_the_last_three_counted_steps(variation, said):
    assert bool(predicted(variation)) == said


@pytest.mark.parametrize(("distinct", "said"), [(1, False), (2, True), (None, True)])
def test_one_sample_shown_again_and_again_says_nothing(distinct, said):
    assert bool(predicted([0.0] * 3, distinct=distinct)) == said


@pytest.mark.parametrize(("losses", "said"), [(FALLING, False), (None, False), (FLAT[:99], False), (FLAT[:100], True)])
def test_the_loss_must_have_stood_still_for_long_enough(losses, said):
    assert bool(predicted([0.0] * 3, losses=losses)) == said


@pytest.mark.parametrize(("delta", "said"), [(1.01e-3, False), (1e-3, False), (0.99e-3, True)])
def test_of_a_loss_that_fell_and_stopped_the_gradient_must_be_gone_too(delta, said):
    # The mean is learned by the last bias alone. A gate that is open for every sample is no such thing.
    assert bool(predicted([0.0] * 4, losses=SETTLED, first_delta=delta)) == said


@pytest.mark.parametrize(("offset", "said"), [(10.0, False), (10.1, True)])
def test_or_the_inputs_mean_must_hide_what_differs(offset, said):
    assert bool(predicted([0.0] * 4, losses=SETTLED, offset=offset, rms=1.0)) == said


def test_one_activation_alone_cannot_show_a_gradient_that_is_gone():
    assert not predicted([0.0] * 4, losses=SETTLED, sites=1)
    assert predicted([0.0] * 4, sites=1)


@pytest.mark.parametrize(
    ("offset", "kind"), [(10.0, "initial_weights"), (10.1, "input_scale"), (None, "initial_weights")]
)
def test_a_mean_that_all_inputs_share_is_named(offset, kind):
    (finding,) = predicted([1e-7] * 3, offset=offset, rms=1.0, sites=3)
    assert why(finding) == kind


@pytest.mark.parametrize(("sites", "kind"), [(2, "unknown"), (3, "initial_weights")])
def test_few_layers_make_no_samples_alike(sites, kind):
    """What does, from the start, is something between them: an average over all nodes of a graph, say."""
    (finding,) = predicted([1e-7] * 3, sites=sites)
    assert why(finding) == kind
    assert f"at step 0, the first sampled, 1.0e-07 of the output differed between samples ({sites} act" in (
        finding.cause.text
    )


@pytest.mark.parametrize(("update", "kind"), [(0.099, "unknown"), (0.1, "learning_rate")])
def test_what_moved_the_weights_far_before_it_is_named(update, kind):
    (finding,) = predicted([0.3, 0.3, 0.0, 0.0, 0.0], update=[1e-3, update, 1e-3, 0.9, 0.9])
    assert why(finding) == kind
    assert finding.numbers["onset"] == 2


def test_the_messages():
    (finding,) = predicted([2e-9, 3e-9, 1e-9], sites=3)
    assert (finding.severity, where(finding)) == ("serious", "b")
    assert finding.title == "b gives every sample almost the same output"
    assert finding.detail == (
        "At each of the last 3 sampled steps the variance between samples was at most 3.0e-09 of its output's mean "
        "square. Training "
        "does not progress: the loss went from 2.3 to 2.3 in 200 steps."
    )
    assert finding.cause.text == (
        "initialisation, depth and width: at step 0, the first sampled, 2.0e-09 of the output differed between samples "
        "(3 activations, narrowest width 5)"
    )
    (finding,) = predicted([0.0] * 3, offset=58.0, rms=293.0)
    assert finding.cause.text == (
        "input offset: the mean of the inputs is 58 times what differs between them (γ), so all samples look alike "
        "from the first layer on"
    )
    assert finding.advice.startswith("First subtract the inputs' mean")
    (finding,) = predicted([0.3, 0.0, 0.0, 0.0], update=[0.25, 1e-3, 1e-3, 1e-3])
    assert finding.cause.text == (
        "the weights moved too far: at step 0 an update moved those that feed b by 25% of their norm; from step 1 on "
        "samples look alike"
    )
    (finding,) = predicted([0.3, 0.0, 0.0, 0.0], losses=SETTLED, first_delta=1e-9)
    assert ". The loss has stopped falling: the loss went from " in finding.detail
    assert finding.cause.text == "cause unknown: it came with training, at step 1"
