"""Why units died: each cause with its numbers, and none where the evidence carries none."""

import numpy as np
import pytest

from tests.edge import diagnose, where, why

from .builders import FALLING, FLAT, NAN, process, site, snapshot, window


def cause_of(*windows, sites=None, losses=None, which=-1):
    shots = [
        snapshot([w] if not isinstance(w, list) else w, losses=losses if i == 0 else None)
        for i, w in enumerate(windows)
    ]
    found = [f for f in diagnose(process(sites or [site()], *shots)).findings if f.rule == "dead-units"]
    return found[which]


def dying(updates, *, at, units=5, born=0):
    """All but `born` units fire up to step `at`, one window a step."""
    windows = []
    for step, update in enumerate(updates):
        fires = step <= at
        last = [-1 if unit < born else min(step, at) for unit in range(units)]
        silent = [0 if fires and unit >= born else 5000 for unit in range(units)]
        fired = [9 if count == 0 else 0 for count in silent]
        windows.append(window(steps=[step], fired=fired, last=last, silent=silent, distinct=silent, update=update))
    return windows


def test_born_dead_names_depth_and_width():
    sites = [site("a", units=7), site("b", units=5)]
    finding = cause_of([window(0, fired=(9,) * 7), window(1, fired=(0, 0, 0, 9, 9), distinct=5000)], sites=sites)
    assert finding.cause.text == (
        "born dead: 3 of 3 never fired since the first observation (activation 2 from the input, narrowest width up "
        "to it 5)"
    )
    assert why(finding) == "born dead"
    assert (finding.numbers["depth"], finding.numbers["narrowest_width"]) == (2, 5)


def test_a_whole_born_dead_layer_quotes_the_exact_chance_with_its_assumptions():
    sites = [site("a", units=2), site("b", units=2)]
    finding = cause_of([window(0, fired=(9, 9), distinct=0), window(1, fired=(0, 0), distinct=5000)], sites=sites)
    assert finding.cause.text == (
        "born dead: 2 of 2 never fired since the first observation (activation 2 from the input, narrowest width up "
        "to it 2); "
        "for a single input 44% of plain networks of these widths, with symmetric weights and zero biases, have a "
        "silent "
        "layer up to here, for many inputs fewer"
    )
    assert finding.numbers["born_dead_probability_one_input"] == pytest.approx(1 - (1 - 1 / 4) ** 2, rel=1e-12)


def test_the_gain_of_each_layer_is_told_where_it_was_measured():
    sites = [site("a", units=2), site("b", units=2)]
    below = window(0, fired=(9, 9), distinct=0, square=np.array([9.0]), spread=np.array([1.0]))
    born = window(1, fired=(0, 0), distinct=5000, square=np.array([2.25]), spread=np.array([0.0]))
    finding = cause_of([below, born], sites=sites)
    assert "; gain per layer 0.5; for a single input" in finding.cause.text
    shot = snapshot([below, born], input_rms=2.0)
    (finding,) = [one for one in diagnose(process(sites, shot)).findings if one.rule == "dead-units"]
    assert "; gain per layer 0.5 to 1.5; for a single input" in finding.cause.text
    assert (finding.numbers["smallest_gain"], finding.numbers["largest_gain"]) == (0.5, 1.5)


@pytest.mark.parametrize(("width", "told"), [(13, "0.012%"), (14, "fewer than 0.01%"), (2000, "fewer than 0.01%")])
def test_a_chance_too_small_to_print_is_not_printed_as_zero(width, told):
    finding = cause_of([window(fired=(0,) * width, distinct=5000)], sites=[site(units=width)])
    assert f"for a single input {told} of plain networks" in finding.cause.text
    assert finding.numbers["born_dead_probability_one_input"] == pytest.approx(
        2.0 ** -min(width, 1000), rel=1e-9, abs=0
    )


@pytest.mark.parametrize(("first", "kind"), [(0, "born dead"), (1, "unknown"), (720, "unknown")])
def test_who_comes_after_the_first_step_cannot_tell_born_dead_from_died_before(first, kind):
    """As where all of a training ran compiled, and its last evaluation did not."""
    silent = window(steps=[first], fired=[0] * 3, last=[-1] * 3, silent=[5000] * 3, distinct=[5000] * 3)
    finding = cause_of(silent, sites=[site(units=3)])
    assert why(finding) == kind
    if kind == "unknown":
        assert finding.cause.text == (
            f"cause unknown: 3 of 3 never fired since step {first:,}, the first observation; they were born dead, or "
            "died before it"
        )


