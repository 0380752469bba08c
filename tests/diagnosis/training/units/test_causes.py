"""Why units died: each cause with its numbers, and none where the evidence carries none."""

from dataclasses import replace

import numpy as np
import pytest

from tests.diagnosis.builders import (
    FALLING,
    FLAT,
    NAN,
    counts,
    inputs,
    output,
    parameter,
    process,
    site,
    snapshot,
    window,
)
from tests.edge import diagnose, where, why


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


@pytest.mark.parametrize(("width", "kind"), [(6, "narrow_layer"), (7, "initial_weights")])
def test_a_whole_narrow_layer_that_never_fired_is_so_by_its_width(width, kind):
    finding = cause_of([window(0, fired=(0,) * width, distinct=5000)], sites=[site("a", units=width)])
    assert str(finding.cause.kind) == kind
    assert finding.remedies[0] == ("more_units" if width == 6 else "init_gain")
    partly = cause_of([window(0, fired=(0,) * (width - 1) + (9,), distinct=5000)], sites=[site("a", units=width)])
    assert str(partly.cause.kind) == "initial_weights"


def test_the_gain_of_each_layer_is_told_where_it_was_measured():
    sites = [site("a", units=2), site("b", units=2)]
    below = window(0, fired=(9, 9), distinct=0, square=np.array([9.0]), spread=np.array([1.0]))
    born = window(1, fired=(0, 0), distinct=5000, square=np.array([2.25]), spread=np.array([0.0]))
    finding = cause_of([below, born], sites=sites)
    assert finding.cause.text.endswith("; gain per layer 0.5")
    shot = snapshot([below, born], input_rms=2.0)
    (finding,) = [one for one in diagnose(process(sites, shot)).findings if one.rule == "dead-units"]
    assert finding.cause.text.endswith("; gain per layer 0.5 to 1.5")
    assert (finding.numbers["smallest_gain"], finding.numbers["largest_gain"]) == (0.5, 1.5)


def born(**more):
    """Half of a first layer never fired; what is known beside is in `more`."""
    per_window = {name: more.pop(name) for name in ("pre_mean", "bias") if name in more}
    given = {name: more.pop(name) for name in ("outputs", "parameters", "feeds") if name in more}
    counted = more.pop("counted", None)
    one = window(0, fired=(0, 0, 0, 9, 9), distinct=[5000] * 3 + [0] * 2, **per_window)
    shot = snapshot([one], losses=FLAT, parameters=counted, **more)
    fed = replace(site("a"), fed_by="a.weight")
    found = [f for f in diagnose(process([fed], shot, **given)).findings if f.rule == "dead-units"]
    return found[0]


def test_a_weight_of_zeros_is_named():
    kept = (parameter("a.weight"),)
    got = born(parameters=kept, counted=counts(first=0.0))
    assert got.cause.text == "a.weight was exactly 0 at the start, so no gradient passes"
    assert got.remedies[0] == "init_random"
    assert why(born(parameters=kept, counted=counts(first=1e-9))) == "born dead"


@pytest.mark.parametrize(("bias", "kind"), [(-10.0, "initial_bias"), (-9.9, "born dead"), (10.0, "born dead")])
def test_a_bias_far_beyond_what_the_inputs_add_is_named(bias, kind):
    got = born(bias=np.full(5, bias), pre_mean=np.full(5, bias + 1.0))
    assert why(got) == kind
    assert got.remedies[0] == ("zero_bias" if kind == "initial_bias" else "init_gain")


@pytest.mark.parametrize(("fan_in", "kind"), [(4, "born dead"), (5, "initial_bias")])
def test_a_bias_that_torch_may_have_drawn_is_not_named_however_small_the_inputs(fan_in, kind):
    """Linear draws biases within 1/√fan_in: 0.5 for 4 inputs, 0.447 for 5."""
    kept = (parameter("a.weight", shape=(5, fan_in)),)
    got = born(bias=np.full(5, -0.46), pre_mean=np.full(5, -0.46 + 1e-3), parameters=kept, counted=counts(first=2.0))
    assert why(got) == kind


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"inputs": inputs(zero=True)}, "input_constant"), ({"distinct": 1}, "input_constant"),
        ({"input_offset": 10.1, "input_rms": 1.0}, "input_scale"), ({"input_offset": 9.9}, "born dead"),
        ({"input_rms": 300.0}, "born dead"),
    ],
)  # fmt: skip
def test_what_goes_into_the_first_layer_is_named_for_units_that_never_fired(more, kind):
    assert why(born(**more)) == kind


def test_the_last_activation_is_named():
    got = born(outputs=(output("a.weight", units=5),))
    assert (why(got), got.remedies[0]) == ("output_activation", "linear_output")


@pytest.mark.parametrize(
    ("last", "decay", "named"), [(0.5, 1.0, True), (0.51, 1.0, False), (0.5, 0.19, False), (0.5, 0.2, True)]
)
def test_decay_is_named_where_weights_shrank_and_it_pulls_more_than_the_loss(last, decay, named):
    fed = replace(site("a"), fed_by="a.weight")
    shots = [
        snapshot([one], parameters=counts(last=last, decay=decay, gradient=0.1)) for one in dying([1e-3] * 9, at=4)
    ]
    found = diagnose(process([fed], *shots, parameters=(parameter("a.weight"),))).findings
    (got,) = [one for one in found if one.rule == "dead-units"]
    assert (why(got) == "weight_decay") == named
    if named:
        assert got.cause.text.startswith(f"weight decay of {decay:g}: the weights shrank to 50% of their norm")


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
