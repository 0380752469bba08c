"""How a network began, judged in a run: the same thresholds as before training, and an alarm only without progress."""

import numpy as np
import pytest

from tests.diagnosis.builders import FALLING, FLAT, output, process, readings, site, snapshot, window
from tests.edge import diagnose


def started(forward, backward, *, losses=FALLING, rms=1.0, offset=0.0):
    spread = np.array([forward**2, np.nan, np.nan])
    windows = [
        window(0, steps=range(3), fired=(9,) * 5, delta=[backward, 1.0, 1.0], update=1e-3),
        window(1, steps=range(3), fired=(9,) * 5, delta=1.0, update=1e-3, square=2 * spread, spread=spread),
    ]
    shot = snapshot(windows, losses=losses, input_rms=rms, input_offset=offset)
    found = diagnose(process([site("a"), site("b")], shot)).findings
    return [finding for finding in found if finding.rule == "poor-initialisation"]


@pytest.mark.parametrize(
    ("forward", "backward", "said"),
    [
        (0.9e-3, 0.9e-3, True), (1e-3, 0.9e-3, False), (0.9e-3, 1e-3, False), (0.9e-3, 0.0, False),
        (1.1e3, 1.1e3, True), (1e3, 1.1e3, False), (1.1e3, 1e3, False), (1.0, 1.0, False),
    ],
)  # fmt: skip
def test_both_ways_must_be_poor(forward, backward, said):
    assert bool(started(forward, backward)) == said


def test_the_inputs_own_size_is_taken_out_and_their_mean_too():
    assert started(0.9e-2, 0.9e-3, rms=10.0)
    assert not started(0.9e-3, 0.9e-3, rms=1.0, offset=3.0)
    assert not started(0.9e-3, 0.9e-3, rms=None)
    assert not started(0.9e-3, 0.9e-3, offset=None)


@pytest.mark.parametrize(("losses", "severity"), [(FALLING, "info"), (FLAT[:20], "warning"), (FLAT[:19], "info")])
def test_it_is_an_alarm_only_where_nothing_is_learned(losses, severity):
    (finding,) = started(1e-5, 1e-5, losses=losses)
    assert finding.severity == severity


def test_the_message():
    (finding,) = started(2e-5, 3e-5, losses=FLAT)
    assert finding.title == "the signal vanished both ways at the start"
    assert finding.detail == (
        "At step 0, the first sampled, 2.0e-05 times the differences between samples arrived at b, and 3.0e-05 of the "
        "gradient at a. Training does not progress: the loss went from 2.3 to 2.3 in 200 steps."
    )
    assert finding.cause.text == "initialisation and depth: 2 activations"
    (finding,) = started(5e4, 6e3)
    assert finding.title == "the signal exploded both ways at the start"


def deep(forward, backward, *, sites=5, losses=FLAT):
    """Given factors per layer."""
    ends = np.array([forward ** (2 * sites), np.nan, np.nan])
    windows = [
        window(n, steps=range(3), fired=(9,) * 5, delta=[backward ** (sites - 1 - n), 1.0, 1.0], update=1e-3,
               **({"square": 2 * ends, "spread": ends} if n == sites - 1 else {}))
        for n in range(sites)
    ]  # fmt: skip
    shot = snapshot(windows, losses=losses, input_rms=1.0, input_offset=0.0)
    found = diagnose(process([site(name) for name in "abcdefg"[:sites]], shot)).findings
    return [finding for finding in found if finding.rule == "poor-initialisation"]


@pytest.mark.parametrize(
    ("factors", "said"),
    [((1.0, 0.29), True), ((1.0, 0.31), False), ((0.29, 1.0), True), ((3.1, 1.0), True), ((2.9, 1.0), False),
     ((0.41, 0.41), False)],
)  # fmt: skip
def test_a_poor_factor_per_layer_matters_where_nothing_is_learned(factors, said):
    assert bool(deep(*factors)) == said
    assert not deep(*factors, losses=FALLING)
    assert not deep(*factors, losses=FLAT[:99])


def test_of_fewer_than_five_layers_a_factor_says_nothing():
    assert not deep(1.0, 0.2, sites=4)


def alike(cosine, *, losses=FLAT, rows=64, **more):
    read = readings([1.0] * 20, rows=rows)
    object.__setattr__(read, "features_cosine", np.broadcast_to(np.array(cosine, float), 20))
    one = window(0, steps=range(200), fired=(9,) * 5, delta=1.0, update=1e-3)
    shot = snapshot([one], losses=losses, outputs=(read,), step=200, **more)
    found = diagnose(process([site("a")], shot, outputs=(output(),))).findings
    return [finding for finding in found if finding.rule == "poor-initialisation"]


@pytest.mark.parametrize(("cosine", "said"), [(0.989, False), (0.99, False), (0.991, True)])
def test_rows_that_look_alike_are_an_alarm_only_where_nothing_is_learned(cosine, said):
    found = alike(cosine)
    assert [finding.severity for finding in found] == ["warning"] * said
    assert not alike(cosine, losses=FALLING), "six default layers have .999 and train well"
    assert not alike(cosine, rows=7)
    assert not alike([cosine, *[0.5] * 19]), "it is history"


def test_an_offset_is_named_for_rows_that_look_alike():
    assert [str(one.cause.kind) for one in alike(0.999, input_offset=11.0)] == ["input_scale"]
    (got,) = alike(0.999)
    assert (str(got.cause.kind), got.remedies) == ("initial_weights", ("init_gain",))
    assert got.title == "samples look alike at the input of head from the start: their mean cosine is 0.9990"
