"""One activation for another in a model, in place, exactly, and undoable."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from rectifier.activations import module_for
from rectifier.catalogue import Choice, parse
from rectifier.hooks import modules
from rectifier.hooks.modules import Place
from rectifier.hooks.replace import scoped
from rectifier.hooks.replace.replacement import Replacement, Stand
from rectifier.records import SwappedActivation, Treated, Treatment
from rectifier.treatment import optimizers, steps
from rectifier.treatment.change import Change, Step
from rectifier.treatment.swapping import notes, refusals
from rectifier.treatment.swapping.survey import Held, Old, Survey, computes, survey
from rectifier.treatment.swapping.where import Selection, Where

NEEDS_A_MODULE = ("prelu", "rrelu")
"""A function has no place for a learned slope, nor for a training mode."""

# What nn.TransformerEncoderLayer notes about its activation, to take a kernel that computes only these two.
FAST_PATH = {"relu": 1, "gelu": 2, "surrogate_gradient": 1}


def swap(
    model: nn.Module,
    old: str,
    new: str,
    *,
    where: Where = None,
    optimizer: Optimizer | None = None,
) -> Change:
    """Replace one activation by another in a model, in place.

    Modules are replaced in all their places, so that what was shared stays shared; hooks, train/eval mode, device
    and dtype are kept. Functional calls (`F.relu`, `torch.relu`, `x.relu()` and their in-place forms) are replaced
    while the forward of the module that makes them runs. The keys of the state dict stay, unless the new activation
    has parameters.

    Warning:
        A learned slope (`prelu`) is a parameter that an existing optimizer does not know; hand the optimizer over, or
        make it afterwards. A slope in a module that is used in several places is one slope for all of them.

    Args:
        model: Any module; inside of `torch.compile`'s and the parallel wrappers, their module is meant.
        old: The activation to replace; with a parameter (`leaky_relu:0.01`) only those with this parameter.
        new: The activation to put there.
        where: Paths, patterns, classes, findings or a function of the path; everywhere when None.
        optimizer: Gets the parameters of the new activation, beside the weights of their layer, without weight
            decay; live schedulers are told.

    Returns:
        What was done, with `undo()`.

    Raises:
        UnknownActivation: A name or parameter is not in the catalogue.
        CannotSwap: The model does not compute `old`, or it cannot be replaced there; the text names the place and
            the line to write instead, and nothing has been changed.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
        >>> swap(model, "relu", "leaky_relu:0.1")
        relu → leaky_relu:0.1 in 1 place
          1
    """
    refusals.wrong_arguments(model, optimizer)
    wanted, put = Old(parse(old), ":" in old), parse(new)
    inner = modules.unwrapped(model)
    found = survey(inner, wanted)
    if wanted.is_(inner):
        found = Survey(itself=inner)
    selection = Selection(inner, where)
    meant = found.only(selection)
    refusals.sealed(meant, wanted)
    if meant.empty or selection.unmet:
        raise refusals.nothing(inner, wanted, found, where, selection)
    refusals.recomputed(inner, meant)
    if put.activation.name in NEEDS_A_MODULE:
        refusals.functional(inner, meant, put)
    plan = _Plan(inner, wanted, put)
    plan.draw(found, meant)
    if plan.slopes:
        refusals.new_parameters(model, put)
        if optimizer is not None:
            optimizers.refuse(optimizer, [weight for _, _, weight in plan.slopes if weight is not None])
    return plan.carry_out(optimizer)


class _Plan:
    """What is going to be done, drawn up completely before anything is touched."""

    def __init__(self, model: nn.Module, old: Old, new: Choice) -> None:
        self.slopes: list[tuple[str, nn.Parameter, nn.Parameter | None]] = []
        self._model, self._new = model, new
        self._change = Change(old.spec, new.spec)
        self._doings: list[Callable[[], Step]] = []
        self._instead: dict[int, nn.Module] = {}
        self._as_module = new.activation.name in NEEDS_A_MODULE
        self._replacement = None if self._as_module else Replacement(old.spec, old.exact, new.spec)

    def draw(self, found: Survey, meant: Survey) -> None:
        """Plan every replacement of what is meant."""
        if meant.itself is not None:
            label = type(meant.itself).__name__
            made = self._module(meant.itself, "", None)
            self._doings.append(partial(steps.BecameAnother, meant.itself, label, made))
            self._change.record([f"{label}, the model itself"])
        for place in meant.places:
            self._child(place)
        for held in meant.held:
            self._attribute(held)
        for owner in meant.owners:
            assert self._replacement is not None
            scope = scoped.scope(self._replacement.name, self._replacement)
            label = owner.path or type(self._model).__name__
            for name in owner.attributes:
                function = scoped.ScopedFunction(vars(owner.module)[name], scope)
                self._doings.append(partial(steps.ReplacedAttribute, owner.module, name, label, function))
            if owner.reach.methods:
                self._doings.append(partial(steps.ScopedModule, owner.module, label, scope, owner.reach.methods))
            self._change.record(f"{label}: {call}" for call in owner.reach.calls)
        if meant.owners:
            self._spare(found, meant)
        self._change.record(notes=notes.left_as_they_are(self._model, meant))
        self._change.record(notes=notes.tied(meant, self.slopes))

    def carry_out(self, optimizer: Optimizer | None) -> Change:
        """Do it; should a step fail, the model is put back as it was."""
        change = self._change
        try:
            for doing in self._doings:
                change.did(doing())
            known = [(name, slope, weight) for name, slope, weight in self.slopes if weight is not None]
            if optimizer is not None and known:
                change.did(steps.Withdrawn(optimizers.add(optimizer, known)))
        except BaseException:
            change.undo()
            raise
        change.record(notes=notes.parameters(self._new, self.slopes, optimizer))
        swapped = SwappedActivation(old=change.old, new=change.new, places=change.replaced)
        change.tell(self._model, Treated(name=Treatment.SWAP, swapped=swapped))
        return change

    def _child(self, place: Place) -> None:
        weight = modules.neighbour(place.parent, place.name, self._model)
        made = self._module(place.child, place.path, weight)
        self._doings.append(partial(steps.ReplacedChild, place.parent, place.name, place.path, place.child, made))
        self._change.record([place.path])
        self._fast_path(place.parent, place.name, place.path)

    def _attribute(self, held: Held) -> None:
        new = self._instead_of(held.value, held)
        if held.container is None:
            self._doings.append(partial(steps.ReplacedAttribute, held.module, held.name, held.path, new))
            self._change.record([held.path])
            self._fast_path(held.module, held.name, held.path)
        else:
            label = f"{held.path}[{held.key!r}]"
            self._doings.append(partial(steps.ReplacedEntry, held.container, held.key, label, new))
            self._change.record([label])

    def _instead_of(self, value: Any, held: Held) -> Any:
        if type(value) is tuple:
            old = Old(parse(self._change.old), ":" in self._change.old)
            return tuple(self._instead_of(entry, held) if computes(entry, old) else entry for entry in value)
        if isinstance(value, nn.Module) or self._replacement is None:
            weight = modules.neighbour(held.module, held.name, self._model)
            return self._module(value, held.path, weight)
        return Stand(value, self._replacement)

    def _module(self, old: Any, path: str, weight: nn.Parameter | None) -> nn.Module:
        """The module that stands for an old one, the same in all of its places."""
        shared = isinstance(old, nn.Module)
        if shared and id(old) in self._instead:
            return self._instead[id(old)]
        made = like(old if shared else None, self._new, weight)
        if shared:
            self._instead[id(old)] = made
        self.slopes += [(f"{path}.{name}" if path else name, slope, weight) for name, slope in made.named_parameters()]
        return made

    def _fast_path(self, module: nn.Module, name: str, path: str) -> None:
        """Keep a Transformer layer's inference kernel, which knows ReLU and GELU only, from ignoring the swap."""
        if name == "activation" and "activation_relu_or_gelu" in vars(module):
            computes = FAST_PATH.get(self._new.activation.name, 0)
            self._doings.append(partial(steps.ReplacedAttribute, module, "activation_relu_or_gelu", path, computes))

    def _spare(self, found: Survey, meant: Survey) -> None:
        """Keep the activations that are not meant as they are, inside of a forward whose calls are replaced."""
        assert self._replacement is not None
        keep = scoped.scope(self._replacement.name, None)
        scopes = [owner.module for owner in meant.owners]
        inside = {id(child) for module in scopes for child in module.modules() if child is not module}
        done = {id(module) for module in scopes} | {id(place.child) for place in meant.places}
        spared: list[tuple[str, nn.Module]] = [(p.path, p.child) for p in found.places]
        spared += [(h.path, h.module) for h in found.held if h not in meant.held]
        spared += [(o.path, o.module) for o in found.owners]
        for path, module in spared:
            if id(module) in inside and id(module) not in done:
                done.add(id(module))
                self._doings.append(partial(steps.ScopedModule, module, path, keep, frozenset({"forward"})))


def like(old: nn.Module | None, new: Choice, weight: nn.Parameter | None) -> nn.Module:
    """The new activation as a module, with what it takes over from the old one and from the weight beside it.

    A frozen layer gets a frozen slope.
    """
    inplace = bool(getattr(old, "inplace", False))
    floating = weight is not None and weight.is_floating_point()
    device = None if weight is None else weight.device
    made = module_for(
        new, inplace=inplace, device=device, dtype=weight.dtype if weight is not None and floating else None
    )
    if weight is not None:
        made.requires_grad_(weight.requires_grad)
    return made if old is None else modules.take_after(made, old)
