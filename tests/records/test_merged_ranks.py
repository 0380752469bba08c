"""Ranks put together: what is said of all of them holds of one process that had seen all samples."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifier.records import ModelState, OptimizerState, Parameter, merge_ranks
from tests.diagnosis.builders import inputs, output, process, readings, site, snapshot, window
from tests.diagnosis.parameter_records import TRAINS, counts

FIRST = ("first_looked", "nonfinite_step", "first_compared", "nonfinite_weight_step")


def rank(number, rows=None, *, paths=None, of=2, **more):
    """What one of several ranks wrote: a row of what it knows for each parameter."""
    names = paths or [f"l{at}.weight" for at in range(len(rows or ()))]
    known = tuple(Parameter(model="Net", path=path, shape=(5, 7)) for path in names)
    end = snapshot([window()], step=9, parameters=None if rows is None else counts(rows), **more)
    one = process([site()], end, parameters=known)
    return replace(one, writer=replace(one.writer, rank=number, world_size=of, replica=True))


def merged(*ranks):
    (one,) = merge_ranks(ranks)
    return one


@st.composite
def gradients(draw):
    """By rank and step: no gradient, an exact 0, or another; the same steps on all ranks."""
    steps, ranks = draw(st.integers(1, 7)), draw(st.integers(2, 3))
    kinds = st.lists(st.sampled_from(["none", "zero", "some"]), min_size=steps, max_size=steps)
    return [draw(kinds) for _ in range(ranks)]


def row_of(seen):
    last = max((step for step, kind in enumerate(seen) if kind == "some"), default=-1)
    return {
        **TRAINS, "first_looked": 0, "last_looked": len(seen) - 1, "looked": len(seen), "last_nonzero": last,
        "without_gradient": seen.count("none"), "zero_gradient": seen.count("zero"),
    }  # fmt: skip


def of_all(kinds):
    """The gradient of all samples: absent, or 0, only where it is so on every rank."""
    return "some" if "some" in kinds else "zero" if "zero" in kinds else "none"


@settings(max_examples=200, deadline=None)
@given(gradients())
def test_absent_and_zero_gradients_are_bounded_from_below(ranks):
    parts = [rank(number, [row_of(seen)], of=len(ranks)) for number, seen in enumerate(ranks)]
    got = merged(*parts).snapshots[-1].parameters
    exact = row_of([of_all(kinds) for kinds in zip(*ranks, strict=True)])
    assert got.without_gradient[0] <= exact["without_gradient"]
    both = got.without_gradient[0] + got.zero_gradient[0]
    assert both <= exact["without_gradient"] + exact["zero_gradient"]
    for name in ("first_looked", "last_looked", "looked", "last_nonzero"):
        assert getattr(got, name).tolist() == [exact[name]], name
    if all(set(seen) == {"zero"} for seen in ranks):
        assert got.zero_gradient.tolist() == [len(ranks[0])], "where it was always so on all, it is known"


@given(st.lists(st.integers(-1, 99), min_size=2, max_size=4), st.sampled_from(FIRST))
def test_first_steps_are_the_first_of_any_rank(steps, name):
    parts = [rank(number, [{**TRAINS, name: step}], of=len(steps)) for number, step in enumerate(steps)]
    got = getattr(merged(*parts).snapshots[-1].parameters, name)
    assert got.tolist() == [min((step for step in steps if step >= 0), default=-1)]


def test_a_parameter_stands_still_only_where_it_does_on_every_rank():
    still, moves = {**TRAINS, "last_changed": -1}, {**TRAINS, "last_changed": 64}
    assert merged(rank(0, [still]), rank(1, [moves])).snapshots[-1].parameters.last_changed.tolist() == [64]
    assert merged(rank(0, [still]), rank(1, [still])).snapshots[-1].parameters.last_changed.tolist() == [-1]


def test_ranks_may_meet_parameters_in_another_order_or_not_at_all():
    here, there = {**TRAINS, "connected": 3}, {**TRAINS, "connected": 4}
    one = rank(0, [here, here], paths=["a", "b"])
    got = merged(one, rank(1, [there, there], paths=["b", "c"]))
    assert [known.path for known in got.parameters] == ["a", "b", "c"]
    known = got.snapshots[-1].parameters
    assert known.connected.tolist() == [3, 7, 4]
    assert known.learning_rate.tolist() == [0.01] * 3
    dead = {**TRAINS, "zero_gradient": 50, "last_nonzero": -1}
    known = merged(one, rank(1, [dead], paths=["c"])).snapshots[-1].parameters
    assert known.zero_gradient.tolist() == [0, 0, 0], "rank 0 never looked at it"


def test_where_one_rank_has_looked_at_nothing_the_others_count():
    got = merged(rank(0, [TRAINS]), rank(1))
    assert got.snapshots[-1].parameters.connected.tolist() == [10]
    assert merged(rank(0), rank(1)).snapshots[-1].parameters is None


def test_steps_that_a_scaler_left_out_are_the_most_of_any_rank():
    def taken(steps, skipped):
        return replace(
            rank(0, [TRAINS]).snapshots[-1],
            parameters=counts([TRAINS], optimizers=[OptimizerState(name="Adam", steps=steps, skipped=skipped)]),
        )

    parts = [replace(rank(n, [TRAINS]), snapshots=(taken(*one),)) for n, one in enumerate([(8, 2), (9, 1)])]
    assert merged(*parts).snapshots[-1].parameters.optimizers == (OptimizerState(name="Adam", steps=9, skipped=2),)


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9))
def test_outputs_of_all_ranks(seed, here, there):
    values = np.random.default_rng(seed).normal(size=(here + there, 3))

    def read(rows):
        spread = ((rows - rows.mean(axis=0)) ** 2).mean()
        return readings([spread], rows=len(rows), square=(rows**2).mean())

    parts = []
    for number, rows in enumerate((values[:here], values[here:])):
        one = rank(number, outputs=(read(rows),))
        parts.append(replace(one, outputs=(output(units=3),)))
    got = merged(*parts)
    (whole,) = got.snapshots[-1].outputs
    exact = read(values)
    assert got.outputs == (output(units=3),)
    assert whole.rows.tolist() == [here + there]
    assert np.allclose(whole.square, exact.square)
    assert (whole.spread <= exact.spread + 1e-12).all(), "bounded from below"


def test_units_are_constant_only_where_they_can_be_so_on_every_rank():
    def both(one, other):
        parts = [rank(n, outputs=(readings([1.0], wrong=wrong),)) for n, wrong in enumerate((one, other))]
        got = merged(*(replace(part, outputs=(output(units=5),)) for part in parts))
        return got.snapshots[-1].outputs[0].wrongly_constant_units.tolist()

    assert both(5, 5) == [5]
    assert both(3, 4) == [2]
    assert both(2, 2) == [0]
    assert both(-1, 5) == [-1]


def test_inputs_and_models():
    bad = replace(inputs(constant=3), nonfinite_step=7, nonfinite_samples=2)
    states = [(ModelState(name="Net", steps=9, eval_steps=evaluated),) for evaluated in (9, 8)]
    got = merged(rank(0, inputs=inputs(constant=3), models=states[0]), rank(1, inputs=bad, models=states[1]))
    facts = got.snapshots[-1].inputs
    assert (facts.samples, facts.batches, facts.nonfinite_step, facts.nonfinite_samples) == (1800, 18, 7, 2)
    assert facts.constant_features == 0, "they may differ between ranks"
    assert got.snapshots[-1].models == (ModelState(name="Net", steps=18, eval_steps=17),)
    assert merged(rank(0, inputs=inputs()), rank(1)).snapshots[-1].inputs is None
    zeros = inputs(constant=5, zero=True)
    assert merged(rank(0, inputs=zeros), rank(1, inputs=zeros)).snapshots[-1].inputs.constant_features == 5


def test_a_pair_of_sites_that_one_rank_has_seen_is_one():
    def fed(one, other):
        return merged(replace(rank(0), feeds=one), replace(rank(1), feeds=other)).feeds

    assert fed(((0, 1),), ((1, 2), (0, 1))) == ((0, 1), (1, 2))
    assert fed(None, ((0, 1),)) == ((0, 1),)
    assert fed(None, None) is None
