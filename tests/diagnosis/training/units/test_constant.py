"""A silent layer that cuts the only path, and silent layers that do not."""

from dataclasses import replace

import numpy as np
import pytest

from tests.diagnosis.builders import FALLING, FLAT, NAN, output, process, readings, site, snapshot, window
from tests.edge import diagnose, where

ALIVE = (2000,) * 5
ON_OR_OFF = (4000, 4000, 0, 4000, 4000)
DEAD = (0,) * 5


def judged(rows, *, deltas=(NAN,) * 9, losses=None, distinct=5000, visits=4000):
    """One site per row: what its units fired in the window after step 0, in which all of them fired."""
    sites = [site(name) for name in "abcdef"[: len(rows)]]
    early = [window(i, steps=[0], fired=(9,) * 5, delta=1.0) for i in range(len(rows))]
    late = [
        window(
            i,
            steps=range(4, 8),
            visits=visits,
            fired=row,
            last=[7 if fired else 0 for fired in row],
            silent=[0 if fired else distinct for fired in row],
            distinct=[0 if fired else distinct for fired in row],
            delta=deltas[i],
        )
        for i, row in enumerate(rows)
    ]
    findings = diagnose(process(sites, snapshot(early, losses=losses), snapshot(late))).findings
    return [finding for finding in findings if finding.rule == "constant-network"]


def test_the_proof_from_below_and_above_and_its_words():
    (finding,) = judged([ALIVE, DEAD, ON_OR_OFF, DEAD], deltas=(0, 0, 0.5, 0), losses=FALLING)
    assert finding.severity == "serious"
    assert where(finding) is None
    assert finding.title == "everything above b computes from a constant"
    assert finding.detail == (
        "None of its 5 units has fired after step 0 (known to within 4 steps); the gradient is exactly 0 at the "
        "activation "
        "below it and at each of the 2 activations above it no unit fires on some samples and not on others. Below it "
        "nothing learns any more; above it only what gives every sample the same answer."
    )
    assert finding.cause.text == "b is silent as a whole: cause unknown"
    assert finding.command == "rectifier compare train.py"
    assert (
        finding.numbers.items()
        >= {
            "silent_site": "b",
            "last_fired": 0,
            "sites_below_without_gradient": 1,
            "sites_above_constant": 2,
            "largest_varying_fraction": 0.0,
        }.items()
    )


@pytest.mark.parametrize(("delta", "cut"), [(0.0, True), (1e-30, False), (0.5, False), (float("inf"), False)])
def test_a_gradient_below_shows_another_path(delta, cut):
    assert bool(judged([ALIVE, DEAD], deltas=(delta, 0))) == cut


@pytest.mark.parametrize(("varying", "cut"), [(0, True), (1, False)])
def test_a_unit_above_that_tells_samples_apart_shows_another_path(varying, cut):
    above = (2000,) * varying + (4000,) * (5 - varying)
    assert bool(judged([DEAD, above])) == cut


@pytest.mark.parametrize(("units", "cut"), [(10, True), (9, False)])
def test_a_tenth_of_the_units_above_may_change_its_sign_within_a_window(units, cut):
    sites = [site("a"), site("b", units=units)]
    windows = [
        window(0, steps=[4], fired=DEAD, distinct=5000),
        window(1, steps=[4], fired=(7,) + (4000,) * (units - 1)),
    ]
    found = [f for f in diagnose(process(sites, snapshot(windows))).findings if f.rule == "constant-network"]
    assert bool(found) == cut
    if cut:
        assert (
            "at the activation above it at most 10% of the units fire on some samples and not on others"
            in found[0].detail
        )


def test_the_calmest_window_above_decides():
    """A constant's sign flips while a bias passes zero; a layer that tells samples apart does so in every window."""
    sites = [site("a"), site("b")]
    shots = [
        snapshot(
            [window(0, steps=[step], fired=DEAD, last=[-1] * 5, distinct=5000), window(1, steps=[step], fired=above)]
        )
        for step, above in ((4, ALIVE), (5, ON_OR_OFF))
    ]
    assert "constant-network" in [finding.rule for finding in diagnose(process(sites, *shots)).findings]


