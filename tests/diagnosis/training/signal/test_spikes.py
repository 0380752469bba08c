"""A gradient that explodes at one step: the norm before clipping, the update at that step, and what the loss did."""

import numpy as np
import pytest

from tests.diagnosis.builders import process, site, snapshot, window
from tests.edge import diagnose, why


def exploded(norms=None, *, deltas=1.0, update=0.2, after=2.3, rate=None):
    """Ten steps; at step 6 something may stand out. The loss is 0.5 until then."""
    updates = [1e-3] * 6 + [update] + [1e-3] * 3
    more = {} if rate is None else {"learning_rate": np.full(10, rate)}
    windows = [
        window(0, steps=range(10), fired=(9,) * 5, delta=deltas, update=1e-3),
        window(1, steps=range(10), fired=(9,) * 5, delta=1.0, update=updates, **more),
    ]
    losses = [0.5] * 7 + [after] * 60
    found = diagnose(process([site("a"), site("b")], snapshot(windows, losses=losses, norms=norms))).findings
    return [finding for finding in found if finding.rule == "exploding-gradient"]


def at_six(value):
    return [2.0] * 6 + [value] + [2.0] * 3


@pytest.mark.parametrize(("norm", "said"), [(19.9, False), (20.0, False), (20.1, True)])
def test_ten_times_the_running_median_is_not_yet_an_explosion(norm, said):
    assert bool(exploded(at_six(norm))) == said


@pytest.mark.parametrize(("update", "said"), [(0.099, False), (0.1, False), (0.101, True)])
def test_and_the_weights_must_have_moved_by_a_tenth(update, said):
    assert bool(exploded(at_six(200.0), update=update)) == said


def test_what_was_clipped_is_asked_before_the_gradient_that_arrived():
    assert not exploded(at_six(2.0), deltas=at_six(200.0))
    (finding,) = exploded(None, deltas=at_six(200.0))
    assert "‖∂L/∂z‖ at a was 200" in finding.detail
    assert finding.numbers["before_clipping"] == 0


@pytest.mark.parametrize("norms", [at_six(np.nan), at_six(np.inf), [np.inf] * 10])
def test_steps_that_a_scaler_skips_are_no_explosion(norms):
    assert not exploded(norms)


def test_the_median_is_of_the_steps_before():
    # Half of all norms are large, and none of those before the first of them.
    assert exploded([2.0] * 6 + [200.0] * 4)
    assert not exploded([200.0] * 6 + [200.0] * 4)


@pytest.mark.parametrize(
    ("after", "severity", "words"),
    [
        (0.52, "info", "The loss came back: 0.5 before it, 0.52 at the end."),
        (0.53, "serious", "Training does not progress: the loss went from 0.5 to 0.53 in 67 steps."),
        (2.3, "serious", "Training does not progress: the loss went from 0.5 to 2.3 in 67 steps."),
    ],
)
def test_it_is_an_alarm_when_the_loss_stays_up(after, severity, words):
    (finding,) = exploded(at_six(200.0), after=after)
    assert finding.severity == severity
    assert finding.detail.endswith(words)


def test_a_loss_that_had_fallen_and_stays_higher_is_a_warning():
    windows = [window(0, steps=[100, 101, 102, 103], fired=(9,) * 5, delta=1.0, update=[1e-3, 1e-3, 1e-3, 0.3])]
    losses = [*np.geomspace(2.3, 0.1, 100), *[0.1] * 4, *[1.0] * 100]
    norms = [2.0] * 103 + [90.0] + [2.0] * 100
    (finding,) = diagnose(process([site("a")], snapshot(windows, losses=losses, norms=norms))).findings
    assert (finding.rule, finding.severity) == ("exploding-gradient", "warning")
    assert finding.detail.endswith(" The loss has not come back: 0.119 before it, 1 at the end.")


def test_the_message():
    (finding,) = exploded([2.0] * 6 + [500.0] + [2.0] * 3, rate=0.25)
    assert finding.title == "the gradient exploded at step 6: 250 times its running median"
    assert finding.detail == (
        "There the gradient's norm before clipping was 500, and one update moved the weights that feed b by 20% of "
        "their norm. Training does not progress: the loss went from 0.5 to 2.3 in 67 steps."
    )
    assert finding.cause.text == (
        "the weights moved too far for the gradient they met; the learning rate was 0.25; a single bad batch does the "
        "same"
    )
    assert finding.advice.startswith("First clip the gradient's norm at about its running median")
    assert finding.numbers["gradient_over_median"] == 250
    assert why(finding) == "learning_rate"


