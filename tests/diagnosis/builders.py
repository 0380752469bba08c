"""Records in five lines, for rules."""

import numpy as np

from rectifier.records import (
    NORM_BEFORE_CLIPPING,
    AxisSource,
    Cost,
    Process,
    Series,
    Site,
    SiteWindow,
    Snapshot,
    UnitAxis,
    Writer,
)

NAN = float("nan")
UNKNOWN_AXIS = UnitAxis(axis=None, ndim=2, source=AxisSource.VIEW)


def last_axis(ndim=2):
    return UnitAxis(axis=-1, ndim=ndim, source=AxisSource.LAYER, operation="Addmm")


def site(path="hidden", activation="relu", units=5, ndim=2, model="Net"):
    return Site(
        model=model, path=path, call=0, activation=activation, kind="module", source="net.py:7", units=units,
        unit_axis=last_axis(ndim) if units else UNKNOWN_AXIS,
    )  # fmt: skip


def window(
    index=0, steps=(0,), visits=4000, fired=(1, 1, 1, 1, 1), last=None, silent=None, distinct=None, delta=None,
    update=None, **more,
):  # fmt: skip
    fired = np.array(fired, np.int64)
    units = len(fired)
    steps = np.array(steps, np.int64)
    last = np.where(fired > 0, steps[-1], -1) if last is None else np.array(last, np.int64)
    silent = np.where(fired > 0, 0, visits) if silent is None else np.broadcast_to(np.array(silent, np.int64), units)
    known = None if distinct is None else np.broadcast_to(np.array(distinct, np.int64), units)
    return SiteWindow(
        site=index, steps=steps, visits=visits, seen=visits, fired=fired, mean=np.ones(units), mean_abs=np.ones(units),
        highest=np.ones(units), lowest=np.zeros(units), last_fired=last, silent_visits=silent, silent_distinct=known,
        delta=np.full(len(steps), NAN) if delta is None else np.broadcast_to(np.array(delta, float), len(steps)),
        update=np.full(len(steps), NAN) if update is None else np.broadcast_to(np.array(update, float), len(steps)),
        **more,
    )  # fmt: skip


def snapshot(
    windows, step=None, distinct=None, since_new=0, losses=None, interval=1, input_rms=None, input_offset=None,
    norms=None,
):  # fmt: skip
    windows = tuple(windows)
    step = max((int(w.steps[-1]) for w in windows), default=0) if step is None else step
    series = {}
    if losses is not None:
        series["loss"] = Series(steps=np.arange(len(losses)), values=np.array(losses, float))
    if norms is not None:
        series[NORM_BEFORE_CLIPPING] = Series(steps=np.arange(len(norms)), values=np.array(norms, float))
    cost = Cost(
        watching_seconds=0.1, training_seconds=10.0, observed_steps=9, counted_steps=9, steps=step + 1,
        interval=interval, count_interval=interval,
    )  # fmt: skip
    return Snapshot(
        step=step, seconds=1.0, windows=windows, series=series, cost=cost, distinct_samples=distinct,
        visits_since_new=since_new, input_rms=input_rms, input_offset=input_offset,
    )  # fmt: skip


def process(sites, *snapshots):
    writer = Writer(pid=1, rank=0, world_size=1, torch="2.13.0", device="cpu")
    return Process(writer=writer, sites=tuple(sites), snapshots=tuple(snapshots))


FALLING = list(np.geomspace(2.3, 0.1, 200))
FLAT = [2.3] * 200
