"""What the findings of a training rest on: one record for each kind of statement."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.findings.finding import Evidence
from rectifier.records.findings.rules import Rule
from rectifier.records.findings.suppression import Deaths, WholeSilence
from rectifier.records.training.site import SiteRef


class Standing(StrEnum):
    """Whether dead units may come back by themselves (Shin & Karniadakis 2020)."""

    TENTATIVE = "tentative"
    """A layer below still moves."""
    PERMANENT = "permanent"
    """Nothing that could move them moves."""


class Signal(StrEnum):
    """What becomes of the differences between samples and of the gradient, both."""

    VANISHES = "vanishes"
    EXPLODES = "explodes"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientWay(Evidence):
    """The gradient's way from the last activation down to the first.

    Attributes:
        delta_first_over_last: ‖∂L/∂z‖ of the first over the last (median over the later half of the steps).
        delta_first_over_last_at_start: The same at the first observed steps.
        factor_per_layer: Its (sites − 1)-th root.
        observed_steps: How many it rests on.
        sites: Activations that a gradient reached.
        first: The first of them.
        last: The last.
        first_layer_update: ‖Δw‖/‖w‖ of the first layer a step (median), where that is what makes it matter.
        activation: Of the first site.
        place_below: Where most of it is lost or comes about: the lower one of two neighbours; None where it is no
            single place.
        place_above: The upper one.
        factor_there: What becomes of the gradient between them.
    """

    delta_first_over_last: float
    delta_first_over_last_at_start: float
    factor_per_layer: float
    observed_steps: int
    sites: int
    first: SiteRef
    last: SiteRef
    first_layer_update: float | None = None
    activation: str = "relu"
    place_below: SiteRef | None = None
    place_above: SiteRef | None = None
    factor_there: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InfiniteGradient(Evidence):
    """Gradients that overflowed while every output was finite.

    Attributes:
        step: The first such step.
        steps: How many had one.
        observed_steps: Of how many.
        longest_run: The most of them in a row.
    """

    step: int
    steps: int
    observed_steps: int
    longest_run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSpike(Evidence):
    """A step at which the gradient stood out and the weights moved far.

    Attributes:
        step: The one at which it stood out most.
        first_step: The first one.
        spikes: How many there were.
        gradient_norm: At `step`.
        gradient_over_median: That over its running median.
        update: The largest ‖Δw‖/‖w‖ of any layer at it.
        layer: Which layer's.
        before_clipping: Whether the norm is what `clip_grad_norm_` measured; else it is ‖∂L/∂z‖ at `measured_at`.
        measured_at: None where it is the norm before clipping.
        loss_before: Median before the first spike; None where what followed could not be told.
    """

    step: int
    first_step: int
    spikes: int
    gradient_norm: float
    gradient_over_median: float
    update: float
    layer: SiteRef
    before_clipping: bool
    measured_at: SiteRef | None
    loss_before: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StarvedLayer(Evidence):
    """A layer that fires and gets no gradient.

    Attributes:
        steps: Counted steps without one.
        first_step: The first of them.
        last_step: The last.
        exact_zero: Whether a gradient came, and was exactly 0.
        everything: Whether no activation of the network gets one.
    """

    steps: int
    first_step: int
    last_step: int
    exact_zero: bool
    everything: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StarvedUnits(Evidence):
    """Units that fire and get no gradient, in a layer of which others do; steps as of `StarvedLayer`."""

    units: int
    starved: int
    starved_fraction: float
    steps: int
    first_step: int
    last_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenLayers(Evidence):
    """Layers that are not trained.

    Attributes:
        sites: How many.
        without_history: Those below which no gradient is asked for.
        without_update: Those whose weights did not move at any counted step, although a gradient came, as far as
            `untrained` does not say why.
        parameters: Parameters with `requires_grad=False`.
        elements: How many numbers these hold.
        places: Modules of which all are, and single ones.
    """

    sites: int
    without_history: tuple[SiteRef, ...]
    without_update: tuple[SiteRef, ...]
    parameters: int = 0
    elements: int = 0
    places: tuple[str, ...] = ()


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


class Origin(StrEnum):
    """Where a number was first not finite, in the order of one training step."""

    PARAMETER = "parameter"
    INPUT = "input"
    TARGET = "target"
    ACTIVATION = "activation"
    OUTPUT = "output"
    LOSS = "loss"
    GRADIENT = "gradient"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFinite(Evidence):
    """The first place that held NaN or an infinity.

    Attributes:
        step: When.
        sites_affected: Sites that had one at some step.
        losses: Losses that were not finite.
        activations_observed: Whether any activation was observed at that step.
        last_finite_loss: The last one before it.
        origin: What it was.
        known_losses: How many losses were seen.
        parameters_affected: Parameters that held one at some step.
        gradients_affected: Parameters whose gradient did.
        parameter: The one nearest to the output, where it was a parameter or a gradient.
        input_samples: Samples with one, where it was the input.
        input_samples_counted: Of how many.
        steps_skipped: Optimizer steps that a GradScaler left out.
        steps_taken: Those that were taken.
    """

    step: int
    sites_affected: int
    losses: int
    activations_observed: bool
    last_finite_loss: float | None
    origin: Origin = Origin.ACTIVATION
    known_losses: int = 0
    parameters_affected: int = 0
    gradients_affected: int = 0
    parameter: str | None = None
    input_samples: int | None = None
    input_samples_counted: int | None = None
    steps_skipped: int = 0
    steps_taken: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoorStart(Evidence):
    """What came through the network, forward and back, at the first counted step.

    Attributes:
        signal: What became of both.
        sensitivity: Of the differences between samples, at `last`.
        gradient_first_over_last: Of the gradient, at `first`.
        sites: Activations of the network.
        first_step: That step.
        first: The first activation.
        last: The last one.
    """

    signal: Signal
    sensitivity: float
    gradient_first_over_last: float
    sites: int
    first_step: int
    first: SiteRef
    last: SiteRef
