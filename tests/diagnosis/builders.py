"""Records in five lines, for rules."""

import numpy as np

from rectifier.records import (
    NORM_BEFORE_CLIPPING,
    AxisSource,
    Cost,
    Holder,
    InputFacts,
    OptimizerState,
    Output,
    OutputWindow,
    Parameter,
    ParameterCounts,
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
    norms=None, **more,
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
        visits_since_new=since_new, input_rms=input_rms, input_offset=input_offset, **more,
    )  # fmt: skip


def process(sites, *snapshots, **more):
    writer = Writer(pid=1, rank=0, world_size=1, torch="2.13.0", device="cpu")
    return Process(writer=writer, sites=tuple(sites), snapshots=tuple(snapshots), **more)


def output(weight="head.weight", *, model="Net", units=1, loss=("MseLoss",), linear=False):
    return Output(model=model, weight=weight, operation="Addmm", units=units, loss=loss, linear=linear)


def readings(spread, *, index=0, every=10, rows=64, square=None, features=1.0, target=NAN, classes=-1, entropy=NAN,
             wrong=-1, constant=0):  # fmt: skip
    """Readings of one output; features and target are spreads, their mean square is 1 more."""
    spread = np.array(spread, float)
    many = len(spread)

    def row(value, kind=float):
        return np.broadcast_to(np.array(value, kind), many)

    return OutputWindow(
        output=index, steps=np.arange(many) * every, rows=row(rows, int),
        square=spread + 1 if square is None else row(square), spread=spread, constant_units=row(constant, int),
        features_square=row(features) + 1, features_spread=row(features), features_cosine=row(0.0),
        target_spread=row(target), target_square=row(target) + 1, classes=row(classes, int), class_entropy=row(entropy),
        nonfinite_output=row(0, int), nonfinite_features=row(0, int), nonfinite_target=row(0, int),
        wrongly_constant_units=row(wrong, int),
    )  # fmt: skip


def parameter(path="head.weight", *, model="Net", shape=(5, 5)):
    return Parameter(model=model, path=path, shape=shape, holder=Holder.MODULE)


def counts(number=1, *, gradient=1.0, first=1.0, last=1.0, decay=0.0, rate=0.01, connected=9):
    """Of parameters that all are alike; each column may be given one by one."""

    def row(value, kind=float):
        return np.broadcast_to(np.array(value, kind), number)

    return ParameterCounts(
        first_looked=row(0, int), last_looked=row(99, int), looked=row(99, int), without_gradient=row(0, int),
        zero_gradient=row(0, int), last_nonzero=row(99, int), nonfinite_step=row(-1, int),
        connected=row(connected, int),
        losses_read=9, first_compared=row(0, int), last_compared=row(99, int), last_changed=row(99, int),
        nonfinite_weight_step=row(-1, int), weight_first=row(first), weight_last=row(last), gradient=row(gradient),
        optimizer=row(0, int), learning_rate=row(rate), weight_decay=row(decay), epsilon=row(1e-8),
        optimizers=(OptimizerState(name="SGD", steps=99),), backward_passes=99, optimizer_steps=99,
    )  # fmt: skip


def inputs(*, constant=0, features=5, zero=False):
    return InputFacts(constant_features=constant, features=features, nonfinite_step=None, nonfinite_samples=0,
                      samples=900, batches=9, batches_of_one=0, zero=zero)  # fmt: skip


FALLING = list(np.geomspace(2.3, 0.1, 200))
FLAT = [2.3] * 200
