"""The user's models and the sites met in them: which call is which site, and when it is looked at."""

import itertools
import math
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from rectifier import catalogue
from rectifier.hooks import Location, between, find_unit_axis
from rectifier.hooks.calls.functions import describe
from rectifier.hooks.calls.tracker import Call, CallTracker
from rectifier.hooks.modules import FOREIGN, user_class
from rectifier.hooks.ranks import is_replica
from rectifier.monitor.training.schedule import Look
from rectifier.monitor.training.sinks import Sink
from rectifier.monitor.training.sites.counters import UnitCounters
from rectifier.monitor.training.sites.counting import count_input, count_output
from rectifier.monitor.training.sites.feeds import Feeds, refer_to
from rectifier.monitor.training.sites.met import ModelRecord, SiteRecord, Token
from rectifier.monitor.training.sites.reading import begin_window, read_site
from rectifier.monitor.training.sites.samples import DistinctSamples
from rectifier.monitor.training.sites.updates import Updates
from rectifier.monitor.training.watching import said_axis
from rectifier.records import ModelState, Site, SiteWindow

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
        self._only = weakref.ref(only) if only is not None else None
        self._models: weakref.WeakKeyDictionary[nn.Module, ModelRecord] = weakref.WeakKeyDictionary()
        self._tracker = CallTracker(only, gradients=True)
        self._names: dict[str, int] = {}
        self.sites: list[SiteRecord] = []
        self.updates = Updates(self.sites)
        self._records: list[ModelRecord] = []
        self.nodes: dict[int, set[int]] | None = {}
        """By thread, the sequence number of the `grad_fn` of every output met in this step; None once nobody asks."""
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

    def watches(self, model: nn.Module) -> bool:
        """Whether this model, a part of it, or one that it is a part of is observed."""
        if self._only is None:
            return True
        only = self._only()
        return only is not None and (only in set(model.modules()) or model in set(only.modules()))

    # During a forward -------------------------------------------------------------------------------------------

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], step: int, look: Look) -> Token | None:
        """Decide whether a call is a training call of a model's, and which site it is."""
        tensor = self._tracker.counted(args, kwargs)
        if tensor is None:
            return None
        call = self._tracker.number(tensor)
        token = None if call is None else self._at_site(call, name, args, kwargs, step, look)
        if token is None and self.nodes is not None and look is Look.COUNT:
            # A loss's or a metric's: no site, and nothing that was overlooked either.
            return Token(None, step, look)
        return token

    def _at_site(
        self, call: Call, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], step: int, look: Look
    ) -> Token | None:
        place, tensor = call.place, call.tensor
        model = self._models.get(place.root)
        if not place.root.training and (model is None or not model.trains_in_eval):
            # An evaluation, unless a loss's graph leads to it.
            self.eval_forward = True
            return None
        model = model or self._meet(place.root, place.wrapper, place)
        if not model.trains:
            # Until it is known to feed a layer, an activation by itself may be a loss's.
            return Token(None, step, look, unsure=model) if is_activation(place.root) else None
        if call.first:
            self.updates.threads.add(threading.get_ident())
            self._begin_forward(model, call, step, measured=look is Look.COUNT)
        path = self._path_of(model, place.root, place.owner)
        feeds = model.feeds.get(path) or model.feeds.setdefault(path, Feeds(model.parameters))
        feed = feeds.of(tensor, call.number, place.root)
        key = path, feed, call.number_among((path, feed))
        site = model.sites.get(key)
        if site is None:
            activation = describe(name, args, kwargs)
            site = model.sites[key] = model.last = self._add_site(model, call, path, activation)
            # What is met for the first time is counted, so that no site is known by glances alone.
            look = Look.COUNT
        if look is Look.GLANCE:
            return Token(site, step, look)
        count_input(site, tensor)
        # Before the call, which may be in place and then stands there itself.
        edge = None if tensor.grad_fn is None else (tensor.grad_fn, tensor.output_nr)
        return Token(site, step, look, edge, model.entries)

    def _begin_forward(self, model: ModelRecord, call: Call, step: int, *, measured: bool) -> None:
        tensor = call.tensor
        rows = tensor.shape[1 if model.sequence_first and tensor.ndim > 2 else 0] if tensor.ndim else 1
        # What an activation by itself is given was computed with weights, and changes as they do.
        inputs = () if call.again or is_activation(call.place.root) else call.place.inputs()
        model.entries = model.samples.see(inputs, step, measured=measured, rows=rows) or rows or 1

    def roots(self) -> list[nn.Module]:
        """The models that have been seen to run; the one that is watched, where only one is."""
        if self._only is not None:
            only = self._only()
            return [] if only is None else [only]
        by_record = {id(record): root for root, record in self._models.items() if record.trains}
        return list(by_record.values())

    def name_of(self, root: nn.Module) -> str:
        """The name of a model, whether or not it has been seen to run."""
        return (self._models.get(root) or self._meet(root, None, None)).name

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

    def note_modes(self, names: set[str]) -> None:
        """A loss's graph leads to these models: note in which mode they are."""
        self.eval_forward = False
        for root, record in {id(record): (root, record) for root, record in self._models.items()}.values():
            if record.name in names:
                record.losses += 1
                record.eval_losses += not root.training
                record.trains_in_eval = not root.training

    @property
    def states(self) -> tuple[ModelState, ...]:
        """How each model was used so far."""
        return tuple(
            ModelState(name=record.name, steps=record.losses, eval_steps=record.eval_losses)
            for record in self._records
            if record.losses
        )

    def _meet(self, root: nn.Module, wrapper: nn.Module | None, place: Location | None) -> ModelRecord:
        base, own = user_class(type(root)).__name__, refer_to(root)
        line = None if own or place is None else place.called_from()
        record = next((one for one in self._records if _is_made_anew(one, base, own, line)), None)
        if record is None:
            number = self._names[base] = self._names.get(base, 0) + 1
            record = ModelRecord(
                name=base if number == 1 else f"{base}#{number}",
                root=weakref.ref(root),
                weights=own,
                # A module without parameters (a loss, a metric) is not a model, even when it applies an activation.
                trains=bool(own),
                replica=is_replica(root, wrapper),
                called_from=line,
                sequence_first=any(getattr(part, "batch_first", True) is False for part in root.modules()),
            )
            self._records.append(record)
        record.root = weakref.ref(root)
        self._models[root] = record
        return record

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
            )
        )
        return site

    def _path_of(self, model: ModelRecord, root: nn.Module, owner: nn.Module) -> str:
        path = model.paths.get(owner)
        if path is None:
            # A new root, or a module that was added to the model after its first forward.
            model.paths.update(self._paths_from(root))
            path = model.paths.setdefault(owner, type(owner).__name__)
        return path

    def _paths_from(self, root: nn.Module) -> dict[nn.Module, str]:
        """Paths as the user knows them: from the module that is watched, where the root is a part of it."""
        only = self._only() if self._only is not None else None
        return {module: path for path, module in (only if only is not None else root).named_modules()}

    def after(self, token: Token, output: Tensor) -> None:
        """Count what came out."""
        node, entries = output.grad_fn, []
        if node is not None and token.look is Look.COUNT:
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
        """The nodes that this thread has met in this step; each thread numbers its own."""
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
        # Not at a backward pass: a step may have several, and each asks what was met since the step began.
        self._tracker.end_step()
        self._hooks.pop(threading.get_ident(), None)
        self._site_nodes.pop(threading.get_ident(), None)
        self.unsure.clear()
        self.eval_forward = False
        if self.nodes is not None:
            self.nodes.pop(threading.get_ident(), None)

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

    def begin_again(self) -> None:
        """Forget all models and counts (in a forked child)."""
        self.forget_step()
        self._tracker.begin_again()
        self._hooks.clear()
        self._models.clear()
        self._records.clear()
        self._names.clear()
        self._site_nodes.clear()
        self.feeds.clear()
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
        windows = tuple(read_site(site) for site in self.sites if site.steps)
        if finished:
            for site in self.sites:
                # Also one that did not run, whose weight is measured all the same.
                begin_window(site)
        return windows


def _is_made_anew(
    record: ModelRecord, base: str, own: "tuple[weakref.ref[Tensor], ...]", called_from: str | None
) -> bool:
    """Whether a root is the model of a record once more: the same class around the same parameters.

    Without any parameters, one that is made for every step takes the place of one that is gone and was called there.
    """
    if record.name.partition("#")[0] != base or len(own) != len(record.weights):
        return False
    if not own:
        return record.root() is None and record.called_from == called_from
    return all(old() is new() for old, new in zip(record.weights, own, strict=True))


def is_activation(module: nn.Module) -> bool:
    """Whether a module is itself an activation: torch's, ours, or one that is known by its name."""
    where = type(module).__module__
    known = where == "torch.nn.modules.activation" or where.startswith("rectifier.")
    return known or type(module).__name__ in FOREIGN.get(where, {})
