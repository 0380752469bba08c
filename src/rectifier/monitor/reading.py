"""Bringing the counters of one site to the host, as a plain record."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rectifier.monitor.met import SiteRecord
from rectifier.records import FloatArray, SiteWindow

# Gradients with a norm above this have no element that matters whose square float32 would lose.
_SAFE_IN_FLOAT32 = 1e-9


def read_site(site: SiteRecord) -> SiteWindow:
    """One site's counters since its window began; this waits for the device."""
    counts = site.counters.read()
    steps = list(site.steps)
    norms = {
        step: torch.stack([square.double() for square in gradient.squares]).sum().div(gradient.samples).sqrt()
        for step, gradient in site.gradients.items()
    }
    delta = _numbers(norms, steps)
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
        update=_numbers(site.updates, steps),
        pre_mean=counts.pre_mean if known else None,
        bias=_bias_of(site),
        saturated=None if counts.saturated is None else per_unit(counts.saturated),
        last_gradient=None if site.last_gradient is None else site.last_gradient.cpu().numpy().astype(np.int64),
        learning_rate=np.array([site.rates.get(step, np.nan) for step in steps]),
        nonfinite_step=_first_bad(site, counts.bad_glance),
        square=_numbers(site.squares, steps),
        spread=_numbers(site.spreads, steps),
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


def _numbers(by_step: dict[int, Tensor], steps: list[int]) -> FloatArray:
    """One number per step, NaN where there is none, brought to the host in one copy."""
    values = np.full(len(steps), np.nan)
    known = [index for index, step in enumerate(steps) if step in by_step]
    if known:
        together = torch.stack([by_step[steps[index]].reshape(()) for index in known])
        values[known] = together.double().cpu().numpy() if together.device.type != "mps" else together.cpu().numpy()
    return values


def _first_bad(site: SiteRecord, glanced: int | None) -> int | None:
    """The first observed step at which the output held NaN or an infinity."""
    if not site.extremes:
        return glanced
    extremes = torch.stack([torch.stack([high, low]).float() for _, high, low in site.extremes]).cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(extremes).all(axis=1))
    found = [] if glanced is None else [glanced]
    return min([*found, *(site.extremes[index][0] for index in bad[:1])], default=None)


def _bias_of(site: SiteRecord) -> FloatArray | None:
    bias = site.bias() if site.bias is not None else None
    # A sharded bias has no whole to read without a collective.
    if bias is None or hasattr(bias, "to_local") or bias.numel() != site.counters.units:
        return None
    values: FloatArray = bias.detach().float().cpu().numpy().astype(np.float64)
    return values
