"""What findings about the gradient, and about the signal that it meets, rest on."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.findings.finding import Evidence
from rectifier.records.training.site import SiteRef


class Signal(StrEnum):
    """What becomes of the differences between samples and of the gradient, both."""

    VANISHES = "vanishes"
    EXPLODES = "explodes"


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