@pytest.mark.parametrize(("losses", "severity"), [(FLAT, "serious"), (None, "warning")])
def test_a_loss_that_stands_still_makes_up_for_few_samples(losses, severity):
    sites = [site("a"), site("b")]
    windows = [
        window(0, fired=(0, 0, 0, 9, 9), distinct=[400, 400, 400, 0, 0], delta=0.0),
        window(1, fired=DEAD, distinct=400, delta=0.0),
    ]
    found = diagnose(process(sites, snapshot(windows, losses=losses))).findings
    assert [(f.rule, where(f), f.severity) for f in found] == [
        ("constant-network", None, severity),
        ("dead-units", "b", "warning"),
        ("dead-units", "a", "info"),
    ]
    assert ("Training does not progress: the loss went from 2.3 to 2.3" in found[0].detail) == (losses is FLAT)
    assert "explained by the finding `constant-network`" in found[2].detail


def test_a_silent_layer_alone_is_no_proof():
    assert judged([DEAD]) == []
    assert judged([ALIVE, DEAD], deltas=(NAN, NAN)) == []


@pytest.mark.parametrize(("visits", "cut"), [(299, False), (300, True)])
def test_a_short_window_above_proves_nothing(visits, cut):
    assert bool(judged([DEAD, (visits,) * 5], visits=visits)) == cut


def test_windows_from_before_the_death_prove_nothing():
    sites = [site("a"), site("b")]
    shots = [
        snapshot([window(0, steps=[0, 5], fired=(9,) * 5), window(1, steps=[0, 5], fired=ON_OR_OFF)]),
        snapshot([window(0, steps=[6], fired=DEAD, last=[5] * 5, silent=4000, distinct=4000)]),
    ]
    assert "constant-network" not in [finding.rule for finding in diagnose(process(sites, *shots)).findings]


@pytest.mark.parametrize(("distinct", "severity"), [(2999, "warning"), (3000, "serious")])
def test_too_few_samples_make_it_a_warning_that_says_so(distinct, severity):
    (finding,) = judged([ALIVE, DEAD], deltas=(0, 0), distinct=distinct)
    assert finding.severity == severity
    assert ("as far as so few samples can tell" in finding.cause.text) == (severity == "warning")


def test_the_layer_that_fell_silent_first_is_the_one():
    sites = [site(name) for name in "abc"]
    early = [window(i, steps=range(5), fired=(9,) * 5) for i in range(3)]
    last = {0: 4, 1: 3, 2: 3}
    late = [
        window(i, steps=[9], fired=DEAD, last=[last[i]] * 5, silent=5000, distinct=5000, delta=0.0) for i in range(3)
    ]
    findings = diagnose(process(sites, snapshot(early, losses=FLAT), snapshot(late))).findings
    assert findings[0].title == "everything above b computes from a constant"
    severities = {where(finding): finding.severity for finding in findings if finding.rule == "dead-units"}
    assert severities == {"a": "serious", "b": "serious", "c": "info"}


def test_partly_dead_layers_of_a_constant_network_are_no_further_alarms():
    sites = [site("a"), site("b")]
    windows = [
        window(0, fired=(0, 0, 0, 9, 9), distinct=[5000, 5000, 5000, 0, 0], delta=0.0),
        window(1, fired=DEAD, distinct=5000, delta=0.0),
    ]
    found = {where(f): f for f in diagnose(process(sites, snapshot(windows, losses=FLAT))).findings}
    assert (found[None].severity, found["b"].severity, found["a"].severity) == ("serious", "serious", "info")
    assert found["a"].detail.endswith("That training does not progress is explained by the finding `constant-network`.")