@pytest.mark.parametrize(("units", "born", "kind"), [(5, 3, "born dead"), (4, 2, "born dead"), (5, 2, "unknown")])
def test_born_dead_is_the_cause_from_half_of_the_silent_units_on(units, born, kind):
    finding = cause_of(*dying([0.001] * 4, at=1, units=units, born=born), sites=[site(units=units)])
    assert why(finding) == kind
    assert "single input" not in finding.cause.text, "the layer was not born silent as a whole"


@pytest.mark.parametrize(("units", "stragglers", "at_once"), [(10, 1, 1), (5, 1, 0), (10, 0, 1), (1, 0, 0)])
def test_a_layer_dies_at_once_when_nine_tenths_of_it_do(units, stragglers, at_once):
    last = [4] * stragglers + [5] * (units - stragglers)
    early = window(steps=range(6), fired=(9,) * units, update=0.001)
    late = window(steps=[6], fired=(0,) * units, last=last, silent=5000, distinct=5000, update=0.001)
    finding = cause_of(early, late, sites=[site(units=units)])
    assert finding.numbers["died_at_once"] == at_once
    words = {(0, 1): "when it went", (0, 5): "when half of them had gone"}.get((at_once, units))
    assert (words or "when the layer fell silent at once") in finding.cause.text


@pytest.mark.parametrize(
    ("update", "kind"),
    [(0.00999, "unknown"), (0.0101, "learning_rate"), (0.0999, "learning_rate")],
)
def test_a_spike_is_ten_times_the_median_of_the_steps_before(update, kind):
    finding = cause_of(*dying([0.001] * 6 + [update], at=5), losses=FLAT)
    assert why(finding) == kind


@pytest.mark.parametrize(("update", "kind"), [(0.0999, "unknown"), (0.1, "learning_rate")])
def test_or_a_tenth_of_the_weights_at_once(update, kind):
    finding = cause_of(*dying([update] * 7, at=5), losses=FLAT)
    assert why(finding) == kind


def test_an_update_is_blamed_with_its_step_size_and_median():
    finding = cause_of(*dying([0.001] * 6 + [0.04], at=5), losses=FLAT)
    assert finding.cause.text == (
        "killed by an update: around step 5, when the layer fell silent at once, one step moved the weights by 4% "
        "of their "
        "norm, 40 times the median of the steps before"
    )
    assert finding.numbers["update_over_median"] == pytest.approx(40)
    assert finding.numbers["died_at_once"] == 1


def test_large_updates_throughout_are_said_to_be_the_rule():
    finding = cause_of(*dying([0.5] * 7, at=5), losses=FLAT)
    assert finding.cause.text.endswith("one step moved the weights by 50% of their norm, as the steps before it did")


def test_at_the_first_steps_there_is_no_median_to_compare_with():
    finding = cause_of(*dying([0.5] * 4, at=0), losses=FLAT)
    assert finding.cause.text.endswith(
        "around step 0, when the layer fell silent at once, one step moved the weights by 50% of their norm"
    )


def test_updates_after_the_death_are_not_to_blame():
    finding = cause_of(*dying([0.001] * 6 + [0.001, 0.9, 0.9], at=5), losses=FLAT)
    assert why(finding) == "unknown"
    assert finding.cause.text == (
        "cause unknown: around step 5, when the layer fell silent at once, one step moved the weights by 0.1% of "
        "their norm, "
        "as the steps before it did"
    )


@pytest.mark.parametrize("update", [NAN, np.inf])
def test_an_unknown_update_is_no_evidence(update):
    assert cause_of(*dying([update] * 7, at=5)).cause.text == "cause unknown"


def test_upstream_death_is_a_consequence_and_no_second_alarm():
    sites = [site("below"), site("above")]
    silent = [window(i, fired=(0,) * 5, last=[-1] * 5, distinct=5000) for i in (0, 1)]
    found = diagnose(process(sites, snapshot(silent, losses=FLAT))).findings
    assert [(finding.rule, where(finding), finding.severity) for finding in found] == [
        ("constant-network", None, "serious"),
        ("dead-units", "below", "serious"),
        ("dead-units", "above", "info"),
    ]
    assert found[1].cause.text.startswith("born dead: 5 of 5 never fired")
    assert found[2].cause.text == "upstream death: none of the 5 units of below below has ever fired"


