"""Ranks that trained one model on shares of the data, counted together: a unit is silent when it is so on every rank.

Counters are sums, maxima and minima, so the merged ones are those of a single process that had seen all samples. What
one rank alone cannot know of the others is bounded from below, never guessed: how long a unit has been silent on a rank
after it last fired on another, and how many samples two ranks have in common.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from rectifier.records.arrays import FloatArray, IntArray
from rectifier.records.training.process import Process
from rectifier.records.training.ranks.parameters import (
    Placed,
    merge_inputs,
    merge_models,
    merge_outputs,
    merge_parameters,
)
from rectifier.records.training.site import Site
from rectifier.records.training.snapshot import Series, SiteWindow, Snapshot


def merge_ranks(processes: Sequence[Process]) -> tuple[Process, ...]:
    """Put the ranks of one data-parallel training together; every other process stays as it is.

    They are merged only when each rank wrote once and all have the same sites: not after a restart, and not when the
    ranks hold different parts of a model.
    """
    ranks = sorted((one for one in processes if one.writer.replica), key=lambda one: one.writer.rank)
    if (
        len(ranks) < 2
        or len(ranks) != ranks[0].writer.world_size
        or [one.writer.rank for one in ranks] != list(range(len(ranks)))
    ):
        return tuple(processes)
    if len({tuple(map(_key, one.sites)) for one in ranks}) > 1:
        return tuple(processes)
    first = ranks[0]
    placed = Placed.of(ranks)
    merged = replace(
        first,
        writer=replace(first.writer, ranks=len(ranks)),
        snapshots=_snapshots(ranks, placed),
        parameters=placed.parameters,
        outputs=placed.outputs,
        feeds=_feeds(ranks),
        unseen=tuple(dict.fromkeys(unseen for one in ranks for unseen in one.unseen)),
        changes=tuple(dict.fromkeys(change for one in ranks for change in one.changes)),
        warnings=tuple(f"rank {one.writer.rank}: {warning}" for one in ranks for warning in one.warnings),
    )
    return (merged, *(one for one in processes if not one.writer.replica))


def _feeds(ranks: Sequence[Process]) -> tuple[tuple[int, int], ...] | None:
    """A pair that one rank has seen is one; their sites are the same."""
    read = [one.feeds for one in ranks if one.feeds is not None]
    return tuple(sorted({pair for pairs in read for pair in pairs})) if read else None


def _key(site: Site) -> tuple[object, ...]:
    return site.model, site.path, site.call, site.activation, site.units


def _snapshots(ranks: Sequence[Process], placed: Placed) -> tuple[Snapshot, ...]:
    """One snapshot per stretch of steps that ends for all ranks at the same one."""
    if not all(one.snapshots for one in ranks):
        known = zip(ranks, placed.of_parameters, placed.of_outputs, strict=True)
        return tuple(
            replace(
                snapshot,
                parameters=merge_parameters([(snapshot.parameters, own)], len(placed.parameters)),
                outputs=merge_outputs([(snapshot, outputs)], placed.outputs),
            )
            for one, own, outputs in known
            for snapshot in one.snapshots
        )
    common = set.intersection(*({snapshot.step for snapshot in one.snapshots} for one in ranks))
    # What only some ranks have seen, because another was killed or is behind, goes with the last stretch.
    bounds = [*sorted(common)[:-1], max(one.snapshots[-1].step for one in ranks)]
    merged, before = [], -1
    for bound in bounds:
        stretch = [[s for s in one.snapshots if before < s.step <= bound] for one in ranks]
        past = [[s for s in one.snapshots if s.step <= bound] for one in ranks]
        whole = _snapshot([one for one in stretch if one], [one for one in past if one])
        ends = [(one[-1].parameters if one else None, own) for one, own in zip(past, placed.of_parameters, strict=True)]
        read = [(s, own) for one, own in zip(stretch, placed.of_outputs, strict=True) for s in one]
        whole = replace(
            whole,
            parameters=merge_parameters(ends, len(placed.parameters)),
            outputs=merge_outputs(read, placed.outputs),
        )
        merged.append(whole)
        before = bound
    return tuple(merged)


def _snapshot(stretch: Sequence[Sequence[Snapshot]], past: Sequence[Sequence[Snapshot]]) -> Snapshot:
    """The snapshots of one stretch, by rank; `past` holds all of each rank's up to its end."""
    everything = [snapshot for one in stretch for snapshot in one]
    ends = [one[-1] for one in past]
    found = sorted({window.site for snapshot in everything for window in snapshot.windows})
    distinct = [end.distinct_samples for end in ends]
    offsets = [end.input_offset for end in ends]
    squares = [None if end.input_rms is None else end.input_rms**2 for end in ends]
    # Sampling without a rank's knowledge of the others': the most that one of them has met is met for sure.
    total = max(known for known in distinct if known is not None) if None not in distinct else None
    return Snapshot(
        step=max(snapshot.step for snapshot in everything),
        seconds=max(end.seconds for end in ends),
        windows=tuple(_window(site, stretch, past) for site in found),
        series={
            name: _series([snapshot.series[name] for snapshot in everything if name in snapshot.series])
            for name in dict.fromkeys(name for snapshot in everything for name in snapshot.series)
        },
        cost=max((end.cost for end in ends), key=lambda cost: cost.watching_fraction),
        distinct_samples=total,
        visits_since_new=min(end.visits_since_new for end in ends),
        sparse=any(end.sparse for end in ends),
        left_alone={who: max(end.left_alone.get(who, 0) for end in ends) for end in ends for who in end.left_alone},
        input_offset=None if None in offsets else float(np.mean([one for one in offsets if one is not None])),
        input_rms=None if None in squares else float(np.sqrt(np.mean([s for s in squares if s is not None]))),
        inputs=merge_inputs([end.inputs for end in ends]),
        models=merge_models([end.models for end in ends]),
    )


