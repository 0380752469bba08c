"""Saturated, always on, dormant: each threshold at, just below and just above it, and every wording."""

from dataclasses import replace

import numpy as np
import pytest

from tests.diagnosis.builders import FALLING, FLAT, output, process, site, snapshot, window
from tests.edge import diagnose


def diagnosed(windows, *, activation="relu", losses=FALLING, units=5):
    sites = [site("a", activation=activation, units=units)]
    return diagnose(
        process(sites, *[snapshot([one], losses=losses if not n else None) for n, one in enumerate(windows)])
    )


def named(diagnosis, name):
    return [finding for finding in diagnosis.findings if finding.rule == name]


@pytest.mark.parametrize(
    ("saturated", "visits", "said"),
    [
        ((990, 990, 990, 0, 0), 1000, True),
        ((990, 990, 989, 0, 0), 1000, False),
        ((1000, 1000, 1000, 1000, 1000), 300, True),
        ((160, 160, 160, 160, 159), 199, False),
    ],
)
def test_a_layer_is_saturated_when_more_than_half_of_it_is(saturated, visits, said):
    one = window(fired=(500,) * 5, visits=visits, saturated=np.minimum(saturated, visits))
    got = named(diagnosed([one], activation="tanh"), "saturated")
    assert bool(got) == said
    if said and visits == 1000:
        assert (got[0].severity, got[0].title, got[0].units) == ("info", "a: 3 of 5 units saturated", (0, 1, 2))
        assert got[0].detail == (
            "Their slope was below 1% of its maximum on at least 99% of the last 1,000 observed samples. Over the "
            "last 5,000 (sample, unit) pairs it was so in 59%."
        )


def test_half_of_a_layer_is_not_yet_a_saturated_layer():
    one = window(fired=(500,) * 4, visits=1000, saturated=np.array([1000, 1000, 0, 0]))
    assert named(diagnosed([one], activation="sigmoid", units=4), "saturated") == []


def test_saturation_is_a_warning_where_training_stands_still():
    one = window(fired=(500,) * 5, visits=1000, saturated=np.full(5, 1000))
    (got,) = named(diagnosed([one], activation="tanh", losses=FLAT), "saturated")
    assert got.severity == "warning"
    assert got.detail.endswith("Training does not progress: the loss went from 2.3 to 2.3 in 200 steps.")
    assert got.advice.startswith("Initialise with the activation's gain")


@pytest.mark.parametrize(("mean", "activation", "losses", "severity"), [
    (0.95, "sigmoid", FALLING, "info"), (0.95, "sigmoid", FLAT, "warning"), (0.5, "sigmoid", FALLING, "warning"),
    (0.95, "tanh", FALLING, "warning"),
])  # fmt: skip
def test_an_open_gate_is_no_alarm_while_the_training_progresses(mean, activation, losses, severity):
    one = window(fired=(1000,) * 5, visits=1000, saturated=np.full(5, 1000))
    object.__setattr__(one, "mean", np.full(5, mean))
    (got,) = named(diagnosed([one], activation=activation, losses=losses), "saturated")
    assert got.severity == severity


@pytest.mark.parametrize(("open_ones", "severity"), [(0.99, "info"), (0.1, "warning")])
def test_a_gate_of_which_a_few_units_close_is_open_all_the_same(open_ones, severity):
    one = window(fired=(1000,) * 12, visits=1000, saturated=np.array([1000] * 11 + [0]))
    object.__setattr__(one, "mean", np.array([open_ones] * 11 + [0.4]))
    (got,) = named(diagnosed([one], activation="sigmoid", units=12, losses=FALLING), "saturated")
    assert got.severity == severity


def test_why_a_layer_is_saturated():
    """By inputs on a large scale, weights that began so, or an update; each at its threshold."""

    def why(*, first=1000, update=1e-3, rms=None):
        windows = [
            window(fired=(500,) * 5, visits=1000, steps=(0,), saturated=np.full(5, first), update=1e-3),
            window(fired=(500,) * 5, visits=1000, steps=(1,), saturated=np.full(5, 1000), update=update),
        ]
        shots = [snapshot([one], losses=FLAT if n else None, input_rms=rms) for n, one in enumerate(windows)]
        (got,) = named(diagnose(process([site("a", activation="tanh")], *shots)), "saturated")
        return str(got.cause.kind), got.cause.text

    assert why(rms=10.1) == ("input_scale", "input scale: the root mean square of the inputs is 10.1")
    assert why(rms=10.0, first=990) == (
        "initial_weights",
        "initialisation: 5 of them were so in the first window already, so their weights began large",
    )
    assert why(first=700, update=0.11) == (
        "learning_rate",
        "the weights moved too far: at step 1 an update moved them by 11% of their norm",
    )
    assert why(first=700, update=0.1)[0] == "unknown"


@pytest.mark.parametrize(("bias", "kind"), [(-10.0, "initial_bias"), (10.0, "initial_bias"), (9.9, "initial_weights")])
def test_biases_that_hold_a_layer_where_it_is_flat_are_named(bias, kind):
    """As of a gate that begins shut, or open."""
    windows = [
        window(fired=(500,) * 5, visits=1000, steps=(step,), saturated=np.full(5, 1000), update=1e-3,
               bias=np.full(5, bias), pre_mean=np.full(5, bias + 1.0))
        for step in (0, 1)
    ]  # fmt: skip
    (got,) = named(diagnosed(windows, activation="sigmoid", losses=FLAT), "saturated")
    assert str(got.cause.kind) == kind
    assert got.remedies == (("zero_bias",) if kind == "initial_bias" else ("init_gain",))


