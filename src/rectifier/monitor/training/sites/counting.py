"""Counting what goes into one site and comes out of it, and what flows back."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rectifier.hooks.recorders import recorder
from rectifier.monitor.training.sites.met import Gradient, SiteRecord, Token
from rectifier.monitor.training.steps.schedule import Sampling

Guarded = Callable[..., Any]
"""Calls its first argument with the others, and turns a failure into a warning."""

# How large an output is, and how much of it differs between samples, is measured on its first samples.
_MOST_VALUES = 1 << 16


def count_input(site: SiteRecord, tensor: Tensor) -> None:
    """Before the activation, which may overwrite what goes into it."""
    if site.axis is not None and tensor.ndim and tensor.shape[site.axis] == site.counters.units:
        site.counters.observe_input(tensor, site.axis)


def count_output(token: Token, output: Tensor, entries: list[tuple[Any, int]], guarded: Guarded) -> list[Any]:
    """After the activation, as closely as the step is looked at.

    Args:
        token: From before it.
        output: What came out.
        entries: Where its input enters the graph: nodes, and which of their inputs.
        guarded: Calls the function that counts gradients.

    Returns:
        The handles of the hooks on those nodes, which go with the graph.
    """
    site = token.site
    if site is None:
        return []
    # In a model that several threads train, another one may have been counted at a later step in the meantime.
    step = max(token.step, site.steps[-1]) if site.steps else token.step
    values = output.detach()
    if token.sampling is Sampling.LIGHT:
        _count_lightly(site, values, step)
        return []
    samples = values.shape[0] if values.ndim else 1
    if site.axis is None:
        high, low, counted = site.counters.observe(values.reshape(-1, 1), -1, step)
    elif values.ndim and values.shape[site.axis] == site.counters.units:
        high, low, counted = site.counters.observe(values, site.axis, step)
        samples = counted
    else:
        return []
    if counted == 0:
        return []
    if not site.steps or site.steps[-1] != step:
        site.steps.append(step)
    site.visits += samples
    site.extremes.append((step, high, low))
    if not site.measured or site is site.model.last:
        _measure(site, values, step)
    return _listen(site, step, token.entries or samples, entries, guarded)


def _measure(site: SiteRecord, values: Tensor, step: int) -> None:
    """How large the output is, and how much of that differs between samples; one sample tells nothing of it."""
    if not values.ndim or len(values) < 2:
        return
    site.measured = True
    some = values[: max(2, _MOST_VALUES // max(values[0].numel(), 1))].float()
    site.squares[step] = some.square().mean()
    site.spreads[step] = (some - some.mean(0)).square().mean()


def _count_lightly(site: SiteRecord, values: Tensor, step: int) -> None:
    """See whether units fire, and nothing else."""
    if site.axis is None:
        site.counters.observe_lightly(values.reshape(-1, 1), -1, step)
    elif values.ndim and values.shape[site.axis] == site.counters.units:
        site.counters.observe_lightly(values, site.axis, step)
    else:
        return
    if values.numel() and (not site.steps or site.steps[-1] != step):
        site.steps.append(step)


def _listen(site: SiteRecord, step: int, samples: int, entries: list[tuple[Any, int]], guarded: Guarded) -> list[Any]:
    """Hear of ∂L/∂z, exactly, when the backward pass comes by; what listens goes with the graph."""
    came: list[Tensor] = []
    # What listens must not hold the nodes that hold it: only the collector of cycles would free the graph.
    expected = len(entries)

    def hear(gradient: Tensor | None) -> None:
        if gradient is None or type(gradient) is not Tensor or recorder() is not None:
            return
        # A batch of gradients (`is_grads_batched=True`) is a tensor without memory, of which little can be computed.
        if not torch._C._has_storage(gradient):
            return
        guarded(keep, gradient)

    def keep(gradient: Tensor) -> None:
        began = time.perf_counter()
        came.append(gradient.detach().reshape(-1))
        if len(came) == expected:
            record = site.gradients.setdefault(step, Gradient(step))
            record.squares.append(_square(sum(came[1:], came[0]), wide=site.wide))
            record.samples += samples
            came.clear()
        site.hook_seconds += time.perf_counter() - began

    return [entry.register_hook(_hook(hear, number)) for entry, number in entries]


def _hook(hear: Callable[[Tensor | None], None], number: int) -> Any:
    def hook(grad_inputs: tuple[Tensor | None, ...], grad_outputs: tuple[Tensor | None, ...]) -> None:
        hear(grad_inputs[number])

    return hook


def _square(gradient: Tensor, *, wide: bool) -> Tensor:
    """The squared norm. A product in float32 is an order of magnitude faster; below 1e-19 its squares are 0."""
    if wide and gradient.device.type != "mps":
        norm: Tensor = torch.linalg.vector_norm(gradient, dtype=torch.float64)
        return norm.square()
    values = gradient.float()
    return torch.dot(values, values)
