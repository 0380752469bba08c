"""What findings about units that are silent, flat or always on rest on."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.findings.finding import Evidence
from rectifier.records.findings.suppression import Deaths, WholeSilence
from rectifier.records.rules import Rule
from rectifier.records.training.site import SiteRef


class Standing(StrEnum):
    """Whether dead units may come back by themselves (Shin & Karniadakis 2020)."""

    TENTATIVE = "tentative"
    """A layer below still moves."""
    PERMANENT = "permanent"
    """Nothing that could move them moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadUnits(Evidence):
    """Units of one layer without gradient.

    Attributes:
        activation: Of the site.
        units: How many it has.
        dead: On enough samples for the definition.
        suspected: On too few.
        dead_fraction: dead / units.
        silences: Runs of windows in which a unit was silent, over all units so far.
        silences_ended: Those after which it fired again.
        deaths: Since when, of those that the title counts.
        standing: Whether they may come back by themselves; None where that cannot be told.
        moving_layers: Layers below that still move.
        largest_movement: The most that one of these moves a step, as a share of its norm.
        explained_by: The rule whose finding says why training does not progress.
    """

    activation: str
    units: int
    dead: int
    suspected: int
    dead_fraction: float
    silences: int
    silences_ended: int
    deaths: Deaths
    standing: Standing | None = None
    moving_layers: int | None = None
    largest_movement: float | None = None
    explained_by: Rule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckUnits(Evidence):
    """Units that never fire, of an activation that passes a gradient there; fields as of `DeadUnits`."""

    activation: str
    units: int
    stuck: int
    stuck_fraction: float
    silences: int
    silences_ended: int
    deaths: Deaths


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentLayer(Evidence):
    """A silent layer that cuts the only path through a network.

    Attributes:
        silent_site: The layer.
        activation: Its.
        silent_units: How many it has.
        silence: Since when.
        sure: Whether every unit of it meets the definition of dead.
        sites_below_without_gradient: Activations below at which the gradient is exactly 0.
        sites_above_constant: Activations above that tell hardly one sample from another.
        largest_varying_fraction: Share of the units of these that do; None where there are none.
    """

    silent_site: SiteRef
    activation: str
    silent_units: int
    silence: WholeSilence
    sure: bool
    sites_below_without_gradient: int
    sites_above_constant: int
    largest_varying_fraction: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturatedUnits(Evidence):
    """Units with |f′(z)| below 1% of its maximum on at least 99% of the last samples, `visits` of them.

    Attributes:
        pairs: Last (sample, unit) pairs; None where they are too few.
        pair_fraction: Share of them on which the slope is so small.
    """

    units: int
    saturated: int
    saturated_fraction: float
    visits: int
    pairs: int | None = None
    pair_fraction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlwaysOnUnits(Evidence):
    """Units whose output stayed above f(0) at every position of the last samples, of `least_visits` at least."""

    activation: str
    value_at_zero: float
    units: int
    always_on: int
    always_on_fraction: float
    least_visits: int
