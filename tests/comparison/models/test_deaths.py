"""First silent layers, from records written by hand."""

import numpy as np
import pytest

from rectifier.comparison.models.deaths import first_silent_layer, summarise_deaths
from rectifier.records import AxisSource, Cost, Process, Site, SiteWindow, Snapshot, UnitAxis, Writer


def window(site, last_fired, silent_distinct):
    units = len(last_fired)
    nothing = np.zeros(units)
    return SiteWindow(
        site=site,
        steps=np.arange(3),
        visits=7,
        seen=7,
        fired=np.zeros(units, np.int64),
        mean=nothing,
        mean_abs=nothing,
        highest=nothing,
        lowest=nothing,
        last_fired=np.array(last_fired),
        silent_visits=np.array(last_fired) * 0,
        silent_distinct=None if silent_distinct is None else np.array(silent_distinct),
        delta=np.zeros(3),
        update=np.zeros(3),
    )


def process(*layers, distinct=75):
    sites = [
        Site(
            model="MLP",
            path=f"hidden.{i}",
            call=0,
            activation="relu",
            kind="module",
            source=None,
            units=3,
            unit_axis=UnitAxis(axis=-1, ndim=2, source=AxisSource.LAYER, operation="Linear"),
        )
        for i in range(1, len(layers) + 1)
    ]
    cost = Cost(
        watching_seconds=0,
        training_seconds=1,
        observed_steps=3,
        counted_steps=3,
        steps=40,
        interval=2,
        count_interval=2,
    )
    snapshot = Snapshot(
        step=39,
        seconds=1,
        windows=tuple(window(i, *layer) for i, layer in enumerate(layers)),
        cost=cost,
        distinct_samples=distinct,
    )
    writer = Writer(pid=1, rank=0, world_size=1, torch="", device="cpu")
    return Process(writer=writer, sites=tuple(sites), snapshots=(snapshot,))


ALIVE = ([39, 39, 2], [0, 0, 75])
DEAD_AT_8 = ([8, 2, -1], [75, 75, 75])
DEAD_AT_6 = ([6, 6, 4], [75, 75, 75])
UNSURE = ([6, 6, 4], [75, 75, 74])
BORN_DEAD = ([-1, -1, -1], [75, 75, 75])


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([ALIVE, ALIVE], None),
        ([ALIVE, DEAD_AT_8, ALIVE, DEAD_AT_6], ("hidden.4", 6)),
        ([ALIVE, DEAD_AT_8, DEAD_AT_8], ("hidden.2", 8)),
        ([UNSURE, DEAD_AT_8], ("hidden.2", 8)),
        ([DEAD_AT_6, BORN_DEAD], ("hidden.2", -1)),
        ([([8, 2, -1], None)], None),
    ],
)
def test_the_layer_that_fell_silent_first(layers, expected):
    found = first_silent_layer(process(*layers))
    assert (None if found is None else (found.label, found.last_fired)) == expected


def test_nothing_is_claimed_where_samples_are_unknown():
    assert first_silent_layer(process(DEAD_AT_8, distinct=None)) is None
    empty = process(ALIVE)
    assert first_silent_layer(Process(writer=empty.writer, sites=empty.sites, snapshots=())) is None


def test_many_trainings_together():
    runs = [process(ALIVE, DEAD_AT_8), process(ALIVE, ALIVE), process(DEAD_AT_6, DEAD_AT_8), process(ALIVE, DEAD_AT_6)]
    deaths = summarise_deaths(runs)
    assert deaths.runs == 4
    assert deaths.by_layer == [("hidden.1", 1), ("hidden.2", 2)]
    assert deaths.last_fired == (6, 6, 8)
    assert summarise_deaths(runs[1:2]).last_fired is None
