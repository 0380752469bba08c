"""One forward and one backward pass over one batch, and what every activation does in it; nothing is trained."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rectifier.catalogue import CATALOGUE
from rectifier.errors import CannotProbe
from rectifier.hooks.calls import functions
from rectifier.hooks.calls.functions import describe
from rectifier.hooks.calls.tracker import CallTracker
from rectifier.monitor.training.sites.counters import UnitCounters
from rectifier.monitor.training.sites.parameters import Parameters
from rectifier.monitor.training.sites.placed import site_of
from rectifier.monitor.training.sites.samples import DistinctSamples, tells_samples_apart
from rectifier.records import Probe, Site, SiteProbe
from rectifier.sandbox import Forward, Pass, gradients_asked, own_module, tensors_in, undisturbed

Loss = Callable[[Any, Any], Tensor]

_RESHAPES = {
    "View",
    "UnsafeView",
    "Reshape",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Select",
    "T",
    "Transpose",
    "Alias",
}


class _Seen:
    """One activation call of the pass."""

    def __init__(self, site: Site, axis: int | None, units: int) -> None:
        self.site = site
        self.axis = axis
        self.units = units
        self.node: Any = None
        self.delta: Tensor | None = None
        self.facts: dict[str, Any] = {}

    def measure(self, output: Tensor) -> None:
        """Everything that the output tells, now: a later call may overwrite it in place."""
        values = output.detach()
        self.node = output.grad_fn
        row = CATALOGUE[self.site.activation.partition(":")[0]]
        counters = UnitCounters(self.units, values.device, row.value_at_zero, signed=row.signed)
        axis = self.axis
        seen = counters.observe(values.reshape(-1, 1) if axis is None else values, -1 if axis is None else axis, 0)
        silent = (counters.read().fired == 0).nonzero()[0] if axis is not None else ()
        self.facts = {
            "samples": seen[2] if axis is not None else (len(values) if values.ndim else 1),
            "silent": tuple(int(unit) for unit in silent),
            "finite": bool(values.isfinite().all()),
            "similarity": _similarity(values),
            **dict(zip(("rms", "spread"), _sizes(values), strict=True)),
        }
        if self.node is not None:
            self.node.register_hook(self._take_gradient)

    def _take_gradient(self, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor | None, ...]) -> None:
        if inputs[0] is not None:
            gradient = inputs[0].detach().double()
            square = gradient.square().sum() / max(self.facts["samples"], 1)
            self.delta = square if self.delta is None else self.delta + square

    def probe(self) -> SiteProbe:
        delta = None if self.delta is None else float(self.delta.sqrt())
        return SiteProbe(site=self.site, delta=delta, **self.facts)


class _Observer:
    """Measures every activation call in the forwards of one model."""

    armed = True

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._tracker = CallTracker(model)
        self._parameters = Parameters()
        self.seen: list[_Seen] = []

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Seen | None:
        call = self._tracker.meet(args, kwargs)
        if call is None or not call.tensor.numel():
            return None
        site, axis = site_of(self._model, call, describe(name, args, kwargs), self._parameters)
        return _Seen(site, axis, site.units or 1)

    def after(self, token: _Seen, output: Tensor) -> None:
        token.measure(output)
        self.seen.append(token)


def probe_model(model: object, batch: Any, forward: Forward | None = None, loss: Loss | None = None) -> Probe:
    """Run a model once forward and once backward over a batch, and put everything back.

    Args:
        model: An untrained module; each of its parts is run in the mode that it is in.
        batch: As a loader yields it.
        forward: How to call the model on it otherwise, see `rectifier.sandbox`.
        loss: `loss(output, batch)` to back-propagate; without one it is the output times fixed random signs, which
            says how gradients pass without knowing the task.

    Raises:
        CannotProbe: The model or the loss cannot be run on the batch, or nothing in the output has a gradient.
    """
    inner = own_module(model, CannotProbe)
    given = Pass(inner, batch, forward, CannotProbe)
    with undisturbed(inner), gradients_asked(inner):
        observer = _Observer(inner)
        forget = functions.observe_alone(observer)
        try:
            with torch.enable_grad():
                result = given.run()
        finally:
            forget()
        output = next((tensor for tensor in tensors_in(result) if tensor.is_floating_point()), None)
        if output is None or not output.numel():
            raise CannotProbe(f"{type(inner).__name__} returned no floating tensor to look at.")
        facts = _output_facts(output, observer.seen)
        weights = [parameter for parameter in inner.parameters() if parameter.requires_grad]
        reached = _backward(output, result, given.batch, loss, weights)
    floating = [t for t in tensors_in(given.inputs) if tells_samples_apart(t) and t.is_floating_point()]
    largest = max(floating, key=Tensor.numel, default=None)
    rms, spread = (None, None) if largest is None else _sizes(largest)
    entries = output.shape[0] if output.ndim else 1
    distinct = min(entries, _distinct(given) or entries)
    return Probe(
        model=type(inner).__name__,
        samples=distinct,
        sites=tuple(_of_distinct(seen.probe(), distinct, entries) for seen in observer.seen),
        input_rms=rms,
        input_spread=spread,
        input_offset=None if largest is None else _offset(largest),
        input_finite=all(bool(tensor.isfinite().all()) for tensor in floating),
        weights=len(weights),
        weights_reached=reached,
        loss="the loss given" if loss is not None else "the output times fixed random signs",
        **facts,
    )


def _distinct(given: Pass) -> int | None:
    """How many entries of the batch differ: a batch of ones is one sample, however long it is."""
    samples = DistinctSamples()
    samples.see(given.inputs, 0)
    samples.update()
    return samples.count


def _of_distinct(site: SiteProbe, distinct: int, entries: int) -> SiteProbe:
    """What a site shows of the distinct entries alone: every row or token of an entry that is there twice is, too."""
    counted = max(1, site.samples * distinct // entries)
    return replace(site, samples=counted, similarity=site.similarity if distinct > 1 else None)


def _backward(output: Tensor, result: Any, batch: Any, loss: Loss | None, weights: list[nn.Parameter]) -> int:
    """Back-propagate without writing any `.grad`; returns how many parameters a gradient reached."""
    if loss is None:
        own = torch.Generator().manual_seed(0x5EED)
        signs = torch.randint(0, 2, output.shape, generator=own).mul(2).sub(1).to(output)
        scalar = (output * signs).sum() / (output.shape[0] if output.ndim else 1)
    else:
        try:
            scalar = loss(result, batch)
        except Exception as error:
            raise CannotProbe(f"the loss could not be computed: {type(error).__name__}: {error}") from error
        if not isinstance(scalar, Tensor) or scalar.numel() != 1:
            raise CannotProbe("the loss must be a tensor with one element.")
    if not weights or not scalar.requires_grad:
        raise CannotProbe("nothing in the output depends on a parameter, so there is no gradient to follow.")
    gradients = torch.autograd.grad(scalar, weights, allow_unused=True)
    return sum(gradient is not None and bool((gradient != 0).any()) for gradient in gradients)


def _output_facts(output: Tensor, seen: list[_Seen]) -> dict[str, Any]:
    values = output.detach().double()
    node, ends_in = output.grad_fn, None
    for _ in range(8):
        ends_in = next((index for index, one in enumerate(seen) if one.node is node and node is not None), None)
        kind = "" if node is None else str(node.name()).rpartition("::")[2].partition("Backward")[0]
        if ends_in is not None or kind.rstrip("0123456789") not in _RESHAPES or node is None:
            break
        node = node.next_functions[0][0]
    several = values.ndim > 0 and len(values) > 1
    return {
        "output_square": float(values.square().mean()),
        "output_variance": float(values.var(0, unbiased=False).mean()) if several else float("nan"),
        "output_finite": bool(values.isfinite().all()),
        "output_zero_fraction": float((values == 0).double().mean()),
        "ends_in": ends_in,
    }


def _sizes(values: Tensor) -> tuple[float, float]:
    """Root mean square of the values, and of their distance from the batch's mean."""
    values = values.detach().double()
    if not values.numel():
        return float("nan"), float("nan")
    around = values - values.mean(0) if values.ndim else values
    return float(values.square().mean().sqrt()), float(around.square().mean().sqrt())


def _offset(values: Tensor) -> float | None:
    """γ = ‖μ‖/‖σ‖ over the features."""
    values = values.detach().double()
    if values.ndim < 2 or len(values) < 2:
        return None
    spread = float(values.std(0, unbiased=False).norm())
    return float(values.mean(0).norm()) / spread if spread > 0 else None


def _similarity(values: Tensor) -> float | None:
    """Mean cosine between two samples, those that are all zero left out."""
    if values.ndim < 2 or values[0].numel() < 2:
        # Two numbers always point the same way, or the opposite one.
        return None
    rows = values.detach().double().flatten(1)
    norms = rows.norm(dim=1)
    rows = rows[norms > 0] / norms[norms > 0].unsqueeze(1)
    n = len(rows)
    return float((rows.sum(0).square().sum() - n) / (n * (n - 1))) if n > 1 else None
