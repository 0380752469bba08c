"""What is remembered of the user's models: their sites, and each site's counters and gradients.

Models are held weakly. Within an observed step the frame of the running forward is held, to tell the calls of one
forward from those of the next; it is let go before the backward pass ends.
"""

import math
import time
import types
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.catalogue import CATALOGUE
from rectifier.monitor.counters import UnitCounters
from rectifier.monitor.parameters import Held, Parameters
from rectifier.monitor.samples import DistinctSamples
from rectifier.monitor.schedule import Look
from rectifier.monitor.sinks import Sink
from rectifier.monitor.watching import said_axis
from rectifier.records import FloatArray, Site, SiteWindow
from rectifier.sites import find_unit_axis, locate
from rectifier.sites.functions import describe
from rectifier.sites.modules import user_class
from rectifier.sites.ranks import is_replica

# The relative update of a large layer is measured on its first weights; 65,536 settle a ratio of norms to 0.4 %.
_MOST_WEIGHTS = 1 << 16
# Gradients with a norm above this have no element that matters whose square float32 would lose.
_SAFE_IN_FLOAT32 = 1e-9
# Outputs (middle, half) between which |f′| is at least 1 % of its maximum: tanh |z| ≥ 3.0, sigmoid |z| ≥ 6.0.
_SATURATION = {"tanh": (0.0, math.tanh(3.0)), "sigmoid": (0.5, 0.5 * math.tanh(3.0))}
_PLAIN_TENSORS = (Tensor, nn.Parameter)


@dataclass(slots=True)
class _Gradient:
    """‖∂L/∂z‖ of one site in one step, kept on the device until it is read."""

    step: int
    squares: list[Tensor] = field(default_factory=list)
    samples: int = 0


@dataclass(slots=True, eq=False)
class _SiteRecord:
    """A site and everything counted at it."""

    index: int
    owner: "weakref.ref[nn.Module]"
    model: "_ModelRecord"
    axis: int | None
    counters: UnitCounters
    weight: Held | None
    bias: Held | None
    steps: list[int] = field(default_factory=list)
    extremes: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    visits: int = 0
    gradients: dict[int, _Gradient] = field(default_factory=dict)
    wide: bool = True
    hook_seconds: float = 0.0
    updates: dict[int, Tensor] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)
    last_gradient: Tensor | None = None


@dataclass(slots=True, eq=False)
class _ModelRecord:
    """A root module: its name in reports, its paths, and the distinct inputs it was given."""

    name: str
    paths: dict[int, str]
    trains: bool
    replica: bool = False
    samples: DistinctSamples = field(default_factory=DistinctSamples)
    parameters: Parameters = field(default_factory=Parameters)
    sites: dict[tuple[int, int], _SiteRecord] = field(default_factory=dict)
    forward: types.FrameType | None = None
    calls: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Token:
    """Carries one call from before the activation to after it; without a site it is only known to have been met."""

    site: _SiteRecord | None
    step: int
    look: Look


