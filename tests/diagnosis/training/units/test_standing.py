"""Whether dead units may come back, and what drove the update that killed them."""

import numpy as np
import pytest

from tests.diagnosis.builders import FLAT, NAN, process, site, snapshot, window
from tests.edge import diagnose, where, why


def dead_in(sites, windows, **more):
    found = diagnose(process(sites, snapshot(windows, losses=FLAT, **more))).findings
    return next(finding for finding in found if finding.rule == "dead-units" and where(finding) == sites[-1].path)


STEPS = np.arange(9)
SILENT = {"fired": (0,) * 5, "distinct": 4000, "delta": 0.0}


@pytest.mark.parametrize(
    ("below", "own", "standing"),
    [(1e-3, 0.0, "tentative"), (1e-3, NAN, "tentative"), (0.0, 0.0, "permanent"), (0.0, 1e-9, None), (NAN, 0.0, None)],
)
def test_permanent_needs_that_nothing_moves(below, own, standing):
    windows = [window(0, steps=STEPS, update=below), window(1, steps=STEPS, update=own, **SILENT)]
    got = dead_in([site("a"), site("b")], windows)
    assert got.numbers.get("standing") == standing
    assert ("Tentative: 1 layer below still moves, by up to 0.1% of its weights a step." in got.detail) == (
        standing == "tentative"
    )
    assert (
        "Permanent: neither this layer's weights nor those below moved at the last sampled steps." in got.detail
    ) == (standing == "permanent")


def test_a_part_of_a_layer_is_not_told_to_be_permanent():
    part = {**SILENT, "fired": (0, 0, 0, 0, 9)}
    windows = [window(0, steps=STEPS, update=0.0), window(1, steps=STEPS, update=0.0, **part)]
    assert dead_in([site("a"), site("b")], windows).numbers.get("standing") is None


@pytest.mark.parametrize(("seen", "standing"), [(4000, "permanent"), (None, None)])
def test_of_the_first_layer_the_data_must_stand_still_too(seen, standing):
    got = dead_in([site("a")], [window(0, steps=STEPS, update=0.0, **SILENT)], distinct=seen, since_new=seen or 0)
    assert got.numbers.get("standing") == standing


def test_the_update_that_killed_is_told_with_its_learning_rate_and_gradient():
    updates, deltas = np.full(9, 1e-3), np.full(9, 0.5)
    updates[4], deltas[4] = 0.3, 20.0
    dying = window(
        0, steps=STEPS, fired=(0, 0, 0, 0, 5), last=(4, 4, 4, 4, 8), silent=(4000,) * 4 + (0,), distinct=4000,
        update=updates, delta=deltas, learning_rate=np.full(9, 0.03),
    )  # fmt: skip
    got = dead_in([site("a")], [dying])
    assert got.cause.text == (
        "killed by an update: around step 4, when half of them had gone, one step moved the weights by 30% of their "
        "norm, 300 times the median of the steps before; the learning rate was 0.03, ‖∂L/∂z‖ 40 times its median until "
        "then"
    )
    assert got.numbers["learning_rate"] == 0.03
    assert got.numbers["gradient_over_median"] == pytest.approx(40)


def test_without_those_numbers_the_cause_is_told_without_them():
    updates = np.full(9, 1e-3)
    updates[4] = 0.3
    dying = window(
        0, steps=STEPS, fired=(0, 0, 0, 0, 5), last=(4, 4, 4, 4, 8), silent=(4000,) * 4 + (0,), distinct=4000,
        update=updates,
    )  # fmt: skip
    assert dead_in([site("a")], [dying]).cause.text.endswith("300 times the median of the steps before")


@pytest.mark.parametrize(
    ("scale", "first", "named"), [(10.0, True, False), (10.1, True, True), (10.1, False, False), (None, True, False)]
)
def test_a_large_scale_of_the_inputs_is_named_for_the_first_layer_only(scale, first, named):
    updates = np.full(9, 1e-3)
    updates[4] = 0.3
    dying = window(
        0 if first else 1, steps=STEPS, fired=(0, 0, 0, 0, 5), last=(4, 4, 4, 4, 8), silent=(4000,) * 4 + (0,),
        distinct=4000, update=updates,
    )  # fmt: skip
    sites, windows = ([site("a")], [dying]) if first else ([site("a"), site("b")], [window(0, steps=STEPS), dying])
    got = dead_in(sites, windows, input_rms=scale)
    assert (why(got) == "input_scale") == named
    assert got.cause.text.startswith(
        "input scale: the root mean square of the inputs is 10.1; killed by an update: around step 4"
        if named
        else "killed by an update: around step 4"
    )
    if named:
        assert got.numbers["input_rms"] == scale


def dying_after(spike, *, steps, at=-2):
    """All but one unit last fire at the step before the last, when the weights move far; ‖∂L/∂z‖ stood out earlier."""
    number = len(steps)
    updates, deltas = np.full(number, 1e-3), np.full(number, 0.5)
    updates[at], deltas[4] = 0.3, spike
    last = steps[at]
    dying = window(
        0, steps=steps, fired=(0, 0, 0, 0, 5), last=(last,) * 4 + (steps[-1],), silent=(4000,) * 4 + (0,),
        distinct=4000, update=updates, delta=deltas,
    )  # fmt: skip
    return dead_in([site("a")], [dying])


@pytest.mark.parametrize(("spike", "said"), [(5.0, False), (5.1, True)])
def test_momentum_that_carries_a_spike_on_is_told(spike, said):
    got = dying_after(spike, steps=range(9))
    assert ("it had spiked at step 4, and momentum carries that on" in got.cause.text) == said
    assert got.numbers.get("gradient_spike_step") == (4 if said else None)


@pytest.mark.parametrize(("last", "said"), [(104, True), (105, False)])
def test_a_hundred_steps_later_momentum_has_forgotten(last, said):
    got = dying_after(50.0, steps=[*range(7), last, last + 1])
    assert ("gradient_spike_step" in got.numbers) == said


@pytest.mark.parametrize(("offset", "told"), [(1.0, False), (1.1, True), (None, False)])
def test_of_a_large_scale_it_is_told_whether_it_is_the_mean(offset, told):
    updates = np.full(9, 1e-3)
    updates[4] = 0.3
    dying = window(
        0, steps=STEPS, fired=(0, 0, 0, 0, 5), last=(4, 4, 4, 4, 8), silent=(4000,) * 4 + (0,), distinct=4000,
        update=updates,
    )  # fmt: skip
    got = dead_in([site("a")], [dying], input_rms=50.0, input_offset=offset)
    what = "is 50, most of it their mean (γ = 1.1 times what differs between samples); killed" if told else "is 50; kil"
    assert what in got.cause.text
