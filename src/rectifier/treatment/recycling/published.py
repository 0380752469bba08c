"""Two published ways to reset units, as their papers and code have them, for comparison."""

import torch

from rectifier.catalogue import CATALOGUE
from rectifier.treatment.recycling.slots import Wiring
from rectifier.treatment.recycling.undo import Ledger

METHODS = ("redo", "continual")


def reset_units(method: str, wiring: Wiring, units: list[int], ledger: Ledger, generator: torch.Generator) -> None:
    """Draw incoming weights anew, set biases to 0 and outgoing weights to 0.

    ReDo draws from the layer's initialisation, U(±1/√fan_in) in torch; continual backprop from Kaiming's,
    U(±gain·√(3/fan_in)). A batch normalisation begins again at scale 1, shift 0, mean 0, variance 1.

    Args:
        method: One of `METHODS`.
        wiring: The site.
        units: Units of it.
        ledger: Where to write.
        generator: What to draw from.
    """
    for unit in units:
        row = wiring.layer.incoming(unit)
        like = row.read()
        bound = like.numel() ** -0.5
        if method == "continual":
            bound *= 3**0.5 * CATALOGUE[wiring.activation].gain()
        drawn = (torch.rand(like.shape, generator=generator) * 2 - 1) * bound
        ledger.write(row, drawn.to(device=like.device, dtype=like.dtype))
        if (bias := wiring.layer.bias_of(unit)) is not None:
            ledger.write(bias, 0.0)
        for norm in wiring.norms:
            starts = ((norm.weight, 1.0), (norm.bias, 0.0), (norm.mean, 0.0), (norm.variance, 1.0))
            values = [start for tensor, start in starts if tensor is not None]
            for slot, value in zip(norm.slots(unit), values, strict=True):
                ledger.write(slot, value)
        for slot in wiring.outgoing(unit):
            ledger.write(slot, 0.0)


def notes(method: str, optimizer: str) -> list[str]:
    """What the method does to the function and to the step sizes."""
    said = [
        f"{method}: the outgoing weights are 0, so the function is unchanged for units that are dead on all data, and "
        "the incoming weights get no gradient until the outgoing ones have left 0."
    ]
    adaptive = optimizer not in ("SGD", "Rprop")
    if method == "redo" and adaptive:
        said.append(
            f"redo: the moments of the recycled entries are 0 and {optimizer}'s step count stays, as published: their "
            "first steps are several times the learning rate (3.2 with Adam's β = 0.9, 0.999)."
        )
    if method == "continual":
        said.append(
            "continual: the units are those of the findings; the paper picks them by a utility at every step. The "
            "correction of the next bias by their mean output is 0, because they are dead."
        )
        if adaptive:
            said.append(
                "continual: the paper sets back a step count for each entry, and torch keeps one for the whole tensor, "
                f"which stays: the first steps of the recycled entries are larger here (3.2 learning rates with "
                f"{'Adam' if optimizer in ('Adam', 'AdamW') else optimizer}'s defaults of Adam's kind)."
            )
    return said
