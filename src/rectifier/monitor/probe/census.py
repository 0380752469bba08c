"""Counting every unit over a data set, without gradients and without a trace in the model."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
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
from rectifier.records import Site, SiteCount
from rectifier.sandbox import Forward, Pass, gradients_asked, own_module, tensors_in, undisturbed
from rectifier.sandbox import describe as described

_Key = tuple[int, int]


class _Counter:
    """A site and its counters."""

    def __init__(self, site: Site, axis: int | None, counters: UnitCounters) -> None:
        self.site = site
        self.axis = axis
        self.counters = counters
        self.visits = 0

    def count(self, output: Tensor) -> None:
        if self.axis is None:
            self.counters.observe(output.reshape(-1, 1), -1, 0)
            self.visits += output.shape[0] if output.ndim else 1
        elif output.ndim and output.shape[self.axis] == self.counters.units:
            self.visits += self.counters.observe(output, self.axis, 0)[2]


class UnitCensus:
    """Counts at every activation call in the forwards of one model.

    The unit axis is read from the autograd graph, which a forward without gradients does not have: a site met for the
    first time is counted when the same batch is run again, with one.
    """

    armed = False

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._counters: dict[_Key, _Counter] = {}
        self._unknown: set[_Key] = set()
        self._tracker = CallTracker(model)
        self._parameters = Parameters()
        self._exploring = False

    def see(self, given: Pass) -> None:
        """Count one batch."""
        self._unknown.clear()
        self._pass(given, exploring=False)
        if self._unknown:
            self._pass(given, exploring=True)

    def _pass(self, given: Pass, *, exploring: bool) -> None:
        self._exploring = exploring
        self.armed = True
        functions.refresh()
        try:
            with torch.set_grad_enabled(exploring), gradients_asked(self._model) if exploring else nullcontext():
                given.run()
        finally:
            self.armed = False
            self._tracker.end()
            functions.refresh()

    def counts(self) -> tuple[SiteCount, ...]:
        """Everything counted so far, in the order in which sites were met."""
        return tuple(_read(counter) for counter in self._counters.values())

    # What the interception calls -----------------------------------------------------------------------------------

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Counter | None:
        """An activation is about to be computed."""
        call = self._tracker.meet(args, kwargs)
        if call is None:
            return None
        key = call.key
        if not self._exploring:
            if key not in self._counters:
                self._unknown.add(key)
            return self._counters.get(key)
        if key not in self._unknown:
            return None
        if key not in self._counters:
            site, axis = site_of(self._model, call, describe(name, args, kwargs), self._parameters)
            row = CATALOGUE[name]
            counters = UnitCounters(site.units or 1, call.tensor.device, row.value_at_zero, signed=row.signed)
            self._counters[key] = _Counter(site, axis, counters)
        return self._counters[key]

    def after(self, token: _Counter, output: Tensor) -> None:
        """It has been computed."""
        token.count(output.detach())


def _read(counter: _Counter) -> SiteCount:
    counts = counter.counters.read()
    units = slice(None) if counter.site.units is not None else slice(0)
    return SiteCount(
        site=counter.site,
        visits=counter.visits,
        fired=counts.fired[units],
        lowest=counts.lowest[units],
        highest=counts.highest[units],
        mean_abs=counts.mean_abs[units],
    )


def count_units(
    model: object, loader: Iterable[Any], forward: Forward | None = None
) -> tuple[str, int, int | None, int | None, tuple[SiteCount, ...]]:
    """Run a model in eval mode over all batches of a loader and count at every activation.

    Args:
        model: A trained module; afterwards it is as it was.
        loader: Its batches, once.
        forward: How to call the model on a batch otherwise, see `rectifier.sandbox`.

    Returns:
        The model's name, the numbers of batches, of inputs and of distinct inputs (None where there was no tensor to
        tell them by), and the counts of each site.

    Raises:
        CannotProbe: The model cannot be run on a batch, or there is no batch.
    """
    inner = own_module(model, CannotProbe)
    census, samples, batches, inputs = UnitCensus(inner), DistinctSamples(), 0, 0
    with undisturbed(inner, loader, training=False):
        forget = functions.observe_alone(census)
        try:
            for batch in _batches(loader):
                given = Pass(inner, batch, forward, CannotProbe)
                census.see(given)
                samples.see(given.inputs, 0)
                samples.update()
                batches += 1
                inputs += _samples(given)
        finally:
            forget()
    if not batches:
        raise CannotProbe("the data hold no batch. A generator that has been used is empty: pass a new one.")
    return type(inner).__name__, batches, inputs or None, samples.count, census.counts()


def _batches(loader: Iterable[Any]) -> Iterator[Any]:
    if isinstance(loader, Tensor | nn.Module) or not isinstance(loader, Iterable):
        raise CannotProbe(f"the data must be an iterable of batches, such as a DataLoader; got {described(loader)}.")
    return _told_of(loader)


def _told_of(loader: Iterable[Any]) -> Iterator[Any]:
    """The batches; what the data raise is told as theirs."""
    try:
        yield from loader
    except Exception as error:
        raise CannotProbe(f"the data could not be read to their end: {type(error).__name__}: {error}") from error


def _samples(given: Pass) -> int:
    tensors = [tensor for tensor in tensors_in(given.inputs) if tells_samples_apart(tensor)]
    return max(tensors, key=Tensor.numel).shape[0] if tensors else 0