class ModelRecords:
    """All models met in one process.

    Args:
        sink: Told of each new site.
        only: Count this module's forwards only.
        units: Where the user says that units are, by the path of the module that applies the activation.
    """

    def __init__(self, sink: Sink, only: nn.Module | None, units: Mapping[str, int] | None = None) -> None:
        self._units = units or {}
        self._sink = sink
        self._only = weakref.ref(only) if only is not None else None
        self._models: weakref.WeakKeyDictionary[nn.Module, _ModelRecord] = weakref.WeakKeyDictionary()
        self._names: dict[str, int] = {}
        self.sites: list[_SiteRecord] = []
        self._records: list[_ModelRecord] = []
        self.nodes: set[int] | None = set()
        """Sequence number of the `grad_fn` of every output met in this step; None once nobody asks any more."""
        self._weights: dict[int, tuple[Tensor, Tensor]] = {}
        self.device = "cpu"

    def watches(self, model: nn.Module) -> bool:
        """Whether this model, a part of it, or one that it is a part of is observed."""
        if self._only is None:
            return True
        only = self._only()
        return only is not None and (only in set(model.modules()) or model in set(only.modules()))

    # During a forward -------------------------------------------------------------------------------------------

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], step: int, look: Look) -> Token | None:
        """Decide whether a call is a training call of a model's, and which site it is."""
        tensor = args[0] if args else kwargs.get("input")
        # Anything but a plain tensor is a tracer's stand-in.
        if not isinstance(tensor, Tensor) or type(tensor) not in _PLAIN_TENSORS:
            return None
        if not tensor.is_floating_point() or not torch.is_grad_enabled():
            return None
        # A forward that is run again inside of backward (activation checkpointing) has been counted already.
        if torch._C._current_graph_task_id() != -1 or torch._C._functorch.peek_interpreter_stack() is not None:
            return None
        token = self._at_site(name, tensor, args, kwargs, step, look)
        if token is None and self.nodes is not None and look is Look.COUNT:
            # A loss's or a metric's: no site, and nothing that was overlooked either.
            return Token(None, step, look)
        return token

    def _at_site(
        self, name: str, tensor: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], step: int, look: Look
    ) -> Token | None:
        only = self._only() if self._only is not None else None
        if self._only is not None and only is None:
            return None
        place = locate(only)
        if place is None or not place.root.training:
            return None
        model = self._models.get(place.root) or self._meet(place.root, place.wrapper)
        if not model.trains:
            return None
        if model.forward is not place.forward:
            model.forward = place.forward
            model.calls.clear()
            model.samples.see(place.inputs(), step, measured=look is Look.COUNT)
        key = id(place.owner)
        call = model.calls.get(key, 0)
        model.calls[key] = call + 1
        site = model.sites.get((key, call))
        if site is None or site.owner() is not place.owner:
            activation = describe(name, args, kwargs)
            kind = "module" if is_activation(place.owner) else "function"
            site = self._add_site(model, place.owner, call, activation, kind, place.source, tensor)
            model.sites[(key, call)] = site
            # What is met for the first time is counted, so that no site is known by glances alone.
            look = Look.COUNT
        if look is Look.GLANCE:
            return Token(site, step, look)
        if site.axis is not None and tensor.ndim and tensor.shape[site.axis] == site.counters.units:
            site.counters.observe_input(tensor, site.axis)
        return Token(site, step, look)

    def _meet(self, root: nn.Module, wrapper: nn.Module | None) -> _ModelRecord:
        base = user_class(type(root)).__name__
        number = self._names[base] = self._names.get(base, 0) + 1
        record = _ModelRecord(
            name=base if number == 1 else f"{base}#{number}",
            paths={id(module): path for path, module in root.named_modules()},
            # A module without parameters (a loss, a metric) is not a model, even when it applies an activation.
            trains=any(True for _ in root.parameters()),
            replica=is_replica(root, wrapper),
        )
        self._models[root] = record
        self._records.append(record)
        return record

    def _add_site(
        self,
        model: _ModelRecord,
        owner: nn.Module,
        call: int,
        activation: str,
        kind: str,
        source: str | None,
        tensor: Tensor,
    ) -> _SiteRecord:
        path = self._path_of(model, owner)
        found = find_unit_axis(tensor)
        said = said_axis(self._units, path or type(owner).__name__, tensor) if self._units else None
        if said is not None and said.axis != found.axis:
            found = said
        root = self._root_of(model)
        weight = model.parameters.find(found.weight, root)
        row = CATALOGUE[activation.partition(":")[0]]
        units = int(tensor.shape[found.axis]) if found.axis is not None else None
        site = _SiteRecord(
            index=len(self.sites),
            owner=weakref.ref(owner),
            model=model,
            axis=found.axis,
            # Without a unit axis everything counts as one unit, which still tells silence and non-finite values.
            counters=UnitCounters(
                units or 1, tensor.device, row.value_at_zero, signed=row.signed, saturation=_SATURATION.get(row.name)
            ),
            weight=weight,
            bias=model.parameters.find(found.bias, root),
        )
        self.sites.append(site)
        self.device = str(tensor.device)
        self._sink.site(
            Site(
                model=model.name,
                path=path,
                call=call,
                activation=activation,
                kind=kind,
                source=source,
                units=units,
                unit_axis=found.reason,
                fed_by=weight.path if weight is not None else None,
            )
        )
        return site

    def _root_of(self, model: _ModelRecord) -> nn.Module | None:
        return next((root for root, record in self._models.items() if record is model), None)

    def _path_of(self, model: _ModelRecord, owner: nn.Module) -> str:
        if id(owner) not in model.paths:
            # Added to the model after its first forward.
            root = self._root_of(model)
            model.paths = {id(module): path for path, module in root.named_modules()} if root is not None else {}
        return model.paths.get(id(owner), type(owner).__name__)

    def after(self, token: Token, output: Tensor) -> None:
        """Count what came out."""
        site, step = token.site, token.step
        node = output.grad_fn
        if self.nodes is not None and node is not None and token.look is Look.COUNT:
            self.nodes.add(node._sequence_nr())
        if site is None:
            return
        values = output.detach()
        if token.look is Look.GLANCE:
            _glance(site, values, step)
            return
        samples = values.shape[0] if values.ndim else 1
        if site.axis is None:
            high, low, counted = site.counters.observe(values.reshape(-1, 1), -1, step)
        elif values.ndim and values.shape[site.axis] == site.counters.units:
            high, low, counted = site.counters.observe(values, site.axis, step)
            samples = counted
        else:
            return
        if counted == 0:
            return
        if not site.steps or site.steps[-1] != step:
            site.steps.append(step)
        site.visits += samples
        site.extremes.append((step, high, low))
        if node is not None:
            node.register_hook(_gradient_hook(site, step, samples))

    # Around backward and step -----------------------------------------------------------------------------------

    def end_forwards(self) -> None:
        """Let go of the running forwards; nothing of them is needed from here on."""
        for record in self._records:
            record.forward = None

    def remember_weights(self) -> None:
        """Before an optimizer's step: copy the beginning of each weight that feeds a site."""
        self._weights.clear()
        for site in self.sites:
            weight = site.weight() if site.weight is not None else None
            if weight is not None and id(weight) not in self._weights and weight.layout == torch.strided:
                self._weights[id(weight)] = (weight, _head(weight).clone())

    def compare_weights(self, step: int, optimizer: Optimizer) -> None:
        """After an optimizer's step: the relative size of each update that moved something, and what drove it."""
        ratios = {key: (_head(new) - old).norm() / old.norm() for key, (new, old) in self._weights.items()}
        for site in self.sites:
            weight = site.weight() if site.weight is not None else None
            if weight is not None and id(weight) in ratios:
                earlier = site.updates.get(step)
                now = ratios[id(weight)]
                # Of several optimizers in one step only one moves this weight; the others change it by 0.
                site.updates[step] = now if earlier is None else torch.maximum(earlier, now)
            _note_bias_gradient(site, step)
        self._note_rates(step, optimizer)
        self._weights.clear()

    def _note_rates(self, step: int, optimizer: Optimizer) -> None:
        rates: dict[int, float] = {}
        for group in optimizer.param_groups:
            rate = group.get("lr")
            # A tensor may live on the device, and is not waited for.
            if isinstance(rate, int | float):
                rates.update((id(weight), float(rate)) for weight in group["params"] if id(weight) in self._weights)
        for site in self.sites:
            weight = site.weight() if site.weight is not None else None
            if id(weight) in rates:
                site.rates[step] = rates[id(weight)]

    def end_step(self, step: int) -> None:
        """An observed step has ended."""
        self._end_step()

    def _end_step(self) -> None:
        # Not at a backward pass: a step may have several, and each asks what was met since the step began.
        self.end_forwards()
        if self.nodes is not None:
            self.nodes.clear()

    def take_hook_seconds(self) -> float:
        """Seconds that went into gradient hooks since the last call."""
        total = sum(site.hook_seconds for site in self.sites)
        for site in self.sites:
            site.hook_seconds = 0.0
        return total

    def forget_step(self) -> None:
        """Keep nothing of a step that is going on."""
        self._end_step()
        self._weights.clear()

    def begin_again(self) -> None:
        """Forget all models and counts (in a forked child)."""
        self.forget_step()
        self._models.clear()
        self._records.clear()
        self._names.clear()
        self.sites.clear()

    # Reading ----------------------------------------------------------------------------------------------------

    @property
    def are_replicas(self) -> bool:
        """Whether every rank trains all of these models."""
        return bool(self.sites) and all(record.replica for record in self._records if record.sites)

    @property
    def only_samples(self) -> DistinctSamples | None:
        """The distinct inputs, when one model alone was given any; with several no single number would be true."""
        records = [record for record in self._records if record.sites]
        return records[0].samples if len(records) == 1 else None

    def read(self, *, finished: bool) -> tuple[SiteWindow, ...]:
        """One window per site that ran since the last finished one; this waits for the device.

        Args:
            finished: Begin the next window afterwards.
        """
        for record in self._records:
            record.samples.update()
        windows = tuple(_read_site(site) for site in self.sites if site.steps)
        if finished:
            for site in self.sites:
                if site.steps:
                    site.counters.begin_window()
                    site.steps.clear()
                    site.visits = 0
                    site.extremes.clear()
                    site.gradients.clear()
                    site.updates.clear()
                    site.rates.clear()
        return windows


