"""The user's models and the sites met in them: which call is which site, and when it is looked at."""

import itertools
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from rectifier import catalogue
from rectifier.hooks import between, find_unit_axis
from rectifier.hooks.calls.functions import describe
from rectifier.hooks.calls.tracker import Call, CallTracker
from rectifier.monitor.training.sinks import Sink
from rectifier.monitor.training.sites.counters import UnitCounters
from rectifier.monitor.training.sites.counting import count_input, count_output
from rectifier.monitor.training.sites.feeds import Feeds
from rectifier.monitor.training.sites.met import ModelRecord, SiteRecord, Token
from rectifier.monitor.training.sites.placed import is_activation, layer_before
from rectifier.monitor.training.sites.reading import begin_window, read_site
from rectifier.monitor.training.sites.roots import Roots
from rectifier.monitor.training.sites.samples import DistinctSamples
from rectifier.monitor.training.sites.updates import Updates
from rectifier.monitor.training.steps.schedule import Sampling
from rectifier.monitor.training.watching import said_axis
from rectifier.records import Site, SiteWindow

# Outputs (middle, half) between which |f′| is at least 1% of its maximum: tanh |z| ≥ 3.0, sigmoid |z| ≥ 6.0.
_SATURATION = {"tanh": (0.0, math.tanh(3.0)), "sigmoid": (0.5, 0.5 * math.tanh(3.0))}