def test_a_monitor_that_did_not_count_saturation_says_nothing_of_it():
    assert named(diagnosed([window(fired=(500,) * 5, visits=1000)], activation="tanh"), "saturated") == []


def on(visits, lowest, **more):
    one = window(fired=(visits,) * len(lowest), visits=visits, **more)
    object.__setattr__(one, "lowest", np.array(lowest, float))
    return one


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ([on(3000, (1, 0, 0, 0, 0))], True),
        ([on(2999, (1, 0, 0, 0, 0))], False),
        ([on(2000, (1, 0, 0, 0, 0)), on(1000, (1e-30, 0, 0, 0, 0), steps=(1,))], True),
        ([on(9000, (0, 0, 0, 0, 0)), on(2999, (1, 1, 1, 1, 1), steps=(1,))], False),
        ([on(9000, (1, 1, 1, 1, 1)), on(1000, (0, 0, 0, 0, 0), steps=(1,))], False),
    ],
)
def test_always_on_is_three_thousand_samples_in_a_row(windows, said):
    diagnosis = diagnosed(windows)
    got = named(diagnosis, "always-on")
    assert bool(got) == said
    assert diagnosis.layers[0].always_on == (1 if said else 0)
    if said:
        assert (got[0].severity, got[0].title, got[0].units) == ("info", "a: 1 of 5 units are always on", (0,))
        assert got[0].detail == (
            "Their output stayed above 0 at every position of the last 3,000 observed samples (visits, not distinct "
            "samples): relu is linear there."
        )


def test_a_few_always_on_units_are_counted_and_not_talked_about():
    diagnosis = diagnosed([on(3000, (1, *[0] * 10))], units=11)
    assert (named(diagnosis, "always-on"), diagnosis.layers[0].always_on) == ([], 1)


def test_a_layer_that_is_always_on_is_linear_and_a_smooth_one_is_not():
    (got,) = named(diagnosed([on(3000, (1,) * 5)]), "always-on")
    assert got.detail.endswith("The layer is linear.")
    assert named(diagnosed([on(3000, (1,) * 5)], activation="gelu"), "always-on") == []


def test_dormant_units_are_counted_where_the_definition_holds():
    one = window(fired=(1,) * 5, visits=4000)
    object.__setattr__(one, "mean_abs", np.array([0.0, 0.02, 0.09, 1.0, 1.0]) / 0.422)
    assert diagnosed([one]).layers[0].dormant == ((0.0, 1), (0.025, 1), (0.1, 2))
    assert diagnosed([one], activation="elu").layers[0].dormant == ()


def pairs(share, *, visits=1000, units=5, losses=FALLING, **more):
    """Each unit saturated on the same share of the samples: no unit is saturated as a whole."""
    one = window(
        fired=(visits // 2,) * units, visits=visits, saturated=np.full(units, round(share * visits)), **more
    )  # fmt: skip
    return named(diagnosed([one], activation="tanh", losses=losses, units=units), "saturated")


@pytest.mark.parametrize(("share", "said"), [(0.80, False), (0.801, True), (0.9, True)])
def test_most_of_the_pairs_saturated_is_a_warning_also_while_the_loss_falls(share, said):
    found = pairs(share)
    assert bool(found) == said
    if said:
        (got,) = found
        assert (got.severity, got.units) == ("warning", ())
        assert got.title.endswith("% saturated")
        assert "of the last 5,000 (sample, unit) pairs" in got.detail


@pytest.mark.parametrize(("visits", "said"), [(199, False), (200, True)])
def test_fewer_than_a_thousand_pairs_say_nothing(visits, said):
    assert bool(pairs(0.9, visits=visits)) == said


@pytest.mark.parametrize(("offset", "kind"), [(10.0, "initial_weights"), (10.1, "input_scale")])
def test_an_offset_of_the_inputs_is_named_for_the_first_site_only(offset, kind):
    one = [window(n, fired=(500,) * 5, visits=1000, saturated=np.full(5, 900)) for n in range(2)]
    sites = [site("a", activation="tanh"), site("b", activation="tanh")]
    found = named(diagnose(process(sites, snapshot(one, input_offset=offset, input_rms=1.0))), "saturated")
    assert [str(got.cause.kind) for got in found] == [kind, "initial_weights"]
    assert found[0].remedies == (("standardise_inputs",) if kind == "input_scale" else ("init_gain",))


def test_who_joins_a_training_later_cannot_say_that_it_began_saturated():
    (got,) = pairs(0.9, steps=(50,))
    assert (str(got.cause.kind), got.remedies) == ("unknown", ())


@pytest.mark.parametrize(("first", "severity"), [(0, "info"), (800, "info"), (801, "warning")])
def test_an_output_that_training_has_made_sure_of_itself_is_no_alarm(first, severity):
    """One that began so is: nothing was learned by then."""
    windows = [
        window(n, steps=(step,), fired=(500,) * 5, visits=1000, saturated=np.full(5, share))
        for n, step, share in ((0, 0, first), (0, 1, 950))
    ]
    fed = replace(site("a", activation="sigmoid"), fed_by="head.weight")
    shots = [snapshot([one], losses=FALLING if not n else None) for n, one in enumerate(windows)]
    (got,) = named(diagnose(process([fed], *shots, outputs=(output(units=5),))), "saturated")
    assert got.severity == severity
