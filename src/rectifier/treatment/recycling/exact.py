"""New weights for dead units that leave the network's function as it is, and learn from the next step on.

Two units with the same incoming row put out the same. Read with +u and −u they add nothing to any sum, whatever the
input, and both get a gradient. The odd one out shares the work of a live unit, or makes the last pair a triple that
is read with u, v and −(u + v).
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rectifier.catalogue import CATALOGUE
from rectifier.treatment.recycling.slots import Slot, Wiring
from rectifier.treatment.recycling.undo import Ledger

_TRIES = 8
_MOST_LIVE = 256
_MOST_COLUMNS = 32


@dataclass(slots=True)
class Cast:
    """Which units go together.

    Attributes:
        sets: Pairs and triples that get one row.
        splits: A dead unit, and the live one that it shares the work of.
        left: Units that cannot be revived, with the reason.
    """

    sets: list[list[int]] = field(default_factory=list)
    splits: list[tuple[int, int]] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)

    @property
    def revived(self) -> list[int]:
        """All units that get new weights."""
        return sorted([unit for together in self.sets for unit in together] + [dead for dead, _ in self.splits])


def cast(wiring: Wiring, dead: list[int], live: list[int]) -> Cast:
    """Put dead units together that are computed from the same inputs and read into the same sums."""
    made = Cast()
    companies: dict[object, list[int]] = {}
    for unit in dead:
        companies.setdefault(wiring.company(unit), []).append(unit)
    for company, units in companies.items():
        if not wiring.outgoing(units[0]):
            made.left |= dict.fromkeys(units, "nothing reads it")
            continue
        partners = _evenly([unit for unit in live if wiring.company(unit) == company]) if len(units) % 2 else []
        pairs = [units[i : i + 2] for i in range(0, len(units) - 1, 2)]
        if len(units) % 2 and partners:
            made.splits.append((units[-1], max(partners, key=lambda unit: _work(wiring, unit))))
        elif len(units) % 2 and pairs:
            pairs[-1].append(units[-1])
        elif len(units) % 2:
            made.left[units[-1]] = (
                "there is no second unit, dead or alive, with its inputs and its readers: in a depthwise convolution "
                "each has its own"
                if _is_grouped(wiring)
                else "there is no second unit in its layer"
            )
        made.sets += pairs
    return made


def _evenly(units: list[int]) -> list[int]:
    """As many of them as are worth looking at one by one, spread evenly over the layer."""
    return units[:: -(-len(units) // _MOST_LIVE)] if units else []


def _is_grouped(wiring: Wiring) -> bool:
    return any(layer.groups > 1 for layer in (wiring.layer, *(reader for reader, _ in wiring.readers)))


def _work(wiring: Wiring, unit: int) -> float:
    norms = [float(slot.read().float().norm()) for slot in wiring.outgoing(unit)]
    return float(wiring.amount[unit]) * sum(norms)


def revive(wiring: Wiring, made: Cast, live: list[int], ledger: Ledger, generator: torch.Generator) -> None:
    """Write the new weights."""
    typical = _evenly(live)
    columns = _Columns(wiring, typical, generator)
    for dead, partner in made.splits:
        for own, other in zip(wiring.incoming(dead), wiring.incoming(partner), strict=True):
            ledger.write(own, other.read())
        for number, (own, other) in enumerate(zip(wiring.outgoing(dead), wiring.outgoing(partner), strict=True)):
            whole = other.read()
            norm = float(whole.float().norm())
            # The halves differ, or both units would get the same gradient for ever.
            half = whole / 2 + (_direction(whole, norm / 4, generator) if norm else columns.draw(number, own))
            ledger.write(other, half)
            ledger.write(own, whole - half)
    groups: dict[int, list[list[int]]] = {}
    for together in made.sets:
        groups.setdefault(wiring.layer.group_of_output(together[0]), []).append(together)
    for group, sets in groups.items():
        _rows(wiring, sets, group, live, typical, ledger, generator)
    for together in made.sets:
        for number, slots in enumerate(zip(*(wiring.outgoing(unit) for unit in together), strict=True)):
            parts = [columns.draw(number, slot) for slot in slots[1:]]
            for part, own in zip(parts, slots[1:], strict=True):
                ledger.write(own, part)
            ledger.write(slots[0], -torch.stack(parts).sum(0))


def _rows(
    wiring: Wiring,
    sets: list[list[int]],
    group: int,
    live: list[int],
    typical: list[int],
    ledger: Ledger,
    generator: torch.Generator,
) -> None:
    """Draw one row for each set, and place its threshold where it fires on about half of the batch."""
    like = wiring.layer.incoming(sets[0][0]).read()
    norms = [float(wiring.layer.incoming(unit).read().float().norm()) for unit in typical]
    # As long as live rows, but no longer than a row is initialised for this activation (He et al. 2015): of a network
    # that a learning rate has blown up, rows as long as the live ones died again within steps.
    length = min(_mean_square(norms), CATALOGUE[wiring.activation].gain())
    length = length or float(like.numel()) ** 0.5 * _default_spread(like)
    norm = wiring.norms[0] if wiring.norms else None
    free = wiring.layer.bias is not None if norm is None else norm.bias is not None
    best: Tensor | None = None
    share = torch.zeros(0)
    for _ in range(1 if free or norm is not None else _TRIES):
        rows = torch.stack([_direction(like, length, generator) for _ in sets])
        firing = (wiring.layer.compute(rows, group) > 0).float().mean(0)
        # Its mirror image fires where it does not.
        rows = torch.where((firing == 0).reshape(-1, *[1] * like.ndim), -rows, rows)
        firing = torch.where(firing == 0, (wiring.layer.compute(rows, group) > 0).float().mean(0), firing)
        nearer = (firing - 0.5).abs() < (share - 0.5).abs() if best is not None else None
        if best is None or nearer is None:
            best, share = rows, firing
        else:
            best = torch.where(nearer.reshape(-1, *[1] * like.ndim), rows, best)
            share = torch.where(nearer, firing, share)
    assert best is not None
    sums = wiring.layer.compute(best, group).float()
    height = _median([float(wiring.amount[unit]) for unit in live]) or 1.0
    for number, together in enumerate(sets):
        for unit in together:
            ledger.write(wiring.layer.incoming(unit), best[number])
            _place(wiring, unit, sums[:, number], height, typical, ledger)


def _place(wiring: Wiring, unit: int, sums: Tensor, height: float, typical: list[int], ledger: Ledger) -> None:
    """Bias and normalisation of one unit, given what its row makes of the batch."""
    bias = wiring.layer.bias_of(unit)
    constant = float(sums.amax() - sums.amin()) <= 1e-6 * float(sums.abs().amax())
    if not wiring.norms:
        if bias is not None:
            ledger.write(bias, float(height - sums.mean() if constant else -sums.median()))
        return
    norm = wiring.norms[0]
    mean, variance = sums.mean(), sums.var(correction=0)
    if bias is not None:
        ledger.write(bias, 0.0)
    scale = 1.0
    if norm.weight is not None:
        lives = [abs(float(norm.weight.detach()[u])) for u in typical]
        scale = _median(lives) or 1.0
    standard = (sums - mean) / (variance + norm.eps).sqrt()
    shift = scale if constant else -scale * float(standard.median())
    values = (scale, shift, float(mean), float(variance) * len(sums) / max(len(sums) - 1, 1))
    given = (norm.weight, norm.bias, norm.mean, norm.variance)
    for slot, value in zip(
        norm.slots(unit), [v for v, t in zip(values, given, strict=True) if t is not None], strict=True
    ):
        ledger.write(slot, value)


class _Columns:
    """Outgoing weights like those of live units."""

    def __init__(self, wiring: Wiring, typical: list[int], generator: torch.Generator) -> None:
        self._lives = [wiring.outgoing(unit) for unit in typical[:: -(-len(typical) // _MOST_COLUMNS) or 1]]
        self._generator = generator
        self._known: dict[tuple[int, torch.Size], tuple[Tensor | None, float]] = {}

    def draw(self, number: int, slot: Slot) -> Tensor:
        """New weights for one of a unit's slots: as long as the live ones, in directions that those have learned.

        What comes back from the readers lies in few directions. Weights drawn without regard to that get about half
        the gradient that live ones get.
        """
        like = slot.read()
        lives, length = self._of(number, slot, like.shape)
        direction = _direction(like, 1.0, self._generator)
        if lives is not None:
            shares = torch.randn(len(lives), generator=self._generator).to(lives)
            mixture = torch.tensordot(shares, lives, 1)
            direction = direction / 4 + mixture / mixture.norm().clamp_min(1e-12)
        scaled: Tensor = direction * (length / direction.norm().clamp_min(1e-12))
        return scaled.to(like.dtype)

    def _of(self, number: int, slot: Slot, shape: torch.Size) -> tuple[Tensor | None, float]:
        if (number, shape) not in self._known:
            found = [slots[number].read().float() for slots in self._lives if number < len(slots)]
            found = [values for values in found if values.shape == shape]
            length = _mean_square([float(values.norm()) for values in found])
            default = math.sqrt(shape.numel()) * _default_spread(slot.tensor[0])
            self._known[number, shape] = (torch.stack(found), length) if length else (None, default)
        return self._known[number, shape]


def _default_spread(row: Tensor) -> float:
    """Standard deviation of torch's own initialisation, U(−1/√fan_in, 1/√fan_in)."""
    return 1 / math.sqrt(3 * max(row.numel(), 1))


def _direction(like: Tensor, length: float, generator: torch.Generator) -> Tensor:
    """Uniform entries, as layers are initialised, scaled to a length."""
    drawn = torch.rand(like.shape, generator=generator) * 2 - 1
    scaled = drawn * (length / max(float(drawn.norm()), 1e-12))
    return scaled.to(device=like.device, dtype=like.dtype)


def _mean_square(values: list[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values)) if values else 0.0


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