def _series(parts: Sequence[Series]) -> Series:
    """The mean over the ranks, step by step; where late values were thinned, an extreme may be that of one rank."""
    steps, values = _by_step([(part.steps, part.values, 1.0) for part in parts], _mean)
    return Series(steps=steps, values=values, every=max(part.every for part in parts))


def _window(site: int, stretch: Sequence[Sequence[Snapshot]], past: Sequence[Sequence[Snapshot]]) -> SiteWindow:
    windows = [w for one in stretch for snapshot in one for w in snapshot.windows if w.site == site]
    history = [[w for snapshot in one for w in snapshot.windows if w.site == site] for one in past]
    history = [one for one in history if one]
    weights = np.array([float(w.visits) for w in windows])
    # Of a rank whose batches were empty in this stretch, what it knew before.
    last_fired = reduce(np.maximum, [one[-1].last_fired for one in history])
    steps = np.unique(np.concatenate([w.steps for w in windows]))

    def weighted(values: Callable[[SiteWindow], FloatArray]) -> FloatArray:
        counted = [(values(w), weight) for w, weight in zip(windows, weights, strict=True) if weight]
        if not counted:
            return values(windows[0])
        mean: FloatArray = np.average(
            [value for value, _ in counted], axis=0, weights=[weight for _, weight in counted]
        )
        return mean

    def at_steps(values: Callable[[SiteWindow], FloatArray | None], combine: "_Combine") -> FloatArray:
        # Samples of a rank at one step: the mean of its window.
        known = [
            (w.steps, part, w.visits / max(np.isfinite(w.delta).sum(), 1))
            for w in windows
            if (part := values(w)) is not None
        ]
        result = np.full(len(steps), np.nan)
        if known:
            at, combined = _by_step(known, combine)
            result[np.searchsorted(steps, at)] = combined
        return result

    bad = [w.nonfinite_step for w in windows if w.nonfinite_step is not None]
    gradients = [one[-1].last_gradient for one in history if one[-1].last_gradient is not None]
    saturated = [w.saturated for w in windows if w.saturated is not None]
    rates = any(w.learning_rate is not None for w in windows)
    sizes = any(w.square is not None for w in windows)
    return SiteWindow(
        site=site,
        steps=steps,
        visits=sum(w.visits for w in windows),
        seen=sum(w.seen for w in windows),
        fired=sum((w.fired for w in windows), np.zeros_like(windows[0].fired)),
        mean=weighted(lambda w: w.mean),
        mean_abs=weighted(lambda w: w.mean_abs),
        highest=reduce(np.maximum, [w.highest for w in windows]),
        lowest=reduce(np.minimum, [w.lowest for w in windows]),
        last_fired=last_fired,
        silent_visits=sum((_silent(one, last_fired) for one in history), np.zeros_like(last_fired)),
        silent_distinct=_distinct([one[-1] for one in history], last_fired, past, site),
        delta=at_steps(lambda w: w.delta, _root_mean_square),
        update=at_steps(lambda w: w.update, _largest),
        pre_mean=None if any(w.pre_mean is None for w in windows) else weighted(lambda w: w.pre_mean),  # type: ignore[arg-type,return-value]
        bias=windows[-1].bias,
        saturated=sum(saturated, np.zeros_like(saturated[0])) if len(saturated) == len(windows) else None,
        last_gradient=reduce(np.maximum, gradients) if gradients else None,
        learning_rate=at_steps(lambda w: w.learning_rate, _largest) if rates else None,
        nonfinite_step=min(bad, default=None),
        square=at_steps(lambda w: w.square, _weighted_mean) if sizes else None,
        spread=at_steps(lambda w: w.spread, _weighted_mean) if sizes else None,
    )


