"""A treatment that was given while a training ran."""

from dataclasses import dataclass, field
from enum import StrEnum

from rectifier.records.counts import Count, Step


class Treatment(StrEnum):
    """What was done to a model."""

    SWAP = "swap"
    RESCALE = "rescale"
    RECYCLE = "recycle"
    UNDO = "undo"
    """One of these was taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwappedActivation:
    """One activation took the place of another.

    Attributes:
        old: The one that was there, as a user writes it.
        new: The other one.
        places: Where.
    """

    old: str
    new: str
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RescaledLayers:
    """Initial weights were multiplied by a factor each.

    Attributes:
        model: Class name of the model.
        mode: `gain` or `lsuv`.
        layers: How many.
        smallest_factor: Of these layers.
        largest_factor: Likewise.
        left_alone: How many layers were not.
        gradients_zeroed: Whether gradients of the old weights were set to 0.
    """

    model: str
    mode: str
    layers: Count
    smallest_factor: float
    largest_factor: float
    left_alone: Count = 0
    gradients_zeroed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecycledUnits:
    """Dead units were given new weights.

    Attributes:
        by_site: Key of a site -> how many there.
    """

    by_site: dict[str, Count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Treated:
    """One change to a model between two steps of its training.

    Attributes:
        step: The last optimizer step before it, counted from 0; −1 where none came before.
        name: Which treatment.
        swapped: What a swap did, or what was taken back; and likewise the two below.
        rescaled: Of `rescale`.
        recycled: Of `recycle`.
        units: Label of a site -> the units that were revived there; empty for other treatments.
        text: What was changed, in words, from a run folder of format 1 or 2; "" in others.
    """

    step: Step = -1
    name: Treatment
    swapped: SwappedActivation | None = None
    rescaled: RescaledLayers | None = None
    recycled: RecycledUnits | None = None
    units: dict[str, tuple[Count, ...]] = field(default_factory=dict)
    text: str = ""
