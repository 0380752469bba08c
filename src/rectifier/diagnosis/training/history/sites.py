"""What one site's windows say together: the state of every unit, with the sample size that it rests on."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rectifier.catalogue import parse
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.chains import reached
from rectifier.diagnosis.training.history.units import UnitStates
from rectifier.records import (
    MOST_TOLD_APART,
    BoolArray,
    FloatArray,
    IntArray,
    Process,
    Site,
    SiteRef,
    SiteWindow,
    Snapshot,
    told_apart,
)


@dataclass(frozen=True)
class SiteHistory:
    """A site and all of its windows.

    Attributes:
        index: Position among the process's sites, which is the order of their first call.
        ref: The site as findings refer to it, under a label that tells models apart.
        snapshots: The snapshot that each window came with.
        feeds: Indices of the sites that its output reaches, through others or directly; None where no graph was read.
        at_output: Whether it is the last activation: it follows a layer behind which only the loss comes.
        weight: Position, among the process's parameters, of the weight that feeds it; None where it is not known.
        weight_shape: Its shape; empty where it is not known.
    """

    index: int
    site: Site
    ref: SiteRef
    windows: tuple[SiteWindow, ...]
    snapshots: tuple[Snapshot, ...]
    feeds: frozenset[int] | None = None
    at_output: bool = False
    weight: int | None = None
    weight_shape: tuple[int, ...] = ()

    @cached_property
    def flat_when_silent(self) -> bool:
        """As `Choice.flat_when_silent`."""
        return parse(self.site.activation).flat_when_silent

    @cached_property
    def finite_windows(self) -> tuple[SiteWindow, ...]:
        """The windows before the first output that was not finite.

        NaN is not above zero: from there on every unit looks silent, and would be called dead.
        """
        bad = [index for index, window in enumerate(self.windows) if window.nonfinite_step is not None]
        return self.windows[: bad[0]] if bad else self.windows

    @cached_property
    def states(self) -> UnitStates | None:
        """State of each unit; None where the units are unknown or nothing finite was counted."""
        if self.site.units is None or not self.finite_windows:
            return None
        end, snapshot = self.finite_windows[-1], self.snapshots[len(self.finite_windows) - 1]
        known, total = end.silent_distinct, snapshot.distinct_samples
        whole = np.zeros(len(end.last_fired), np.bool_)
        sure = whole
        bound = np.full(len(whole), np.nan)
        if known is not None:
            bound = 1.0 - limit.CONFIDENCE_MISS ** (1.0 / np.maximum(known, 1))
            seen = total is not None and (snapshot.whole_pass or snapshot.visits_since_new >= total)
            if total is not None and seen and total < MOST_TOLD_APART:
                whole = known >= total
            sure = whole | self._enough_samples(known, end.silent_visits)
        never = end.last_fired < 0
        silent = (end.silent_visits > 0) & (never | whole | (end.silent_visits >= limit.LEAST_VISITS))
        return UnitStates(
            dead=silent & sure & self.flat_when_silent,
            suspected=silent & ~sure & self.flat_when_silent,
            rare=self._rare & ~silent,
            stuck=silent,
            n=end.silent_visits if known is None else known,
            bound=bound,
            whole_data=whole & silent,
            born=never,
            last_fired=end.last_fired,
        )

    def _enough_samples(self, distinct: IntArray, visits: IntArray) -> BoolArray:
        if self.site.unit_axis.counts_tokens:
            return (visits >= limit.DEAD_TOKENS) & (distinct >= limit.DEAD_SEQUENCES)
        return distinct >= limit.DEAD_SAMPLES

    @cached_property
    def blocked_since(self) -> int | None:
        """Last observed step at which any unit fired, of a layer that is silent as a whole and then passes nothing.

        None where a unit fires or silence still has a gradient; -1 for a layer that never fired.
        """
        states = self.states
        if states is None or not self.flat_when_silent or not len(states.stuck) or not states.stuck.all():
            return None
        return int(states.last_fired.max())

    @cached_property
    def saturated(self) -> tuple[BoolArray, int] | None:
        """(U,) units whose slope was below 1% of its maximum on ≥ 99% of the last samples, and how many those were.

        None for too few samples, and for activations that do not saturate on both sides.
        """
        if self.site.units is None:
            return None
        saturated, visits = np.zeros(self.site.units, np.int64), 0
        for window in reversed(self.finite_windows):
            if window.saturated is None or len(window.saturated) != len(saturated):
                return None
            saturated, visits = saturated + window.saturated, visits + window.visits
            if visits >= limit.LEAST_VISITS:
                return saturated >= limit.SATURATED_SAMPLES * visits, visits
        return None

    @cached_property
    def saturated_pairs(self) -> tuple[float, int] | None:
        """Share of the last (sample, unit) pairs whose slope was below 1% of its maximum, and how many those were.

        None for too few pairs, and for activations that do not saturate on both sides.
        """
        saturated, pairs = 0, 0
        for window in reversed(self.finite_windows):
            if window.saturated is None:
                return None
            saturated, pairs = saturated + int(window.saturated.sum()), pairs + window.visits * len(window.saturated)
            if pairs >= limit.SATURATED_PAIRS:
                return saturated / pairs, pairs
        return None

    @property
    def saturated_since(self) -> int | None:
        """Index of the first window since which more than 80% of the pairs were saturated; None where they are not."""
        since = None
        for index in range(len(self.finite_windows) - 1, -1, -1):
            window = self.finite_windows[index]
            if window.saturated is None or not window.visits * len(window.saturated):
                break
            if window.saturated.sum() <= limit.SATURATED_PAIR_SHARE * window.visits * len(window.saturated):
                break
            since = index
        return since

    def varying_fraction(self, since: int) -> float | None:
        """Share of units that fire on some samples and not on others, in the calmest window that begins after a step.

        None without a window of enough samples. A layer that sees one constant has almost none of them.
        """
        shares = [
            float(((window.fired > 0) & (window.fired < window.visits)).mean())
            for window in self.finite_windows
            if len(window.fired) and window.visits >= limit.LEAST_VISITS and window.steps[0] > since
        ]
        return min(shares, default=None)

    @cached_property
    def recent(self) -> tuple[IntArray, int]:
        """(U,) samples on which each unit fired, and their number, over the last windows that hold enough of them."""
        fired, visits = np.zeros_like(self.windows[-1].fired), 0
        for window in reversed(self.finite_windows):
            fired, visits = fired + window.fired, visits + window.visits
            if visits >= limit.DEAD_SAMPLES:
                break
        return fired, visits

    @property
    def _rare(self) -> BoolArray:
        fired, visits = self.recent
        few: BoolArray = (fired > 0) & (fired < limit.RARE_FRACTION * visits) & (visits >= limit.LEAST_VISITS)
        return few

    @cached_property
    def _silences(self) -> BoolArray:
        """(windows, U) whether the unit is in the middle of a silence.

        A silence is a run of windows in which the unit never fired, with enough visits to mean something; one at
        the end counts as soon as it is long enough to be suspected.
        """
        assert self.states is not None
        quiet = np.array([(w.fired == 0) & (w.last_fired < w.steps[0]) for w in self.finite_windows])
        visits = np.array([window.seen for window in self.finite_windows])
        counted = np.zeros_like(quiet)
        run = np.zeros(quiet.shape[1], np.int64)
        for index, row in enumerate(quiet):
            run = np.where(row, run + visits[index], 0)
            counted[index] = run >= limit.LEAST_VISITS
        # The last silence is counted to the sample and may begin within a window.
        counted[-1] = self.states.stuck
        # A run counts as a whole as soon as its end shows that it was long enough.
        for index in range(len(quiet) - 2, -1, -1):
            counted[index] |= quiet[index] & counted[index + 1]
        return counted

    @cached_property
    def silent_shares(self) -> tuple[tuple[int, float], ...]:
        """(step, share of units in the middle of a silence at that step), window by window."""
        if self.states is None:
            return ()
        shares = self._silences.mean(axis=1)
        return tuple(
            (int(window.steps[-1]), float(share)) for window, share in zip(self.finite_windows, shares, strict=True)
        )

    @cached_property
    def returns(self) -> tuple[int, int]:
        """Silences that ended with the unit firing again, and all silences so far, over all units."""
        if self.states is None:
            return 0, 0
        silences = self._silences
        ended = int((silences[:-1] & ~silences[1:]).sum())
        return ended, ended + int(silences[-1].sum())

    @property
    def recent_update(self) -> float | None:
        """Median ‖Δw‖/‖w‖ over the last counted steps; None where too few are known."""
        updates = self.update()
        updates = updates[np.isfinite(updates)][-2 * limit.LEAST_OBSERVATIONS :]
        return float(np.median(updates)) if len(updates) >= limit.LEAST_OBSERVATIONS else None

    @cached_property
    def variation(self) -> tuple[IntArray, FloatArray]:
        """Steps, and the share of the output's mean square that differs between samples, wherever both are known.

        An output that is 0 everywhere has no such share.
        """
        square, spread = self._measured("square"), self._measured("spread")
        known = np.isfinite(square) & np.isfinite(spread) & (square > 0)
        return self.steps()[known], spread[known] / square[known]

    @cached_property
    def square_at_start(self) -> float | None:
        """Mean square of the output at the first counted step; None where it was not measured."""
        return next((float(value) for value in self._measured("square") if np.isfinite(value)), None)

    @cached_property
    def spread_at_start(self) -> float | None:
        """Mean square of the output's distance from the batch's mean, at the first counted step."""
        return next((float(value) for value in self._measured("spread") if np.isfinite(value)), None)

    def _measured(self, name: str) -> FloatArray:
        parts = [getattr(window, name) for window in self.windows]
        return np.concatenate(
            [
                np.full(len(window.steps), np.nan) if part is None else part
                for window, part in zip(self.windows, parts, strict=True)
            ]
        )

    def steps(self) -> IntArray:
        """All observed steps of the site."""
        return np.concatenate([window.steps for window in self.windows])

    def delta(self) -> FloatArray:
        """‖∂L/∂z‖ per sample at each of them."""
        return np.concatenate([window.delta for window in self.windows])

    def learning_rate(self) -> FloatArray:
        """Of that weight, at each of them; NaN where unknown."""
        return self._measured("learning_rate")

    def update(self) -> FloatArray:
        """‖Δw‖/‖w‖ of the weight that feeds the site, at each of them."""
        return np.concatenate([window.update for window in self.windows])


def read_histories(process: Process) -> tuple[SiteHistory, ...]:
    """One history per site that was ever counted, in their order, under labels that tell models apart."""
    histories = []
    feeds = None if process.feeds is None else reached(process.feeds, len(process.sites))
    weights = {(one.model, one.path): index for index, one in enumerate(process.parameters)}
    outputs = {output.ref for output in process.outputs if output.weight}
    for index, (site, ref) in enumerate(zip(process.sites, told_apart(process.sites), strict=True)):
        pairs = [
            (window, snapshot) for snapshot in process.snapshots for window in snapshot.windows if window.site == index
        ]
        if pairs:
            windows, snapshots = zip(*pairs, strict=True)
            own = None if feeds is None else feeds[index]
            at_output = (site.model, site.fed_by) in outputs and not own
            weight = None if site.fed_by is None else weights.get((site.model, site.fed_by))
            shape = () if weight is None else tuple(process.parameters[weight].shape)
            histories.append(SiteHistory(index, site, ref, windows, snapshots, own, at_output, weight, shape))
    return tuple(histories)
