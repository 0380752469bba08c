"""NaN and infinities: the first place, what came before, and what they do to the other rules."""

import numpy as np
import pytest

from rectifier.records import Cause, CauseKind, NotFinite
from tests.diagnosis.builders import FALLING, NAN, process, site, snapshot, window
from tests.edge import diagnose, where, why


def first_finding(windows, losses, sites=None):
    sites = sites or [site(name) for name in "abc"[: len(windows)]]
    return diagnose(process(sites, snapshot(windows, losses=losses))).findings[0]


def test_the_first_place_that_is_not_finite_is_named_and_comes_first():
    windows = [window(i, steps=[9], nonfinite_step=step) for i, step in enumerate([None, 7, 5])]
    finding = first_finding(windows, [2.0] * 6 + [NAN] * 20)
    assert (finding.rule, finding.severity, where(finding)) == ("non-finite", "serious", "c")
    assert finding.title == "the output of c contained NaN or infinity at step 5"
    assert finding.detail == (
        "All activations observed before it were finite. Later numbers of this run are unreliable; units are judged by "
        "the steps before. The last finite loss before it was 2."
    )
    assert finding.cause.text == "cause unknown: the layer is known, the operation is not"
    assert finding.evidence == NotFinite(
        step=5, sites_affected=2, losses=20, activations_observed=False, last_finite_loss=2.0, known_losses=26
    )
    assert finding.cause == Cause(kind=CauseKind.UNKNOWN)


@pytest.mark.parametrize(("loss_step", "site_name"), [(4, None), (5, "a"), (6, "a")])
def test_within_a_step_the_loss_comes_after_the_activations(loss_step, site_name):
    losses = [2.0] * loss_step + [NAN] * 9
    finding = first_finding([window(steps=range(9), nonfinite_step=5)], losses)
    assert where(finding) == site_name


def test_a_loss_that_was_first_is_told_with_what_was_seen_of_its_step():
    seen = first_finding([window(steps=range(5))], [1.0, 1.0, np.inf, 1.0])
    assert seen.title == "the loss contained NaN or infinity at step 2"
    assert seen.detail == (
        "All observed activations of that step were finite: it arose after the last of them. Later numbers of this run "
        "are unreliable; units are judged by the steps before. The last finite loss before it was 1."
    )
    assert seen.advice.startswith("First look at the loss: a logarithm")
    unseen = first_finding([window(steps=[0, 8])], [1.0, 1.0, np.inf])
    assert unseen.detail.startswith("The activations of that step were not observed.")


def test_nan_is_not_read_as_health():
    """`(z <= 0).all()` is False for NaN and would say 0% dead."""
    assert first_finding([window(fired=(9,) * 5, nonfinite_step=3, steps=[3])], None).severity == "serious"


@pytest.mark.parametrize(
    ("updates", "cause"),
    [
        (
            [0.001, 0.001, 0.001, 0.02, 0.001],
            "the weights moved too far: at step 3 an update moved those that feed a by 2% of their norm, 20 times the "
            "median of the steps before",
        ),
        ([0.001, 0.001, 0.001, 0.0099, 0.001], "cause unknown: the layer is known, the operation is not"),
        (
            [0.2] * 5,
            "the weights moved too far: at step 2 an update moved those that feed a by 20% of their norm, as the "
            "steps "
            "before it did",
        ),
        ([NAN] * 5, "cause unknown: the layer is known, the operation is not"),
        ([np.inf] * 5, "cause unknown: the layer is known, the operation is not"),
        ([0.0] * 5, "cause unknown: the layer is known, the operation is not"),
    ],
)
def test_a_large_update_just_before_is_the_cause(updates, cause):
    windows = [window(steps=range(6), update=[*updates, 7.0], nonfinite_step=5)]
    assert first_finding(windows, FALLING[:5]).cause.text == cause


@pytest.mark.parametrize(("scale", "named"), [(10.0, False), (10.1, True), (NAN, False), (np.inf, False)])
def test_inputs_on_a_large_scale_are_named_before_the_update(scale, named):
    windows = [window(steps=range(6), update=[0.2] * 5 + [7.0], nonfinite_step=5)]
    finding = diagnose(process([site("a")], snapshot(windows, losses=FALLING[:5], input_rms=scale))).findings[0]
    assert (why(finding) == "input_scale") == named
    assert finding.cause.text.startswith(
        "input scale: the root mean square of the inputs is 10.1; the weights moved too far" if named else "the weights"
    )


def gradients(pattern):
    """One observed step per letter; i: infinite gradients at a and b, not at c."""
    deltas = [np.inf if letter == "i" else 1.0 for letter in pattern]
    steps = range(len(pattern))
    windows = [window(i, steps=steps, fired=(9,) * 5, delta=delta) for i, delta in enumerate([deltas, deltas, 1.0])]
    return diagnose(process([site(name) for name in "abc"], snapshot(windows))).findings


@pytest.mark.parametrize(("run", "severity"), [(1, "info"), (10, "info"), (11, "serious")])
def test_infinite_gradients_are_a_loss_scaler_at_work_until_there_are_too_many(run, severity):
    (finding,) = gradients("." + "i" * run + "." * 9)
    assert (finding.rule, finding.severity) == ("exploding-gradient", severity)
    # Backward comes from c: b had it first.
    assert finding.title == "an infinite gradient at b at step 1"
    assert finding.detail == f"{run} of {run + 10} observed steps had one, at most {run} in a row."


def test_infinite_gradients_apart_from_each_other_are_no_run():
    (finding,) = gradients("i." * 20)
    assert (finding.severity, finding.numbers["longest_run"], finding.numbers["steps"]) == ("info", 1, 20)
