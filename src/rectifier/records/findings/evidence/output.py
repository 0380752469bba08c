"""What findings about outputs, linear layers, eval mode and a loss that stands still rest on."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.findings.finding import Evidence


class Yardstick(StrEnum):
    """What a spread or a loss is measured by."""

    TARGETS = "targets"
    """The targets that the loss keeps: numbers."""
    CLASSES = "classes"
    """They are classes."""
    BEFORE = "before"
    """What it was before."""
    SIZE = "size"
    """Its own mean square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollapsedOutput(Evidence):
    """An output that tells hardly one row from another.

    Attributes:
        output: Path of the weight that gives it; "" where it is not known.
        units: Numbers that it gives for each row.
        rows: Rows of a reading (median).
        spread: Mean square of its distance from the mean of the rows (median since then).
        against: What that is too small for.
        reference: Its size: the targets' spread since then (median), or the largest one of the output before.
        features_collapsed: Whether what goes into the layer tells rows apart as little; None where it is not known.
        first_step: Since when.
        last_step: The last reading.
        readings: How many since then.
    """

    output: str
    units: int
    rows: int
    spread: float
    against: Yardstick
    reference: float
    features_collapsed: bool | None
    first_step: int
    last_step: int
    readings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadOutput(Evidence):
    """Units of an output that give every sample the same although their target varies.

    Attributes:
        output: Path of the weight that gives it; "" where it is not known.
        activation: The last one, behind that layer; None where there is none.
        units: Numbers that it gives for each row.
        dead: How many of them are concerned.
        first_step: The first of the readings that show it.
        last_step: The last one.
        readings: How many.
    """

    output: str
    activation: str | None
    units: int
    dead: int
    first_step: int
    last_step: int
    readings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingStill(Evidence):
    """A loss that stays where it began, or at what the best constant answer costs.

    Attributes:
        best_constant: What that costs (median over the last readings); None where the targets are not known.
        against: Of which targets.
        at_best_constant: Whether the loss is within a tolerance of it.
        worse_than_constant: Whether the loss is far above it.
        update: Largest median ‖Δw‖/‖w‖ of any layer's weights a step; None where none is known.
        learning_rate: The last one that is known.
    """

    best_constant: float | None = None
    against: Yardstick | None = None
    at_best_constant: bool = False
    worse_than_constant: bool = False
    update: float | None = None
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetup(Evidence):
    """Something around a network that is wrong by itself, or that goes with a model that learned little.

    Attributes:
        model: Its name.
        explained: Share of what the best constant answer costs that the model has saved, at the end; below 0 where it
            is worse. None where the loss or its targets are not known.
        by_itself: Whether it is wrong whatever was learned.
    """

    model: str
    explained: float | None
    by_itself: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearNetwork(Evidence):
    """A network of several layers without an activation that was seen.

    Attributes:
        model: Its name.
        weights: Weights of two and more dimensions that the loss reaches.
    """

    model: str
    weights: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalMode(Evidence):
    """A model that trains in eval mode.

    Attributes:
        model: Its name.
        steps: Losses that led to its parameters and were looked at.
        eval_steps: Of them, those for which it was in eval mode.
        batch_normalised: Activations that batch normalisation comes before; others are not known.
    """

    model: str
    steps: int
    eval_steps: int
    batch_normalised: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearLayer(Evidence):
    """A layer each unit of which is off on all samples, or on on all.

    Attributes:
        activation: Of the site.
        units: How many it has.
        off: How many are off on every sample.
        on: How many are on at every position of every sample.
        visits: Samples counted, the fewest of any of these units.
    """

    activation: str
    units: int
    off: int
    on: int
    visits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeAtStart(Evidence):
    """Rows that looked alike to the last layer from the start on, in a training that learns nothing.

    Attributes:
        output: Path of that layer's weight; "" where it is not known.
        cosine: Mean cosine between rows of what went into it at the first reading.
        cosine_at_end: The same at the last readings (median).
        rows: Of the first reading.
    """

    output: str
    cosine: float
    cosine_at_end: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsOutOfReach(Evidence):
    """Targets that the last activation before the loss cannot give.

    Attributes:
        output: Path of the weight before it; "" where it is not known.
        activation: Its name.
        share: Share of the targets (median over the readings).
        readings: How many.
        lowest: The least that the activation gives.
        highest: The most; None for no bound.
    """

    output: str
    activation: str
    share: float
    readings: int
    lowest: float
    highest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantOutput(Evidence):
    """The last activation gives every sample almost the same output.

    Attributes:
        variation: Share of its mean square that differs between samples (median).
        largest_variation: The most of it at any of the steps looked at.
        observed_steps: How many these are.
    """

    variation: float
    largest_variation: float
    observed_steps: int
