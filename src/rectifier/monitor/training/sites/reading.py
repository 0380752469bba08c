"""Bringing the counters of one site to the host, as a plain record."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rectifier.monitor.training.sites.met import Settled, SiteRecord
from rectifier.records import BoolArray, FloatArray, SiteWindow
from rectifier.records.training.thinning import FULL_ROWS, thinned

# Gradients with a norm above this have no element that matters whose square float32 would lose.
_SAFE_IN_FLOAT32 = 1e-9


def read_site(site: SiteRecord) -> SiteWindow:
    """One site's counters since its window began; this waits for the device."""
    counts = site.counters.read()
    _settle(site)
    steps, settled = site.steps, site.settled
    delta = _norms(settled.deltas, steps)
    site.wide = not (np.nan_to_num(delta, nan=0.0) > _SAFE_IN_FLOAT32).all()
    known = site.axis is not None
    since = site.model.samples.since(counts.last_fired) if known else None

    def per_unit(values: Any) -> Any:
        return values if known else values[:0]

    return SiteWindow(
        site=site.index,
        steps=np.array(steps, np.int64),
        visits=site.visits,
        seen=counts.seen if known else site.visits,
        fired=per_unit(counts.fired),
        mean=per_unit(counts.mean),
        mean_abs=per_unit(counts.mean_abs),
        highest=per_unit(counts.highest),
        lowest=per_unit(counts.lowest),
        last_fired=per_unit(counts.last_fired),
        silent_visits=per_unit(counts.silent_visits),
        silent_distinct=since,
        delta=delta,
        update=_column(settled.updates, steps),
        pre_mean=counts.pre_mean if known else None,
        bias=_bias_of(site),
        saturated=None if counts.saturated is None else per_unit(counts.saturated),
        last_gradient=None if site.last_gradient is None else site.last_gradient.cpu().numpy().astype(np.int64),
        learning_rate=_column(site.rates, steps),
        nonfinite_step=_earlier(settled.bad_step, counts.bad_light_step),
        square=_column(settled.squares, steps),
        spread=_column(settled.spreads, steps),
    )


def begin_window(site: SiteRecord) -> None:
    """Forget the window that has been read; what is counted since the beginning stays."""
    site.counters.begin_window()
    site.steps.clear()
    site.visits = 0
    site.extremes.clear()
    site.gradients.clear()
    site.updates.clear()
    site.rates.clear()
    site.squares.clear()
    site.spreads.clear()
    site.settled = Settled()


def _settle(site: SiteRecord) -> None:
    """Bring what single steps left on the device to the host, and keep of a long training what is worth its place.

    A scalar on a GPU takes 512 bytes, so they must not wait for the end of a window of 100,000 steps.
    """
    settled = site.settled
    _bring(site.updates, settled.updates)
    _bring(site.squares, settled.squares)
    _bring(site.spreads, settled.spreads)
    sums = {
        step: torch.stack([square.double() for square in gradient.squares]).sum()
        for step, gradient in site.gradients.items()
    }
    for step, square in zip(sums, _to_host(list(sums.values())).tolist(), strict=True):
        # A backward pass may come to a step again, after it has been read.
        earlier, samples = settled.deltas.get(step, (0.0, 0))
        settled.deltas[step] = earlier + square, samples + site.gradients[step].samples
    site.gradients.clear()
    settled.bad_step = _earlier(settled.bad_step, _first_bad(site))
    site.extremes.clear()
    _thin(site)


def _thin(site: SiteRecord) -> None:
    """Forget steps of which others tell."""
    if site.steps[-1] < FULL_ROWS:
        return
    settled, steps = site.settled, np.array(site.steps, np.int64)
    delta, update = _norms(settled.deltas, site.steps), _column(settled.updates, site.steps)
    known = np.array([[step in settled.deltas, step in settled.updates] for step in site.steps])
    bad: BoolArray = np.any(known & ~np.isfinite(np.stack([delta, update], 1)), axis=1)
    keep = thinned(steps, [delta, update], bad, FULL_ROWS)
    if keep.all():
        return
    site.steps[:] = steps[keep].tolist()
    left = set(site.steps)
    for by_step in (settled.deltas, settled.updates, settled.squares, settled.spreads, site.rates):
        for step in [step for step in by_step if step not in left]:
            del by_step[step]


def _bring(waiting: dict[int, Tensor], by_step: dict[int, float]) -> None:
    """Move numbers to the host in one copy; of an optimizer that steps again the larger update counts."""
    for step, value in zip(waiting, _to_host(list(waiting.values())).tolist(), strict=True):
        by_step[step] = float(np.maximum(value, by_step.get(step, -np.inf)))
    waiting.clear()


def _to_host(numbers: list[Tensor]) -> FloatArray:
    if not numbers:
        return np.empty(0)
    together = torch.stack([number.reshape(()) for number in numbers])
    # MPS has no float64.
    values: FloatArray = together.cpu().double().numpy()
    return values


def _column(by_step: Mapping[int, float], steps: Sequence[int]) -> FloatArray:
    """One number per step, NaN where there is none."""
    return np.array([by_step.get(step, np.nan) for step in steps], np.float64)


def _norms(by_step: Mapping[int, tuple[float, int]], steps: Sequence[int]) -> FloatArray:
    none = (np.nan, 1)
    squares = np.array([by_step.get(step, none) for step in steps], np.float64).reshape(-1, 2)
    norms: FloatArray = np.sqrt(squares[:, 0] / squares[:, 1])
    return norms


def _first_bad(site: SiteRecord) -> int | None:
    """The first counted step, since the counters were last read, at which the output held NaN or an infinity."""
    if not site.extremes:
        return None
    extremes = torch.stack([torch.stack([high, low]).float() for _, high, low in site.extremes]).cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(extremes).all(axis=1))
    return site.extremes[bad[0]][0] if len(bad) else None


def _earlier(*steps: int | None) -> int | None:
    return min((step for step in steps if step is not None), default=None)


def _bias_of(site: SiteRecord) -> FloatArray | None:
    bias = site.bias() if site.bias is not None else None
    # A sharded bias has no whole to read without a collective.
    if bias is None or hasattr(bias, "to_local") or bias.numel() != site.counters.units:
        return None
    values: FloatArray = bias.detach().float().cpu().numpy().astype(np.float64)
    return values