def is_activation(module: nn.Module) -> bool:
    """Whether a module is itself an activation, torch's or ours."""
    return type(module).__module__ == "torch.nn.modules.activation" or type(module).__module__.startswith("rectifier.")


def _gradient_hook(site: _SiteRecord, step: int, samples: int) -> Any:
    """A hook for the activation's node of the graph: it is given ∂L/∂z exactly, and goes with the graph."""

    def hook(grad_inputs: tuple[Tensor | None, ...], grad_outputs: tuple[Tensor | None, ...]) -> None:
        began = time.perf_counter()
        if grad_inputs[0] is not None:
            record = site.gradients.setdefault(step, _Gradient(step))
            record.squares.append(_square(grad_inputs[0].detach().reshape(-1), wide=site.wide))
            record.samples += samples
        site.hook_seconds += time.perf_counter() - began

    return hook


def _square(gradient: Tensor, *, wide: bool) -> Tensor:
    """The squared norm. A product in float32 is an order of magnitude faster; below 1e-19 its squares are 0."""
    if wide and gradient.device.type != "mps":
        norm: Tensor = torch.linalg.vector_norm(gradient, dtype=torch.float64)
        return norm.square()
    values = gradient.float()
    return torch.dot(values, values)


def _head(weight: Tensor) -> Tensor:
    # A sharded weight: this rank's part of it; reading the whole would be a collective in the user's run.
    to_local: Callable[[], Tensor] = getattr(weight, "to_local", weight.detach)
    local: Tensor = to_local().detach().reshape(-1)[:_MOST_WEIGHTS].float()
    return local


