"""Counters over all members, layers and units of an ensemble at once, read back member by member."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rectifier.catalogue import Choice
from rectifier.comparison.models.stacked import Layers
from rectifier.monitor.training.sites.counters import UnitCounters, UnitCounts
from rectifier.records import (
    AxisSource,
    Cost,
    FloatArray,
    IntArray,
    Process,
    Series,
    Site,
    SiteWindow,
    Snapshot,
    UnitAxis,
    Writer,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """One window of every member; arrays are (S, L, U), or (S, L, K) over the observed steps."""

    step: int
    seconds: float
    steps: IntArray
    counts: UnitCounts
    last_fired: IntArray
    silent_distinct: IntArray
    delta: FloatArray
    update: FloatArray
    pre_mean: FloatArray
    bias: FloatArray
    nonfinite_step: IntArray
    observed_steps: int
    watching_seconds: float
    visits_so_far: int


class EnsembleObserver:
    """Counts, for every unit of every member, on which samples it fired and since when it has not.

    The samples are known here, so `silent_distinct` is exact: the number of different training samples on
    which a unit was seen silent since it last fired.

    Args:
        members: S.
        layers: L.
        width: U, units per layer.
        samples: Number of training samples.
        choice: The activation, for the value that counts as silent.
    """

    def __init__(self, *, members: int, layers: int, width: int, samples: int, choice: Choice) -> None:
        self._shape = (members, layers, width)
        self._samples = samples
        self._choice = choice
        self._threshold = choice.activation.value_at_zero
        self._counters = UnitCounters(
            members * layers * width, torch.device("cpu"), self._threshold, signed=choice.activation.signed
        )
        # A pass over everything may follow a batch of the same step, so observations have a finer clock than
        # steps.
        self._clock_steps: list[int] = []
        self._last_seen = np.full((members, samples), -1, np.int64)
        self._windows: list[_Window] = []
        self._observed_steps = 0
        self._visits = 0
        self._watching = 0.0
        self._started = time.perf_counter()
        self._begin_window()

    def _begin_window(self) -> None:
        members, layers, width = self._shape
        self._counters.begin_window()
        self._steps: list[int] = []
        self._delta: list[Tensor] = []
        self._update: list[Tensor] = []
        self._pre_sum = torch.zeros(members, layers, width, dtype=torch.float64)
        self._samples_in_window = 0
        self._nonfinite = np.full((members, layers), -1, np.int64)

    def see_step(
        self,
        step: int,
        chosen: Tensor,
        layers: Layers,
        deltas: Sequence[Tensor],
        weights: tuple[Sequence[Tensor], Sequence[Tensor]],
    ) -> None:
        """Count one observed training step.

        Args:
            step: From 0.
            chosen: (S, B) which training samples each member was shown.
            layers: Pre-activations and activations, (S, B, U) each, before the update.
            deltas: ∂L/∂z of the same shapes, L being the mean over the batch.
            weights: (S, fan-in, U) per layer, before and after the update.
        """
        began = time.perf_counter()
        self._observe(layers, step)
        self._last_seen[np.arange(self._shape[0])[:, None], chosen.numpy()] = len(self._clock_steps) - 1
        self._steps.append(step)
        self._observed_steps += 1
        self._delta.append(torch.stack([delta.square().sum(2).mean(1).sqrt() for delta in deltas], 1))
        change = [
            (new - old).flatten(1).norm(dim=1) / old.flatten(1).norm(dim=1) for old, new in zip(*weights, strict=True)
        ]
        self._update.append(torch.stack(change, 1))
        self._watching += time.perf_counter() - began

    def see_everything(self, layers: Layers, step: int) -> None:
        """Count a pass over the whole training set at fixed weights.

        Args:
            layers: Pre-activations and activations, (S, samples, U) each.
            step: The step whose update came last, or 0 before the first.
        """
        began = time.perf_counter()
        self._observe(layers, step)
        self._last_seen[:] = len(self._clock_steps) - 1
        self._everything_fired = self._fired_now
        self._watching += time.perf_counter() - began

    def _observe(self, layers: Layers, step: int) -> None:
        values = torch.stack([h.detach() for h in layers.after])  # (L, S, B, U)
        self._pre_sum += torch.stack([z.detach().sum(1) for z in layers.before], 1)
        self._samples_in_window += values.shape[2]
        high, low, _ = self._counters.observe(
            values.permute(2, 1, 0, 3).flatten(1), axis=-1, step=len(self._clock_steps)
        )
        self._clock_steps.append(step)
        self._visits += values.shape[2]
        self._fired_now = (values.amax(2) > self._threshold).permute(1, 0, 2)  # (S, L, U)
        if not (math.isfinite(high) and math.isfinite(low)):
            finite = values.isfinite().all(3).all(2).T.numpy()
            self._nonfinite = np.where((self._nonfinite < 0) & ~finite, step, self._nonfinite)

    def snapshot(self, step: int, biases: Sequence[Tensor]) -> None:
        """End the window at `step`, the last one it covers.

        Args:
            step: From 0.
            biases: (S, 1, U) per layer, as they are now.
        """
        began = time.perf_counter()
        counts = self._counters.read()
        fired_at = counts.last_fired.reshape(self._shape)
        clock = np.asarray(self._clock_steps, np.int64)
        silent = np.stack(
            [
                self._samples - np.searchsorted(np.sort(seen), since.ravel(), side="right").reshape(since.shape)
                for seen, since in zip(self._last_seen, fired_at, strict=True)
            ]
        )
        self._watching += time.perf_counter() - began
        self._windows.append(
            _Window(
                step=step,
                seconds=time.perf_counter() - self._started,
                steps=np.asarray(self._steps, np.int64),
                counts=counts,
                last_fired=np.where(fired_at < 0, -1, clock[fired_at]),
                silent_distinct=silent.astype(np.int64),
                delta=torch.stack(self._delta, 2).double().numpy(),
                update=torch.stack(self._update, 2).double().numpy(),
                pre_mean=(self._pre_sum / max(self._samples_in_window, 1)).numpy(),
                bias=torch.stack([bias.detach()[:, 0] for bias in biases], 1).double().numpy(),
                nonfinite_step=self._nonfinite,
                observed_steps=self._observed_steps,
                watching_seconds=self._watching,
                visits_so_far=self._visits,
            )
        )
        self._begin_window()

    def dead_fraction(self) -> FloatArray | None:
        """(S,) share of units that the last pass over the training set found dead.

        A unit that is silent everywhere is dead only where the activation is flat: under Leaky ReLU it still
        learns. None where the activation's flat side is not the one that is counted here.
        """
        flat_below = self._choice.flat_below
        if flat_below is None:
            return np.zeros(self._shape[0])
        if flat_below != 0:
            return None
        return (~self._everything_fired).double().mean((1, 2)).numpy()

    def sites(self) -> tuple[Site, ...]:
        """One site per hidden layer, numbered from 1."""
        _, layers, width = self._shape
        return tuple(
            Site(
                model="MLP",
                path=f"hidden.{layer}",
                call=0,
                activation=self._choice.spec,
                kind="module",
                source=None,
                units=width,
                unit_axis=UnitAxis(axis=-1, ndim=2, source=AxisSource.LAYER, operation="Linear"),
                fed_by=f"linear.{layer}.weight",
            )
            for layer in range(1, layers + 1)
        )

    def process(self, member: int, series: Mapping[str, FloatArray], accuracy: FloatArray) -> Process:
        """One member's facts as records.

        Args:
            member: Its number.
            series: One value per step, by name.
            accuracy: (epochs,) on the test set.
        """
        writer = Writer(pid=os.getpid(), rank=0, world_size=1, torch=str(torch.__version__), device="cpu")
        snapshots = []
        begin = 0
        for number, window in enumerate(self._windows):
            end = window.step + 1
            steps = np.arange(begin, end, dtype=np.int64)
            found = {
                name: Series(steps=steps, values=np.asarray(values[begin:end], np.float64))
                for name, values in series.items()
            }
            if number:
                found["test_accuracy"] = Series(
                    steps=np.array([window.step]),
                    values=np.asarray(accuracy[number - 1 : number], np.float64),
                )
            snapshots.append(self._snapshot(window, member, found))
            begin = end
        return Process(writer=writer, sites=self.sites(), snapshots=tuple(snapshots))

    def _snapshot(self, window: _Window, member: int, series: dict[str, Series]) -> Snapshot:
        counts = window.counts
        rows = {
            name: getattr(counts, name).reshape(self._shape)[member]
            for name in ("fired", "mean", "mean_abs", "highest", "lowest", "silent_visits")
        }
        windows = tuple(
            SiteWindow(
                site=layer,
                steps=window.steps,
                visits=counts.visits,
                seen=counts.visits,
                last_fired=window.last_fired[member, layer],
                silent_distinct=window.silent_distinct[member, layer],
                delta=window.delta[member, layer],
                update=window.update[member, layer],
                pre_mean=window.pre_mean[member, layer],
                bias=window.bias[member, layer],
                nonfinite_step=_step_or_none(window.nonfinite_step[member, layer]),
                **{name: values[layer] for name, values in rows.items()},
            )
            for layer in range(self._shape[1])
        )
        members = self._shape[0]
        cost = Cost(
            watching_seconds=window.watching_seconds / members,
            training_seconds=window.seconds / members,
            observed_steps=window.observed_steps,
            counted_steps=window.observed_steps,
            steps=window.step + 1,
            interval=self._interval(),
            count_interval=self._interval(),
        )
        return Snapshot(
            step=window.step,
            seconds=window.seconds / members,
            windows=windows,
            series=series,
            cost=cost,
            distinct_samples=self._samples,
            # The first observation is a pass over everything, so nothing was new after it.
            visits_since_new=window.visits_so_far - self._samples,
        )

    def _interval(self) -> int:
        """The longest stretch without an observation: a death's step is known to within this."""
        return int(max(np.diff(np.unique(self._clock_steps)), default=1))


def _step_or_none(step: np.int64) -> int | None:
    return None if step < 0 else int(step)
