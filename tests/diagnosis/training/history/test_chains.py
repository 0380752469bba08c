"""What may be compared with what: sites that feed each other along the autograd graph, and no others."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.diagnosis.training.history.chains import above, below, chains, reached
from rectifier.diagnosis.training.history.sites import read_histories
from tests.diagnosis.builders import FALLING, FLAT, process, site, snapshot, window
from tests.edge import diagnose

GRAPHS = st.integers(1, 7).flatmap(
    lambda sites: st.tuples(
        st.just(sites),
        st.sets(st.tuples(st.integers(0, sites - 1), st.integers(0, sites - 1)).filter(lambda pair: pair[0] < pair[1])),
    )
)


def histories(sites, feeds, *, deltas=None, paths=None, losses=None, fed_by=None):
    names = paths or [f"s{n}" for n in range(sites)]
    calls = [names[:n].count(name) for n, name in enumerate(names)]
    held = [
        replace(site(name), call=call, fed_by=None if fed_by is None else fed_by[n])
        for n, (name, call) in enumerate(zip(names, calls, strict=True))
    ]
    windows = [window(n, steps=range(9), fired=(9,) * 5, update=1e-3, delta=1.0 if deltas is None else deltas[n])
               for n in range(sites)]  # fmt: skip
    return process(held, snapshot(windows, losses=losses), feeds=feeds)


@given(GRAPHS)
def test_what_is_reached_is_the_closure(graph):
    sites, pairs = graph
    matrix = np.zeros((sites, sites), bool)
    for one, other in pairs:
        matrix[one, other] = True
    closure = np.linalg.matrix_power(matrix.astype(int) + np.eye(sites, dtype=int), sites) > 0
    np.fill_diagonal(closure, val=False)
    assert [sorted(one) for one in reached(pairs, sites)] == [np.flatnonzero(row).tolist() for row in closure]


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6))))
def test_what_is_reached_is_the_closure_where_sites_feed_earlier_ones(pairs):
    closure = np.zeros((7, 7), bool)
    for one, other in pairs:
        closure[one, other] = True
    for middle in range(7):
        closure |= np.outer(closure[:, middle], closure[middle])
    assert [sorted(one) for one in reached(pairs, 7)] == [np.flatnonzero(row).tolist() for row in closure]


@given(GRAPHS)
def test_a_chain_follows_pairs_from_a_first_layer_to_a_last_one(graph):
    sites, pairs = graph
    all_sites = read_histories(histories(sites, tuple(pairs)))
    for chain in chains(all_sites):
        assert len(chain) > 1
        assert not below(chain[0], all_sites)
        assert not above(chain[-1], all_sites)
        assert all(other.index in one.feeds for one, other in itertools.pairwise(chain))
    ends = {(chain[0].index, chain[-1].index) for chain in chains(all_sites)}
    assert len(ends) == len(chains(all_sites))


def test_without_a_graph_the_order_of_the_first_calls_is_one_chain():
    (chain,) = chains(read_histories(histories(4, None)))
    assert [one.index for one in chain] == [0, 1, 2, 3]


def named(given):
    return {finding.rule: finding for finding in diagnose(given).findings}


def test_branches_beside_each_other_are_not_compared():
    beside, chained = ((0, 2), (1, 2)), ((0, 1), (1, 2))
    deltas = (1e-3, 1e3, 1.0)
    given_ = {"deltas": deltas, "losses": FLAT}
    assert "vanishing-gradient" not in named(histories(2, (), deltas=(1e-9, 1.0), losses=FLAT))
    assert "vanishing-gradient" in named(histories(2, ((0, 1),), deltas=(1e-9, 1.0), losses=FLAT))
    assert "exploding-gradient" in named(histories(3, beside, **given_))
    assert "exploding-gradient" not in named(histories(3, chained, **given_))


@pytest.mark.parametrize(("fed_by", "judged"), [(["w"] * 4, False), (None, False), (["a", "b", "c", "d"], True)])
def test_calls_of_one_module_over_time_are_one_layer(fed_by, judged):
    """An activation that is called behind each of several layers is several."""
    feeds = ((0, 1), (1, 2), (2, 3))
    found = named(histories(4, feeds, deltas=(1e-9, 1e-6, 1e-3, 1), paths=["cell"] * 4, losses=FLAT, fed_by=fed_by))
    assert ("vanishing-gradient" in found) == judged


def test_the_place_of_the_largest_loss_is_named():
    feeds = ((0, 1), (1, 2), (2, 3))
    got = named(histories(4, feeds, deltas=(0.9e-6, 1e-6, 0.9, 1.0), losses=FLAT))["vanishing-gradient"]
    assert (got.numbers["place_above"], got.numbers["place_below"]) == ("s2", "s1")
    assert "most of it between s2 and s1: 1.1e-06 times" in got.detail
    even = named(histories(4, feeds, deltas=(1e-6, 1e-4, 1e-2, 1.0), losses=FLAT))["vanishing-gradient"]
    assert "place_above" not in even.numbers


def test_a_silent_branch_does_not_cut_what_it_does_not_feed():
    def cut(feeds):
        windows = [
            window(0, steps=range(9), fired=(0,) * 5, distinct=5000, delta=0.0),
            window(1, steps=range(9), fired=(4000, 4000, 0, 4000, 4000), visits=4000, delta=1.0),
        ]
        return "constant-network" in named(
            process([site("a"), site("b")], snapshot(windows, losses=FALLING), feeds=feeds)
        )

    assert cut(((0, 1),))
    assert not cut(())


def test_units_died_upstream_only_along_the_graph():
    def why(feeds):
        windows = [
            window(0, steps=range(9), fired=(0,) * 5, distinct=5000),
            window(1, steps=range(9), fired=(0, 0, 0, 0, 4000), distinct=[5000] * 4 + [0]),
        ]
        found = diagnose(process([site("a"), site("b")], snapshot(windows), feeds=feeds)).findings
        return next(str(one.cause.kind) for one in found if one.rule == "dead-units" and one.site.path == "b")

    assert why(None) == why(((0, 1),)) == "upstream"
    assert why(()) != "upstream"