def _numbers(by_step: dict[int, Tensor], steps: list[int]) -> FloatArray:
    """One number per step, NaN where there is none, brought to the host in one copy."""
    values = np.full(len(steps), np.nan)
    known = [index for index, step in enumerate(steps) if step in by_step]
    if known:
        together = torch.stack([by_step[steps[index]].reshape(()) for index in known])
        values[known] = together.double().cpu().numpy() if together.device.type != "mps" else together.cpu().numpy()
    return values


def _glance(site: _SiteRecord, values: Tensor, step: int) -> None:
    """See whether units fire, and nothing else."""
    if site.axis is None:
        site.counters.glance(values.reshape(-1, 1), -1, step)
    elif values.ndim and values.shape[site.axis] == site.counters.units:
        site.counters.glance(values, site.axis, step)
    else:
        return
    if values.numel() and (not site.steps or site.steps[-1] != step):
        site.steps.append(step)


def _first_bad(site: _SiteRecord, glanced: int | None) -> int | None:
    """The first observed step at which the output held NaN or an infinity."""
    if not site.extremes:
        return glanced
    extremes = torch.stack([torch.stack([high, low]).float() for _, high, low in site.extremes]).cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(extremes).all(axis=1))
    found = [] if glanced is None else [glanced]
    return min([*found, *(site.extremes[index][0] for index in bad[:1])], default=None)


def _note_bias_gradient(site: _SiteRecord, step: int) -> None:
    """Where the gradient of a unit's bias is not exactly 0 at this step."""
    bias = site.bias() if site.bias is not None else None
    if (
        site.axis is None
        or bias is None
        or bias.grad is None
        or hasattr(bias, "to_local")
        or bias.numel() != site.counters.units
    ):
        return
    if site.last_gradient is None:
        site.last_gradient = torch.full((bias.numel(),), -1, dtype=torch.int64, device=bias.device)
    # NaN is not 0, either.
    site.last_gradient.masked_fill_(bias.grad.detach() != 0, step)


def _bias_of(site: _SiteRecord) -> FloatArray | None:
    bias = site.bias() if site.bias is not None else None
    # A sharded bias has no whole to read without a collective.
    if bias is None or hasattr(bias, "to_local") or bias.numel() != site.counters.units:
        return None
    values: FloatArray = bias.detach().float().cpu().numpy().astype(np.float64)
    return values


def _read_site(site: _SiteRecord) -> SiteWindow:
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
        last_gradient=None if site.last_gradient is None else site.last_gradient.cpu().numpy().copy(),
        learning_rate=np.array([site.rates.get(step, np.nan) for step in steps]),
        nonfinite_step=_first_bad(site, counts.bad_glance),
    )
