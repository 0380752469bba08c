"""The optimizer's memory of recycled entries: as if they had been there, at rest, among the live ones.

With m = 0 and v = the median of the live entries an adaptive optimizer steps them as it steps the live ones. v = 0,
with the step count of a training that has gone on for a while, steps them (1 − β₁)/√(1 − β₂) = 3.2 learning rates at
once; a step count of 0 would be all entries' and slow the live ones down.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.optim import Optimizer

from rectifier.errors import CannotRecycle
from rectifier.treatment.recycling.slots import Slot, Wiring
from rectifier.treatment.recycling.undo import Ledger

_REST, _SCALE = "at rest", "scale"
_ADAM = {"exp_avg": _REST, "exp_avg_sq": _SCALE, "max_exp_avg_sq": _SCALE}
EXACT: dict[str, dict[str, str]] = {
    "SGD": {"momentum_buffer": _REST},
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "NAdam": _ADAM,
    "RAdam": _ADAM,
    "Adamax": {"exp_avg": _REST, "exp_inf": _SCALE},
    "RMSprop": {"square_avg": _SCALE, "grad_avg": _REST, "momentum_buffer": _REST},
    "Adagrad": {"sum": _SCALE},
    "Adadelta": {"square_avg": _SCALE, "acc_delta": _SCALE},
    "Rprop": {"prev": _REST, "step_size": _SCALE},
}
"""Optimizers whose state is one number for each weight: what becomes 0, and what the median of the live entries."""

_COUPLED = {
    "LBFGS": "its curvature is one history of all weights together",
    "Adafactor": "its second moments are kept as sums over rows and columns, in which live weights take part",
    "Muon": "it orthogonalises whole matrices, so that no row steps by itself",
    "ASGD": "it keeps an average of the weights over the whole training, in which the dead ones take part",
    "SparseAdam": "it knows only the rows that an embedding looks up",
}
_MOST_LIVE = 512
"""Live units of which the median is taken; they are spread evenly over the layer."""


def plain(optimizer: object) -> Optimizer:
    """The optimizer of torch's inside of a wrapper, refused where its state is not known.

    Raises:
        CannotRecycle: By the name of the optimizer.
    """
    for _ in range(3):
        inside = getattr(optimizer, "optimizer", None)
        if isinstance(inside, Optimizer):
            optimizer = inside
    if not isinstance(optimizer, Optimizer):
        raise CannotRecycle(
            f"recycle takes the optimizer second; this is a {type(optimizer).__name__}. Its state for the recycled "
            "weights has to be set."
        )
    cls = type(optimizer)
    name = cls.__name__
    if name in _COUPLED:
        raise CannotRecycle(f"{name} cannot be told of recycled units: {_COUPLED[name]}. {_known()}")
    if _row(optimizer) is None:
        raise CannotRecycle(f"The state of {cls.__module__}.{name} is not known, entry by entry. {_known()}")
    return optimizer


def _known() -> str:
    return f"Exact are torch's {', '.join(EXACT)}."


def _row(optimizer: Optimizer) -> dict[str, str] | None:
    for cls in type(optimizer).__mro__:
        if cls.__module__.startswith("torch.optim.") and cls is not Optimizer:
            return EXACT.get(cls.__name__)
        if "step" in vars(cls):
            return None
    return None


def refuse_untrained(optimizer: Optimizer, wiring: Wiring) -> None:
    """Refuse weights that this optimizer does not train, or keeps an unknown state of.

    Raises:
        CannotRecycle: By the name of the parameter.
    """
    row = _row(optimizer) or {}
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    layers = [wiring.layer, *(reader for reader, _ in wiring.readers)]
    for layer in layers:
        name = layer.names[0]
        if not layer.weight.requires_grad:
            raise CannotRecycle(f"{name} is frozen (requires_grad=False): a revived unit would not learn")
        if id(layer.weight) not in trained:
            raise CannotRecycle(f"{name} is not among the parameters of this {type(optimizer).__name__}")
        for key, value in optimizer.state.get(layer.weight, {}).items():
            if isinstance(value, Tensor) and value.numel() > 1 and key not in row:
                raise CannotRecycle(f"{type(optimizer).__name__} keeps {key!r} of {name}, which is not known")


def reset(
    optimizer: Optimizer, wiring: Wiring, revived: list[int], live: list[int], ledger: Ledger, *, published: bool
) -> None:
    """Set the state of the revived units' entries, and of nothing else; `step` stays.

    Args:
        optimizer: One of `EXACT`.
        wiring: The site.
        revived: Its units that were revived.
        live: Its units that fire.
        ledger: Where to note it.
        published: As in the papers: everything at rest, scales 0.
    """
    chosen = live[:: -(-len(live) // _MOST_LIVE)] if live else []
    sides: tuple[Callable[[int], list[Slot]], ...] = (wiring.incoming, wiring.outgoing)
    for side in sides:
        lives = [side(unit) for unit in chosen]
        scales: dict[tuple[int, str, torch.Size], Tensor] = {}
        for unit in revived:
            for number, slot in enumerate(side(unit)):
                for key, held, role in _states(optimizer, slot):
                    if role == _REST or (published and key != "step_size"):
                        ledger.write(held, 0.0)
                        continue
                    shape = held.read().shape
                    if (number, key, shape) not in scales:
                        scales[number, key, shape] = _median(held, lives, number, shape)
                    ledger.write(held, scales[number, key, shape])


def _median(held: Slot, lives: list[list[Slot]], number: int, shape: torch.Size) -> Tensor:
    """The median over live units, entry by entry."""
    state = held.tensor
    found = [state[slots[number].index] for slots in lives if number < len(slots)]
    found = [values for values in found if values.shape == shape]
    if found:
        return torch.stack(found).median(0).values
    # Nobody is alive: the largest that is left, so that the first steps are rather too small.
    return state.detach().amax().expand(shape)


def _states(optimizer: Optimizer, slot: Slot) -> Iterator[tuple[str, Slot, str]]:
    row = _row(optimizer) or {}
    state = optimizer.state.get(slot.tensor, {})
    for key, role in row.items():
        held = state.get(key)
        if isinstance(held, Tensor) and held.shape == slot.tensor.shape:
            yield key, Slot(f"the optimizer's {key} of {slot.name}", held, slot.index), role