def linear_layer(
    off, on, *, units=100, losses=FALLING, activation="relu", visits=3000, below=(), distinct=None, cost=None, **more
):  # fmt: skip
    """A layer of which some units are off on all samples, some on on all, and the others bend."""
    fired = [0] * off + [visits] * on + [visits // 2] * (units - off - on)
    one = window(
        len(below), steps=range(9), fired=fired, visits=visits, distinct=[0 if f else visits for f in fired], **more
    )  # fmt: skip
    object.__setattr__(one, "lowest", np.array([0.0] * off + [0.5] * on + [0.0] * (units - off - on)))
    sites = [*(site(name) for name in "xyz"[: len(below)]), site("a", activation=activation, units=units)]
    shot = snapshot([*below, one], losses=losses, distinct=distinct)
    given = {}
    if cost is not None:
        read = replace(readings(np.full(20, 1.0), target=1.0), cost=np.full(20, cost))
        shot, given = replace(shot, outputs=(read,)), {"outputs": (output(),)}
    return [one for one in diagnose(process(sites, shot, **given)).findings if one.rule == "constant-layer"]


@pytest.mark.parametrize(
    ("off", "on", "said"),
    [(99, 0, True), (98, 0, False), (50, 49, True), (50, 48, False), (0, 99, True), (1, 98, True)],
)
def test_a_layer_that_bends_nothing_is_a_warning_also_while_the_loss_falls(off, on, said):
    found = linear_layer(off, on)
    assert bool(found) == said
    if said:
        (got,) = found
        assert (got.severity, where(got), got.numbers["off"], got.numbers["on"]) == ("warning", "a", off, on)
        assert got.title == "a is linear: 99 of 100 units never switch on or off"


@pytest.mark.parametrize(("cost", "severity"), [(0.11, "warning"), (0.09, "info")])
def test_a_layer_that_bends_nothing_is_information_where_the_model_learned_well(cost, severity):
    """The targets of 64 rows have a variance of 1.016: what is left of it is about a tenth."""
    assert [one.severity for one in linear_layer(50, 50, cost=cost)] == [severity]


def test_a_layer_that_is_silent_as_a_whole_has_its_own_finding():
    assert not linear_layer(100, 0)


@pytest.mark.parametrize(("off", "on", "said"), [(3, 4, True), (3, 3, False)])
def test_a_narrow_layer_must_be_so_as_a_whole(off, on, said):
    assert bool(linear_layer(off, on, units=7)) == said


@pytest.mark.parametrize(("losses", "severity"), [(FALLING, "info"), (FLAT, "warning")])
def test_a_narrow_layer_alarms_where_the_training_stalls(losses, severity):
    """Of four units all may be on one side by chance."""
    assert [one.severity for one in linear_layer(1, 3, units=4, losses=losses)] == [severity]


def test_a_few_units_that_are_all_on_are_no_alarm():
    """A positive output, a scale."""
    assert [one.severity for one in linear_layer(0, 1, units=1)] == ["info"]


@pytest.mark.parametrize("activation", ["gelu", "silu", "softplus", "tanh", "sigmoid"])
def test_what_never_bends_at_a_point_has_no_such_state(activation):
    assert not linear_layer(50, 50, activation=activation)


@pytest.mark.parametrize(("visits", "said"), [(2999, False), (3000, True)])
def test_it_rests_on_as_many_samples_as_death(visits, said):
    assert bool(linear_layer(50, 49, visits=visits)) == said


@pytest.mark.parametrize(("distinct", "said"), [(1, False), (2, True)])
def test_a_single_sample_is_on_one_side_everywhere(distinct, said):
    assert bool(linear_layer(50, 49, distinct=distinct)) == said


def test_what_follows_a_silent_layer_is_not_accused():
    below = window(0, steps=range(9), fired=DEAD, distinct=5000)
    assert not linear_layer(50, 50, below=[below])