def _silent(windows: Sequence[SiteWindow], last_fired: IntArray) -> IntArray:
    """Samples of one rank that came after the step at which the unit last fired on any; at least so many."""
    starts = np.array([w.steps[0] for w in windows])
    after = np.concatenate([np.cumsum([w.seen for w in reversed(windows)])[::-1], [0]])
    whole = after[np.searchsorted(starts, last_fired, side="right")]
    end = windows[-1]
    exact: IntArray = np.where(end.last_fired == last_fired, end.silent_visits, np.minimum(whole, end.silent_visits))
    return exact


def _distinct(
    ends: Sequence[SiteWindow], last_fired: IntArray, past: Sequence[Sequence[Snapshot]], site: int
) -> IntArray | None:
    """Distinct samples since the unit last fired on any rank: those of the ranks that know, the most of one of them."""
    known = [(end, end.silent_distinct) for end in ends if end.silent_distinct is not None]
    totals = [one[-1].distinct_samples for one in past]
    if len(known) < len(ends) or None in totals:
        return None
    total = max(one for one in totals if one is not None)
    most = reduce(np.maximum, [np.where(end.last_fired == last_fired, one, 0) for end, one in known])
    # All data only if it was silent on all that each rank has met.
    everywhere = np.all(
        [np.asarray(one) >= own for (_, one), own in zip(known, totals, strict=False) if own is not None], axis=0
    )
    result: IntArray = np.where(everywhere, total, np.minimum(most, max(total - 1, 0))).astype(np.int64)
    return result


_Combine = Callable[[FloatArray, FloatArray], float]


def _by_step(parts: Sequence[tuple[IntArray, FloatArray, float]], combine: _Combine) -> tuple[IntArray, FloatArray]:
    """Values of the same step from several ranks as one; NaN is no value."""
    steps = np.concatenate([steps for steps, _, _ in parts])
    values = np.concatenate([values for _, values, _ in parts])
    weights = np.concatenate([np.full(len(steps), weight) for steps, _, weight in parts])
    at, where = np.unique(steps, return_inverse=True)
    order = np.argsort(where, kind="stable")
    cuts = np.searchsorted(where[order], np.arange(1, len(at)))
    groups = zip(np.split(values[order], cuts), np.split(weights[order], cuts), strict=True)
    return at, np.array([_finite(value, weight, combine) for value, weight in groups], np.float64)


def _finite(values: FloatArray, weights: FloatArray, combine: _Combine) -> float:
    there = ~np.isnan(values)
    return combine(values[there], weights[there]) if there.any() else float("nan")


def _mean(values: FloatArray, weights: FloatArray) -> float:
    return float(np.mean(values))


def _largest(values: FloatArray, weights: FloatArray) -> float:
    return float(np.max(values))


def _weighted_mean(values: FloatArray, weights: FloatArray) -> float:
    return float(np.average(values, weights=weights if weights.any() else None))


def _root_mean_square(values: FloatArray, weights: FloatArray) -> float:
    return float(np.sqrt(np.average(np.square(values), weights=weights if weights.any() else None)))