class ModelRecords:
    """All models met in one process.

    Args:
        sink: Told of each new site.
        only: Count this module's forwards only.
        units: Where the user says that units are, by the path of the module that applies the activation.
        guarded: Calls a hook's function under the monitor's lock, and turns a failure into a warning.
    """

    def __init__(
        self,
        sink: Sink,
        only: nn.Module | None,
        units: Mapping[str, int] | None = None,
        guarded: Callable[..., Any] = lambda function, *args: function(*args),
    ) -> None:
        self._units = units or {}
        self._guarded = guarded
        self._sink = sink
        self.roots = Roots(only)
        self._tracker = CallTracker(only, gradients=True)
        self.sites: list[SiteRecord] = []
        self.updates = Updates(self.sites)
        self.nodes: dict[int, set[int]] | None = {}
        """By thread, the sequence number of the `grad_fn` of every output met; None once nobody asks.

        Of all steps so far: what one model gave before an optimizer's step may be in the graph of another's loss after
        it, as in the training of a generator and its discriminator.
        """
        self._hooks: dict[int, list[Any]] = {}
        self.eval_forward = False
        """Whether a forward in eval mode ran in this step for which gradients were asked."""
        self.feeds: set[tuple[int, int]] = set()
        self._site_nodes: dict[int, dict[int, int]] = {}
        self._lengths: set[int | None] = set()
        self.unsure: dict[int, ModelRecord] = {}
        """Sequence number of the `grad_fn` of what an activation gave that is nobody's part -> its record."""
        self.device = "cpu"
        self.repeating = False
        """Whether the forward that runs is repeated, beside a compiled one."""

    # During a forward -------------------------------------------------------------------------------------------

    def before(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], step: int, sampling: Sampling
    ) -> Token | None:
        """Decide whether a call is a training call of a model's, and which site it is."""
        tensor = self._tracker.counted(args, kwargs)
        if tensor is None:
            return None
        call = self._tracker.number(tensor)
        token = None if call is None else self._at_site(call, name, args, kwargs, step, sampling)
        if token is None and self.nodes is not None and sampling is Sampling.FULL:
            # A loss's or a metric's: no site, and nothing that was overlooked either.
            return Token(None, step, sampling)
        return token

    def _at_site(
        self, call: Call, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], step: int, sampling: Sampling
    ) -> Token | None:
        place, tensor = call.place, call.tensor
        model = self.roots.get(place.root)
        if not place.root.training and (model is None or not model.trains_in_eval):
            # An evaluation, unless a loss's graph leads to it.
            self.eval_forward = True
            return None
        model = model or self.roots.meet(place.root, place.wrapper, place)
        if not model.trains:
            # Until it is known to feed a layer, an activation by itself may be a loss's.
            return Token(None, step, sampling, unsure=model) if is_activation(place.root) else None
        if call.first:
            self.updates.threads.add(threading.get_ident())
            self._begin_forward(model, call, step, measured=sampling is Sampling.FULL)
        path = self.roots.path_of(model, place.root, place.owner)
        feeds = model.feeds.get(path) or model.feeds.setdefault(path, Feeds(model.parameters))
        feed = feeds.of(tensor, call.number, place.root)
        key = path, feed, call.number_among((path, feed))
        site = model.sites.get(key)
        if site is None and tensor.requires_grad and _is_frozen(place.root):
            # What is differentiated by its inputs alone, a test of a physics-informed network for one: its graph does
            # not tell where the units are, and a later forward that trains does.
            return None
        if site is None:
            activation = describe(name, args, kwargs)
            site = model.sites[key] = model.last = self._add_site(model, call, path, activation)
            # What is met for the first time is counted, so that no site is known by light sampling alone.
            sampling = Sampling.FULL
        if sampling is Sampling.LIGHT:
            return Token(site, step, sampling)
        count_input(site, tensor)
        # Before the call, which may be in place and then stands there itself.
        edge = None if tensor.grad_fn is None else (tensor.grad_fn, tensor.output_nr)
        return Token(site, step, sampling, edge, model.entries)

    def _begin_forward(self, model: ModelRecord, call: Call, step: int, *, measured: bool) -> None:
        tensor = call.tensor
        rows = tensor.shape[1 if model.sequence_first and tensor.ndim > 2 else 0] if tensor.ndim else 1
        # What an activation by itself is given was computed with weights, and changes as they do.
        inputs = () if call.again or is_activation(call.place.root) else call.place.inputs()
        model.entries = model.samples.see(inputs, step, measured=measured, rows=rows) or rows or 1

    def site_nodes(self) -> dict[int, int]:
        """Sequence number of the `grad_fn` of what each site gave in this step, in this thread -> the site."""
        return self._site_nodes.setdefault(threading.get_ident(), {})

    def note_layers_fed(self, numbers: Iterable[int]) -> None:
        """What these nodes gave feeds a layer: their activations are a model's, from the next step on."""
        for number in numbers:
            self.unsure[number].trains = True
        self.unsure.clear()

    def note_length(self, length: int | None) -> None:
        """A loader goes through data of so many samples, or of nobody knows how many."""
        self._lengths.add(length)

    def whole_pass(self, distinct: int | None) -> bool:
        """Whether so many distinct samples are all that there are; of several data sets, those of the longest."""
        known = [length for length in self._lengths if length is not None]
        return bool(known) and len(known) == len(self._lengths) and distinct == max(known)

    def note_feeds(self, pairs: set[tuple[int, int]]) -> None:
        """Keep which sites feed each other."""
        self.feeds |= pairs

    def _add_site(self, model: ModelRecord, call: Call, path: str, activation: str) -> SiteRecord:
        owner, tensor, root = call.place.owner, call.tensor, call.place.root
        found = find_unit_axis(tensor)
        said = said_axis(self._units, path or type(owner).__name__, tensor) if self._units else None
        if said is not None and said.axis != found.axis:
            found = said
        weight = model.parameters.find(found.weight, root)
        row = catalogue.CATALOGUE[activation.partition(":")[0]]
        units = int(tensor.shape[found.axis]) if found.axis is not None else None
        site = SiteRecord(
            index=len(self.sites),
            model=model,
            axis=found.axis,
            # Without a unit axis everything counts as one unit, which still tells silence and non-finite values.
            counters=UnitCounters(
                units or 1, tensor.device, row.value_at_zero, signed=row.signed, saturation=_SATURATION.get(row.name)
            ),
            weight=weight,
            bias=model.parameters.find(found.bias, root),
            layer_bias=model.parameters.find(found.layer_bias, root),
        )
        self.sites.append(site)
        # Where a forward calls what it needs (experts that were hit), several sites may be met at the same number.
        number = next(n for n in itertools.count(call.number) if (path, n) not in model.numbers)
        model.numbers.add((path, number))
        self.device = str(tensor.device)
        self._sink.record(
            Site(
                model=model.name,
                path=path,
                call=number,
                activation=activation,
                kind="module" if is_activation(owner) else "function",
                source=call.place.source,
                units=units,
                unit_axis=found.unit_axis,
                fed_by=weight.path if weight is not None else None,
                repeated=self.repeating,
                fed_part=tuple(index for _, index in found.part),
                layer=layer_before(call.place, tensor, weight, model.parameters, self.roots.path_of(model, root, root)),
            )
        )
        return site

    def after(self, token: Token, output: Tensor) -> None:
        """Count what came out."""
        node, entries = output.grad_fn, []
        if node is not None and token.sampling is Sampling.FULL:
            entries, numbers = [(node, 0)], None
            if token.site is not None:
                self.site_nodes()[node._sequence_nr()] = token.site.index
            if token.unsure is not None:
                self.unsure[node._sequence_nr()] = token.unsure
            if token.edge is not None and node.next_functions != (token.edge,):
                # Written with several functions, or cast on the way: the input may enter more than one of them.
                found, numbers = between(node, token.edge)
                entries = found or entries
            if self.nodes is not None:
                self.observed_nodes().update(numbers or [node._sequence_nr()])
        handles = count_output(token, output, entries, self._guarded)
        if handles:
            self._hooks.setdefault(threading.get_ident(), []).extend(handles)

    def observed_nodes(self) -> set[int]:
        """The nodes that this thread has met; each thread numbers its own."""
        return set() if self.nodes is None else self.nodes.setdefault(threading.get_ident(), set())

    # Around backward and step -----------------------------------------------------------------------------------

    def end_forward(self, root: nn.Module | None = None) -> None:
        """Let go of this thread's forward; nothing of it is needed from here on. With a root, only of one of its."""
        self._tracker.end(root)

    def take_hooks_away(self) -> None:
        """Remove the gradient hooks that this thread's forwards of this step have set."""
        for handle in self._hooks.pop(threading.get_ident(), ()):
            handle.remove()

    def end_step(self) -> None:
        """An observed step has ended."""
        # Not at a backward pass: a step may have several.
        self._tracker.end_step()
        self._hooks.pop(threading.get_ident(), None)
        self._site_nodes.pop(threading.get_ident(), None)
        self.unsure.clear()
        self.eval_forward = False

    def take_hook_seconds(self) -> float:
        """Seconds that went into gradient hooks since the last call."""
        total = sum(site.hook_seconds for site in self.sites)
        for site in self.sites:
            site.hook_seconds = 0.0
        return total

    def forget_step(self) -> None:
        """Keep nothing of a step that is going on."""
        self.end_step()
        self.updates.forget()
        if self.nodes is not None:
            self.nodes.pop(threading.get_ident(), None)

    def begin_again(self) -> None:
        """Forget all models and counts (in a forked child)."""
        self.forget_step()
        self._tracker.begin_again()
        self._hooks.clear()
        self.roots.begin_again()
        self._site_nodes.clear()
        self.feeds.clear()
        self.sites.clear()

    # Reading ----------------------------------------------------------------------------------------------------

    @property
    def are_replicas(self) -> bool:
        """Whether every rank trains all of these models."""
        return bool(self.sites) and all(record.replica for record in self.roots.records if record.sites)

    @property
    def only_samples(self) -> DistinctSamples | None:
        """The distinct inputs, when one model alone was given any; with several no single number would be true."""
        records = [record for record in self.roots.records if record.sites]
        return records[0].samples if len(records) == 1 else None

    def read(self, *, finished: bool) -> tuple[SiteWindow, ...]:
        """One window per site that ran since the last finished one; this waits for the device.

        Args:
            finished: Begin the next window afterwards.
        """
        for record in self.roots.records:
            record.samples.update()
        windows = tuple(read_site(site) for site in self.sites if site.steps)
        if finished:
            for site in self.sites:
                # Also one that did not run, whose weight is measured all the same.
                begin_window(site)
        return windows


def _is_frozen(root: nn.Module) -> bool:
    """Whether a module has parameters, and asks for the gradient of none."""
    first = next(root.parameters(), None)
    return first is not None and not any(one.requires_grad for one in root.parameters())
