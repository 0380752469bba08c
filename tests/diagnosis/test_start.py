"""How a network began, judged in a run: the same thresholds as before training, and an alarm only without progress."""

import numpy as np
import pytest

from tests.edge import diagnose

from .builders import FALLING, FLAT, process, site, snapshot, window


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
        "At step 0, the first counted, 2.0e-05 times the differences between samples arrived at b, and 3.0e-05 of the "
        "gradient at a. Training does not progress: the loss went from 2.3 to 2.3 in 200 steps."
    )
    assert finding.cause.text == "initialisation and depth: 2 activations"
    (finding,) = started(5e4, 6e3)
    assert finding.title == "the signal exploded both ways at the start"