@pytest.mark.parametrize(
    ("peak", "end", "severity", "words"),
    [
        (5.0, -10.3, "info", " The loss came back: -10 before it, -10.3 at the end."),
        (5.0, -9.51, "info", " The loss came back: -10 before it, -9.51 at the end."),
        (5.0, -9.49, "warning", " The loss has not come back: -10 before it, -9.49 at the end."),
    ],
)
def test_a_negative_loss_comes_back_downwards_too(peak, end, severity, words):
    windows = [window(0, steps=range(10), fired=(9,) * 5, delta=1.0, update=[1e-3] * 6 + [0.2] + [1e-3] * 3)]
    losses = [-10.0] * 7 + [peak] * 5 + [end] * 200
    (finding,) = diagnose(process([site("a")], snapshot(windows, losses=losses, norms=at_six(200.0)))).findings
    assert (finding.rule, finding.severity) == ("exploding-gradient", severity)
    assert finding.detail.endswith(words)


def test_a_weight_that_was_exactly_0_has_no_relative_update():
    assert not exploded(at_six(200.0), update=np.inf)
    windows = [
        window(index, steps=range(10), fired=(9,) * 5, delta=1.0, update=[1e-3] * 6 + [update] + [1e-3] * 3)
        for index, update in enumerate((np.inf, 0.2))
    ]
    recorded = process([site("a"), site("b")], snapshot(windows, losses=[0.5] * 67, norms=at_six(200.0)))
    (finding,) = [one for one in diagnose(recorded).findings if one.rule == "exploding-gradient"]
    assert "moved the weights that feed b by 20% of" in finding.detail


def two_models(first, second, norms, losses, deltas=1.0):
    """Explosions found where the second model's update at its sixth step, and at its first, is large."""
    updates = [0.2] + [1e-3] * 4 + [0.2] + [1e-3] * (len(second) - 6)
    windows = [
        window(0, steps=first, fired=(9,) * 5, delta=1.0, update=1e-3),
        window(1, steps=second, fired=(9,) * 5, delta=deltas, update=updates),
    ]
    sites = [site("a", model="First"), site("a", model="Second")]
    found = diagnose(process(sites, snapshot(windows, losses=losses, norms=norms))).findings
    return [finding for finding in found if finding.rule == "exploding-gradient"]


def test_models_that_train_one_after_the_other_have_each_their_own_median():
    losses = [*np.geomspace(1, 1e-3, 100), *np.geomspace(1, 2e-3, 100)]
    norms = [1e-3] * 100 + [1.0] * 100
    assert not two_models(range(100), range(100, 200), norms, losses)
    norms[105] = 30.0
    (finding,) = two_models(range(100), range(100, 200), norms, losses)
    assert finding.title == "the gradient exploded at step 105: 30 times its running median"
    assert finding.detail.endswith(" The loss came back: 0.8552 before it, 0.002654 at the end.")


def test_norms_of_models_that_train_at_once_are_nobodys():
    second = range(1, 21, 2)
    norms = [1e-3] * 11 + [1.0] * 9
    assert not two_models(range(0, 20, 2), second, norms, [0.5] * 20)
    deltas = [1.0] * 5 + [50.0] + [1.0] * 4
    (finding,) = two_models(range(0, 20, 2), second, norms, [0.5] * 20, deltas)
    assert "‖∂L/∂z‖ at Second.a was 50" in finding.detail
    assert finding.numbers["before_clipping"] == 0


def test_several_are_one_finding():
    windows = [window(0, steps=range(10), fired=(9,) * 5, delta=1.0, update=0.2)]
    norms = [2.0] * 6 + [500.0, 2.0, 800.0, 2.0]
    found = diagnose(process([site("a")], snapshot(windows, losses=[0.5] * 7 + [2.3] * 60, norms=norms))).findings
    (finding,) = [one for one in found if one.rule == "exploding-gradient"]
    assert finding.title.startswith("the gradient exploded at step 8: 400 times")
    assert " It was so at 2 steps, first at step 6. " in finding.detail
