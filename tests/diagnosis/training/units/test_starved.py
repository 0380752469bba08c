"""Starved and frozen: each threshold at, just below and just above it, and every wording."""

from dataclasses import replace

import numpy as np
import pytest

from rectifier.records import AxisSource, UnitAxis
from tests.diagnosis.builders import FALLING, FLAT, NAN, process, site, snapshot, window
from tests.edge import diagnose, where

LOSS = {"falling": FALLING, "flat": FLAT, "zero": [0.0] * 200}


def found(sites, windows, *, loss="falling", name="starved"):
    losses = None if loss is None else LOSS[loss]
    diagnosis = diagnose(process(sites, snapshot(windows, losses=losses)))
    return [finding for finding in diagnosis.findings if finding.rule == name]


def counted(number, span):
    """That many counted steps, the first and the last `span` steps apart, inclusive."""
    return np.unique(np.linspace(0, span - 1, number).round().astype(int))


def taught(index, steps, **more):
    return window(index, steps=steps, delta=0.1, update=1e-3, **more)


@pytest.mark.parametrize(
    ("number", "span", "said"),
    [(20, 100, True), (19, 100, False), (20, 99, False), (100, 100, True), (21, 101, True)],
)
def test_a_site_without_gradient_is_starved_after_a_hundred_steps(number, span, said):
    steps = counted(number, span)
    got = found([site("a"), site("b")], [window(0, steps=steps, delta=0.0), taught(1, steps)])
    assert bool(got) == said
    if said:
        (one,) = got
        assert (one.severity, where(one), one.title) == ("info", "a", "a gets no gradient although its units fire")
        assert one.detail == (
            f"∂L/∂z was exactly 0 at each of the {number} sampled steps from 0 to {span - 1}, while the loss was not 0."
        )
        assert one.cause.text == (
            "a later operation masks this layer or multiplies it by 0; other layers get a gradient"
        )
        assert one.advice.startswith("Nothing to do if this is intended (a branch scaled to zero")


def test_a_gradient_that_never_came_is_told_apart_from_a_zero():
    steps = counted(50, 150)
    (one,) = found([site("a"), site("b")], [window(0, steps=steps, update=0.0), taught(1, steps)])
    assert one.detail.startswith("No gradient arrived at any of the 50 sampled steps")
    assert one.cause.text.startswith("a later operation detaches this layer, or the loss does not use it")


@pytest.mark.parametrize("delta", [1e-30, NAN])
def test_the_smallest_gradient_is_one_and_a_light_step_says_nothing(delta):
    steps = counted(50, 150)
    deltas = np.zeros(50)
    deltas[45] = delta
    got = found([site("a"), site("b")], [window(0, steps=steps, delta=deltas), taught(1, steps)])
    assert bool(got) == np.isnan(delta)


@pytest.mark.parametrize(("loss", "said"), [("falling", True), ("zero", False), (None, False)])
def test_a_loss_of_zero_teaches_nothing_and_rightly(loss, said):
    steps = counted(50, 150)
    assert bool(found([site("a"), site("b")], [window(0, steps=steps, delta=0.0), taught(1, steps)], loss=loss)) == said


@pytest.mark.parametrize(
    ("loss", "came", "severity"),
    [("falling", True, "warning"), ("flat", True, "warning"), ("falling", False, "info"), ("flat", False, "warning")],
)
def test_a_whole_network_without_gradient_is_a_warning_unless_it_may_be_frozen(loss, came, severity):
    steps = counted(50, 150)
    more = {"delta": 0.0} if came else {"update": 0.0}
    (one,) = found([site("a"), site("b")], [window(i, steps=steps, **more) for i in range(2)], loss=loss)
    assert (one.severity, where(one)) == (severity, "a")
    assert one.cause.text == (
        "no activation of this network gets one: the loss does not depend on them, or its gradient is exactly 0"
    )
    assert ("Training does not progress" in one.detail) == (loss == "flat")


@pytest.mark.parametrize(("shut", "said"), [(5, False), (4, True)])
def test_below_a_layer_that_is_saturated_as_a_whole_nobody_is_starved(shut, said):
    steps = counted(50, 150)
    saturated = np.where(np.arange(5) < shut, 4000, 0)
    windows = [window(0, steps=steps, delta=0.0), window(1, steps=steps, delta=0.0, saturated=saturated)]
    assert bool(found([site("a"), site("b", activation="tanh")], windows)) == said


def test_below_a_silent_layer_nobody_is_starved():
    steps = counted(50, 150)
    silent = window(1, steps=steps, fired=(0,) * 5, delta=0.0, distinct=4000)
    assert found([site("a"), site("b")], [window(0, steps=steps, delta=0.0), silent]) == []


@pytest.mark.parametrize(
    ("last", "fired", "units"),
    [
        ((-1, 149, 149, 149, 149), (1,) * 5, (0,)),
        ((40, 149, 12, 149, 149), (1,) * 5, (0, 2)),
        ((-1, -1, 149, 149, 149), (0, 1, 1, 1, 1), (1,)),
        ((140, 149, 149, 149, 149), (1,) * 5, ()),
    ],
)
def test_units_whose_bias_gets_no_gradient_while_they_fire(last, fired, units):
    steps = np.arange(150)
    got = found([site("a")], [taught(0, steps, fired=fired, last_gradient=np.array(last), distinct=4000)])
    assert (got[0].units if got else ()) == units
    if units == (0,):
        assert (got[0].severity, got[0].title) == ("info", "a: 1 of 5 units fire and get no gradient")
        assert got[0].detail == (
            "The gradient of their biases was exactly 0 at each of the 150 sampled steps from 0 to 149, while other "
            "units of the layer got one."
        )


@pytest.mark.parametrize(("last", "said"), [(49, True), (50, False)])
def test_units_are_starved_from_a_hundred_steps_on(last, said):
    steps = np.arange(150)
    ends = np.array([last, 149, 149, 149, 149])
    assert bool(found([site("a")], [taught(0, steps, last_gradient=ends)])) == said


# Frozen -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("updates", "delta", "said"),
    [((0, 0, 0), 0.1, True), ((0, 0), 0.1, False), ((0, 1e-30, 0), 0.1, False), ((0, 0, 0), 0.0, False),
     ((0, NAN, 0, 0), 0.1, True)],
)  # fmt: skip
def test_weights_that_never_move_are_labelled(updates, delta, said):
    steps = np.arange(len(updates))
    got = found([site("a"), site("b")], [window(0, steps=steps, delta=delta, update=updates), taught(1, steps)],
                name="frozen")  # fmt: skip
    assert bool(got) == said
    if said:
        assert (got[0].severity, got[0].title) == ("info", "1 layer is frozen: a")
        assert got[0].detail == (
            "The weights that feed a did not move at any sampled step, although a gradient arrived."
        )


def test_a_site_below_which_no_gradient_is_asked_for_is_labelled():
    frozen = replace(site("a", units=None), unit_axis=UnitAxis(axis=None, ndim=2, source=AxisSource.NO_HISTORY))
    (got,) = found([frozen, site("b")], [window(0, fired=()), taught(1, (0,))], name="frozen")
    assert got.title == "1 layer is frozen: a"
    assert got.detail == "No gradient is requested below a: units there are not judged."
    assert got.severity == "info"
    shot = snapshot([window(0, fired=()), taught(1, (0,))])
    assert diagnose(process([frozen, site("b")], shot)).not_judged == (), "a frozen part leaves nothing open"
