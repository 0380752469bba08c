"""What a swap cannot do, said before anything is changed, with the line to write instead."""

from collections.abc import Iterable
from enum import StrEnum

from torch import nn
from torch.optim import Optimizer

from rectifier._formatting import listed
from rectifier.catalogue import CATALOGUE, Choice, parse
from rectifier.errors import CannotSwap
from rectifier.treatment.swapping.survey import Old, Seal, Survey, survey
from rectifier.treatment.swapping.where import Selection, Where


class Parallel(StrEnum):
    """What divides or copies a model between ranks, as a user writes it."""

    DISTRIBUTED = "DistributedDataParallel"
    FULLY_SHARDED = "FullyShardedDataParallel"
    FULLY_SHARD = "fully_shard"

    @property
    def line(self) -> str:
        """The call that does it."""
        return f"{self}(model)"


_PARALLEL = {
    "DistributedDataParallel": Parallel.DISTRIBUTED,
    "FullyShardedDataParallel": Parallel.FULLY_SHARDED,
    "FSDPModule": Parallel.FULLY_SHARD,
}
_SEALED = {
    Seal.SCRIPTED: ("a TorchScript module", "torch.jit.script(model)"),
    Seal.TRACED: ("a traced graph", "tracing or exporting it"),
}
_SHOWN = 8


def wrong_arguments(model: object, optimizer: object) -> None:
    """Refuse what is no model, or no optimizer."""
    if not isinstance(model, nn.Module):
        raise CannotSwap(f"swap takes a torch.nn.Module first; this is a {type(model).__name__}.")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise CannotSwap(f"optimizer= takes a torch.optim.Optimizer; this is a {type(optimizer).__name__}.")


def sealed(meant: Survey, old: Old) -> None:
    """Refuse what is compiled or traced for good."""
    for path, how in meant.sealed:
        what, line = _SEALED[how]
        at = f"{path or 'The model'} is {what} that computes {old.name}"
        raise CannotSwap(f"{at}; its code can no longer be changed. Swap the model before {line}.")


def nothing(model: nn.Module, old: Old, found: Survey, where: Where, selection: Selection) -> CannotSwap:
    """Say why nothing, or not all that was wished, is there."""
    name = type(model).__name__
    if not found.empty:
        missed = sorted(selection.unmet) if selection.unmet else [where]
        wish = ", ".join(repr(one) for one in missed)
        return CannotSwap(f"where={wish} meets no {old.spec} of {name}. It has {old.spec} at: {_some(found.paths())}.")
    text = f"{name} computes no {old.spec}."
    if found.elsewhere:
        path, call = found.elsewhere[0]
        text += f" Out of reach lies {call}{f' in {path}' if path else ''}: the forward does not lead there."
    has = [f"{count} × {spec}" for spec, count in found.others.items()]
    has += [f"{row} as a function" for row in _functions(model) if row != old.name]
    text += f" It has: {', '.join(has)}." if has else " It has no activation that Rectifier knows."
    if has:
        first = next(iter(found.others), None) or next(row for row in _functions(model))
        text += f" Write swap(model, {first!r}, …)."
    return CannotSwap(text)


def _functions(model: nn.Module) -> list[str]:
    known = [name for name, row in CATALOGUE.items() if row.function]
    return [name for name in known if name != "gelu_tanh" and _calls(survey(model, Old(parse(name), False)))]


def _calls(found: Survey) -> bool:
    return bool(found.owners or found.held)


def functional(model: nn.Module, meant: Survey, new: Choice) -> None:
    """Refuse a functional call where the new activation needs a module."""
    row = new.activation
    needs = "a learned slope" if row.name == "prelu" else "a training mode"
    make = f"torch.nn.{row.module}({'' if new.parameter is None else f'init={new.parameter}'})"
    instead = f"leaky_relu:{new.parameter if new.parameter is not None else 0.23}"
    if meant.owners:
        owner = meant.owners[0]
        call, where = owner.reach.calls[0], owner.path or type(model).__name__
        more = sum(len(o.reach.calls) for o in meant.owners) - 1
        also = f", and {more} more call{'s' if more > 1 else ''}," if more else ","
        modules = " or swap the modules only, with where=…;" if meant.places else ""
        raise CannotSwap(
            f"{call} in {where}{also} cannot become {new.spec}: it needs {needs}, and a function has no place for "
            f"it. Write self.act = {make} in __init__ and self.act(x) in forward;{modules} or choose {instead}."
        )
    for held in meant.held:
        if held.container is not None or type(held.value) is tuple:
            raise CannotSwap(
                f"{held.path} is a plain {type(held.container or held.value).__name__}: the parameters of {new.spec} "
                f"would not be in model.parameters(). Write torch.nn.ModuleList([…]) or torch.nn.ModuleDict({{…}}) "
                f"there, or choose {instead}."
            )


def recomputed(model: nn.Module, meant: Survey) -> None:
    """Refuse functions under activation checkpointing: they run again where no scope holds."""
    for owner in meant.owners:
        for call in owner.reach.repeated:
            raise CannotSwap(
                f"{call} in {owner.path or type(model).__name__} may be run again by torch.utils.checkpoint in the "
                "backward pass, outside of the module's forward, and would then be the old activation. Checkpoint a "
                "method or a module instead: checkpoint(self.block, x)."
            )


def new_parameters(model: nn.Module, new: Choice) -> None:
    """Refuse parameters that a wrapper would not know of."""
    if parallel := parallel_of(model):
        raise CannotSwap(
            f"{new.spec} brings parameters, and {parallel} took stock of the model's when it was made: they would "
            f"differ between the ranks. Write rectifier.swap(model, …) before {parallel.line}."
        )


def parallel_of(model: nn.Module) -> Parallel | None:
    """What divided a model between ranks; None where nothing did."""
    classes = (cls for module in model.modules() for cls in type(module).__mro__)
    found = (_PARALLEL.get(cls.__name__) for cls in classes if cls.__module__.startswith("torch."))
    return next((parallel for parallel in found if parallel is not None), None)


def _some(paths: Iterable[str]) -> str:
    return listed([path or "the model's own forward" for path in paths], _SHOWN)
