"""Everything in a model that computes one activation, found before anything is changed."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import fx, nn

from rectifier.catalogue import CATALOGUE, Choice
from rectifier.hooks import modules
from rectifier.hooks.modules import Place
from rectifier.hooks.replace import scoped
from rectifier.hooks.replace.activation_functions import function_names, is_function_of
from rectifier.hooks.replace.replacement import Stand
from rectifier.hooks.replace.source_calls import Call, Reach, find_calls, find_handed_calls

_OWN_TABLES = frozenset(vars(nn.Module()))
_DEPTH = 3


class Seal(Enum):
    """How a place came to be out of reach for good."""

    SCRIPTED = "TorchScript"
    TRACED = "traced"


@dataclass(frozen=True, slots=True)
class Old:
    """What is looked for.

    Attributes:
        choice: The activation.
        exact: Its parameter must be equal, too.
    """

    choice: Choice
    exact: bool

    @property
    def name(self) -> str:
        """Its name in the catalogue."""
        return self.choice.activation.name

    @property
    def spec(self) -> str:
        """As a user writes it: without a parameter where any is meant."""
        return self.choice.spec if self.exact else self.name

    def is_(self, module: nn.Module) -> bool:
        """Whether a module computes it."""
        found = modules.activation_of(module)
        if found is None or found.activation.name != self.name:
            return False
        return not self.exact or found.parameter == self.choice.parameter


@dataclass(frozen=True, slots=True)
class Held:
    """An activation that hangs on a module without being its child: `self.act = F.relu`, `self.acts = [nn.ReLU()]`.

    Attributes:
        module: The module.
        name: The attribute.
        path: Its path in the model.
        container: The list or dictionary it stands in, None if it is the attribute itself.
        key: Index or key there.
        value: The function or activation module.
    """

    module: nn.Module
    name: str
    path: str
    container: Any
    key: Any
    value: Any


@dataclass(frozen=True, slots=True)
class Owner:
    """A module whose forward calls the activation's functions.

    Attributes:
        module: The module.
        path: Its path in the model, "" for the model itself.
        reach: The calls, and the methods that lead to them.
        attributes: Functions on the instance that lead to them: a forward that was set there, or, on a module of
            torch's, what the user handed to it.
    """

    module: nn.Module
    path: str
    reach: Reach
    attributes: tuple[str, ...] = ()


@dataclass(slots=True)
class Survey:
    """All places at which a model computes one activation.

    Attributes:
        itself: The model, where it is the activation and nothing else.
        places: Entries of tables of children.
        held: Functions and modules on plain attributes.
        owners: Modules with functional calls.
        others: Every activation module of the model by name, with their number.
        elsewhere: (path, call): calls that no forward reaches, or inside of scripted functions.
        sealed: (path, how): places that nothing can reach into.
    """

    itself: nn.Module | None = None
    places: list[Place] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    owners: list[Owner] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    elsewhere: list[tuple[str, Call]] = field(default_factory=list)
    sealed: list[tuple[str, Seal]] = field(default_factory=list)

    def only(self, meant: Callable[[str], bool]) -> "Survey":
        """The part of it whose paths are meant."""
        return Survey(
            itself=self.itself if meant("") else None,
            places=[place for place in self.places if meant(place.path)],
            held=[held for held in self.held if meant(held.path)],
            owners=[owner for owner in self.owners if meant(owner.path)],
            others=self.others,
            elsewhere=[(path, call) for path, call in self.elsewhere if meant(path)],
            sealed=[(path, how) for path, how in self.sealed if meant(path)],
        )

    @property
    def empty(self) -> bool:
        """Whether there is nothing that can be replaced."""
        return self.itself is None and not (self.places or self.held or self.owners)

    def paths(self) -> list[str]:
        """Paths of everything that can be replaced, each once."""
        found = [*(p.path for p in self.places), *(h.path for h in self.held), *(o.path for o in self.owners)]
        return list(dict.fromkeys(found))


def survey(model: nn.Module, old: Old) -> Survey:
    """Look through the whole model."""
    result = Survey()
    seen: set[int] = set()
    for place in modules.places(model):
        if old.is_(place.child):
            result.places.append(place)
        found = modules.activation_of(place.child)
        if found is not None and id(place.child) not in seen:
            seen.add(id(place.child))
            result.others[found.spec] = result.others.get(found.spec, 0) + 1
    activations = {id(place.child) for place in modules.places(model) if modules.activation_of(place.child)}
    for raw, module in model.named_modules():
        path = modules.shown(raw)
        if isinstance(module, torch.jit.ScriptModule):
            if _scripted(module, old.name):
                result.sealed.append((path, Seal.SCRIPTED))
            continue
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            kind = getattr(module, "nonlinearity", None) or getattr(module, "mode", None)
            if str(kind).lower().endswith(old.name):
                result.elsewhere.append((path, Call(f"the fused kernel of {type(module).__name__}", "torch")))
            continue
        if isinstance(module, fx.GraphModule):
            if any(_node_calls(node, old.name) for node in module.graph.nodes):
                result.sealed.append((path, Seal.TRACED))
            continue
        if id(module) in activations:
            continue
        result.held += _held(module, path, old)
        _read_source(module, path, old, result)
    return result


def _read_source(module: nn.Module, path: str, old: Old, result: Survey) -> None:
    reach = find_calls(module, old.name)
    open_calls = tuple(call for call in reach.calls if not call.scripted)
    methods = set(reach.methods) if open_calls else set()
    for replacement, scoped_methods in scoped.produced(module):
        if replacement.produces(old.choice, exact=old.exact):
            open_calls += (Call(f"what an earlier swap made of {replacement.name}", replacement.old),)
            methods |= scoped_methods
    attributes = []
    for name, value in vars(module).items():
        if name in _OWN_TABLES or (name != "forward" and not modules.is_torch_class(type(module))):
            continue
        handed = find_handed_calls(value, old.name)
        if handed or (name == "forward" and methods):
            attributes.append(name)
            open_calls += tuple(call for call in handed if call not in open_calls)
    result.elsewhere += [(path, call) for call in (*reach.elsewhere, *(c for c in reach.calls if c.scripted))]
    if open_calls:
        found = Reach(open_calls, frozenset(methods), (), reach.repeated)
        result.owners.append(Owner(module, path, found, tuple(attributes)))


def _held(module: nn.Module, path: str, old: Old) -> Iterator[Held]:
    for name, value in list(vars(module).items()):
        if name in _OWN_TABLES or name == "forward":
            continue
        where = f"{path}.{name}" if path else name
        if computes(value, old):
            yield Held(module, name, where, None, None, value)
        else:
            for container, key, entry in _entries(value, _DEPTH):
                if computes(entry, old):
                    yield Held(module, name, where, container, key, entry)


def _entries(value: Any, depth: int) -> Iterator[tuple[Any, Any, Any]]:
    if depth == 0 or type(value) not in (list, dict):
        return
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key, entry
        yield from _entries(entry, depth - 1)


def computes(value: Any, old: Old) -> bool:
    """Whether something that hangs on a module is the activation, or a tuple that holds it."""
    if isinstance(value, nn.Module):
        return old.is_(value)
    if isinstance(value, Stand):
        return value.replacement.produces(old.choice, exact=old.exact)
    if type(value) is tuple:
        return any(computes(entry, old) for entry in value)
    if not is_function_of(value, old.name):
        return False
    if old.exact and isinstance(value, functools.partial):
        given = value.keywords.get(str(old.choice.activation.parameter), old.choice.activation.default)
        return bool(given == old.choice.parameter)
    return not old.exact or old.choice.parameter == old.choice.activation.default


def _scripted(module: torch.jit.ScriptModule, name: str) -> bool:
    cls = CATALOGUE[name].module
    if any(getattr(inner, "original_name", None) == cls for inner in module.modules()):
        return True
    graph = getattr(module, "graph", None)
    return graph is not None and any(f"aten::{name}(" in str(graph) for name in function_names(name))


def _node_calls(node: fx.Node, name: str) -> bool:
    if node.op == "call_method":
        return node.target in function_names(name)
    if node.op != "call_function":
        return False
    names = function_names(name)
    return is_function_of(node.target, name) or str(node.target).removeprefix("aten.").split(".")[0] in names
