"""What the findings of a check rest on, before any training: one record for each kind of statement."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.findings.evidence.gradient import Signal
from rectifier.records.findings.finding import Evidence
from rectifier.records.training.site import SiteRef


class Place(StrEnum):
    """Where something that is not finite was first seen."""

    INPUT = "input"
    SITE = "site"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFiniteAtStart(Evidence):
    """The first place that held NaN or an infinity."""

    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class BornDeadNetwork(Evidence):
    """A layer is silent as a whole, and the output does not vary at all.

    Attributes:
        silent_site: The layer.
        units: How many it has.
        samples: On how many samples.
        depth: Activations whose units are known.
        narrowest_width: Fewest units of these.
    """

    silent_site: SiteRef
    units: int
    samples: int
    depth: int
    narrowest_width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HardlyVaryingOutput(Evidence):
    """The output hardly differs between samples, and no layer is silent."""

    samples: int
    output_variance: float
    output_mean_square: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NoGradientAtAll(Evidence):
    """The gradient of every parameter is exactly 0.

    Attributes:
        parameters: How many there are.
        samples: On how many samples.
        loss: What was back-propagated, in words.
        output_variance: Of the output, between samples.
    """

    parameters: int
    samples: int
    loss: str
    output_variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesAlike(Evidence):
    """Two samples look alike at the last activation.

    Attributes:
        samples: Of the batch.
        similarity: Mean cosine between two of them.
        sensitivity: Of the differences between samples, what arrives there.
        gradient_first_over_last: Of the gradient, what arrives at the first activation.
        sites: Activations of the network.
    """

    samples: int
    similarity: float
    sensitivity: float | None
    gradient_first_over_last: float | None
    sites: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoorSignal(Evidence):
    """Signal and gradient all but vanish both, or explode both, at initialisation.

    Attributes:
        signal: Which of the two.
        sensitivity: Of the differences between samples, what arrives at `last`.
        gradient_first_over_last: Of the gradient, what arrives at `first`.
        factor_per_layer: Its root, a layer.
        sites: Activations of the network.
        first: The first of them, as labelled.
        last: The last.
        similarity: Mean cosine between two samples at the last; None where it cannot be told.
        alike: Whether that is so high that samples look alike.
    """

    signal: Signal
    sensitivity: float
    gradient_first_over_last: float
    factor_per_layer: float
    sites: int
    first: SiteRef
    last: SiteRef
    similarity: float | None
    alike: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatOutput(Evidence):
    """The network ends in an activation with a flat side."""

    activation: str
    samples: int
    output_zero_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentAtStart(Evidence):
    """Units of one layer that fire on no sample of the batch.

    Attributes:
        units: How many the layer has.
        silent: How many are silent.
        silent_fraction: silent / units.
        samples: On how many samples.
        firing_bound: 95% upper bound on the firing rate of each.
    """

    units: int
    silent: int
    silent_fraction: float
    samples: int
    firing_bound: float