@pytest.mark.parametrize(("above_last", "upstream"), [(3, False), (4, True), (5, True)])
def test_upstream_death_cannot_come_after_its_consequence(above_last, upstream):
    sites = [site("below"), site("above")]
    early = [window(i, steps=[0, 3, 4, 5], fired=(9,) * 5) for i in (0, 1)]
    late = [
        window(i, steps=[6], fired=(0,) * 5, last=[last] * 5, silent=5000, distinct=5000)
        for i, last in ((0, 4), (1, above_last))
    ]
    finding = cause_of(early, late, sites=sites)
    assert (why(finding) == "upstream") == upstream
    if upstream:
        assert finding.cause.text == "upstream death: none of the 5 units of below below has fired after step 4"


@pytest.mark.parametrize(("varying", "upstream"), [(0, True), (1, True), (2, False), (10, False)])
def test_a_layer_that_still_tells_samples_apart_has_another_path(varying, upstream):
    sites = [site("branch", units=5), site("above", units=11)]
    fired = [0] + [7] * varying + [4000] * (10 - varying)
    silent = [window(0, fired=(0,) * 5, distinct=5000), window(1, fired=fired, distinct=5000 * (np.array(fired) == 0))]
    finding = cause_of(silent, sites=sites, losses=FALLING)
    assert (finding.numbers.get("upstream") == "branch") == upstream


def test_a_silent_leaky_layer_kills_nothing():
    sites = [site("below", activation="leaky_relu:0.1"), site("above")]
    silent = [window(i, fired=(0,) * 5, last=[-1] * 5, distinct=5000) for i in (0, 1)]
    assert why(cause_of(silent, sites=sites)) == "born dead"


@pytest.mark.parametrize(("first", "kind"), [(-0.75, "drift"), (-0.76, "unknown"), (0.5, "drift"), (-2.0, "unknown")])
def test_drift_is_half_of_the_way_below_zero(first, kind):
    windows = [
        window(steps=[0], fired=(9,) * 5, pre_mean=np.full(5, first)),
        window(steps=[9], fired=(0,) * 5, last=[0] * 5, silent=5000, distinct=5000, pre_mean=np.full(5, -1.5)),
    ]
    assert why(cause_of(*windows)) == kind


def test_drift_says_which_term_moved():
    windows = [
        window(steps=[0], fired=(9,) * 5, pre_mean=np.full(5, 0.5), bias=np.zeros(5)),
        window(
            steps=[9],
            fired=(0,) * 5,
            last=[0] * 5,
            silent=5000,
            distinct=5000,
            pre_mean=np.full(5, -1.5),
            bias=np.full(5, -0.5),
        ),
    ]
    assert cause_of(*windows).cause.text == (
        "drift: their mean pre-activation fell from 0.5 in the first window to -1.5 in the last (medians); the bias "
        "moved it "
        "by -0.5, weights times inputs by -1.5"
    )


def test_a_mean_above_zero_has_not_drifted_below_it():
    """Units can be silent with a positive mean: where the mean was counted over other steps."""
    windows = [
        window(steps=[0], fired=(9,) * 5, pre_mean=np.full(5, 2.0)),
        window(steps=[9], fired=(0,) * 5, last=[0] * 5, silent=5000, distinct=5000, pre_mean=np.full(5, 0.5)),
    ]
    assert cause_of(*windows).cause.text == "cause unknown"


@pytest.mark.parametrize("bad", [NAN, -np.inf])
def test_a_mean_that_is_not_finite_is_no_drift(bad):
    windows = [
        window(steps=[0], fired=(9,) * 5, pre_mean=np.full(5, bad)),
        window(steps=[9], fired=(0,) * 5, last=[0] * 5, silent=5000, distinct=5000, pre_mean=np.full(5, -1.5)),
    ]
    assert cause_of(*windows).cause.text == "cause unknown"


def test_without_evidence_the_cause_is_unknown():
    first = window(steps=[0], fired=(9,) * 5)
    last = window(steps=[9], fired=(0,) * 5, last=[0] * 5, silent=5000, distinct=5000)
    assert cause_of(first, last).cause.text == "cause unknown"
