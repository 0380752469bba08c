"""What shows a cause: one record for each that is told with numbers of its own."""

from dataclasses import dataclass

from rectifier.records.findings.finding import CauseFacts
from rectifier.records.findings.suppression import WholeSilence
from rectifier.records.training.site import SiteRef


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentBelow(CauseFacts):
    """A layer below is silent as a whole, and was so no later than these units.

    Attributes:
        upstream: That layer.
        upstream_units: How many it has.
        upstream_last_fired: As in `WholeSilence`.
        upstream_known_within_steps: Likewise.
        upstream_first_observed_step: Likewise.
    """

    upstream: SiteRef
    upstream_units: int
    upstream_last_fired: int
    upstream_known_within_steps: int
    upstream_first_observed_step: int

    @property
    def silence(self) -> WholeSilence:
        """Since when."""
        return WholeSilence(
            last_fired=self.upstream_last_fired,
            known_within_steps=self.upstream_known_within_steps,
            first_observed_step=self.upstream_first_observed_step,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BornDead(CauseFacts):
    """Most of the units never fired since the first step.

    Attributes:
        never_fired: How many.
        silent: Of how many silent ones.
        depth: Activations from the input up to here.
        narrowest_width: Fewest units of these.
        gains: Layers whose gain at the first counted step is known, where the whole layer is silent.
        smallest_gain: Of these; None where there are none.
        largest_gain: Likewise.
    """

    never_fired: int
    silent: int
    depth: int
    narrowest_width: int
    gains: int = 0
    smallest_gain: float | None = None
    largest_gain: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BornDeadOrEarlier(CauseFacts):
    """Most of the units never fired since the first observation, which came in the middle of a training.

    Attributes:
        born_dead_or_earlier: How many.
        silent: Of how many silent ones.
        first_observed: The step of that observation.
    """

    born_dead_or_earlier: int
    silent: int
    first_observed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAtDeath(CauseFacts):
    """The update of the weights when the median unit last fired, large or not.

    Attributes:
        update_step: When.
        update: ‖Δw‖/‖w‖.
        update_over_median: Times its running median.
        median_known: Whether enough updates were observed before for their median to tell anything.
        silent: Units in question.
        at_once: Whether almost the whole layer fell silent between two observations.
        learning_rate: At that step.
        gradient_over_median: ‖∂L/∂z‖ there over its running median.
        gradient_spike_step: An earlier step at which that was far above its median, and which momentum carries on.
        input_rms: Root mean square of the inputs, where that is what made the update large.
        input_offset: γ = ‖μ‖/‖σ‖ of them, where that is most of it.
    """

    update_step: int
    update: float
    update_over_median: float
    median_known: bool
    silent: int
    at_once: bool
    learning_rate: float | None = None
    gradient_over_median: float | None = None
    gradient_spike_step: int | None = None
    input_rms: float | None = None
    input_offset: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift(CauseFacts):
    """The mean pre-activation fell from the first window to the last (medians over the units).

    Attributes:
        moved_by_bias: By how much the bias moved it; None where no bias is added as it is.
        moved_by_weights_and_inputs: By how much the rest did.
    """

    pre_activation_first: float
    pre_activation_last: float
    moved_by_bias: float | None = None
    moved_by_weights_and_inputs: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputScale(CauseFacts):
    """The inputs are on a large scale."""

    input_rms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOffset(CauseFacts):
    """The mean of the inputs is much larger than what differs between them: γ = ‖μ‖/‖σ‖."""

    input_offset: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WayAtStart(CauseFacts):
    """What came through the network at the first counted step.

    Attributes:
        sensitivity: Of the differences between samples.
        gradient_at_start: Of the gradient.
    """

    sensitivity: float
    gradient_at_start: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeFromTheStart(CauseFacts):
    """Samples looked alike at the first counted step already.

    Attributes:
        first_step: That step.
        variation_at_start: Share of the last output's mean square that differed between samples.
        sites: Activations of the network.
        narrowest_width: Fewest units of these; None where none are known.
        way: What came through, where that had all but vanished.
    """

    first_step: int
    variation_at_start: float
    sites: int
    narrowest_width: int | None
    way: WayAtStart | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeSince(CauseFacts):
    """Samples look alike from a step on, and no large update came before it."""

    onset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeUpdate(CauseFacts):
    """The largest update of any layer's weights before it.

    Attributes:
        layer: What they feed; None where the finding is about that layer.
        update: ‖Δw‖/‖w‖.
        update_step: When.
        onset: From which step on samples look alike.
        update_over_median: Times its running median, where that was asked.
        median_known: Whether enough updates were observed before for their median to tell anything.
        input_rms: Root mean square of the inputs, where these are on a large scale.
    """

    update: float
    update_step: int
    layer: SiteRef | None = None
    onset: int | None = None
    update_over_median: float | None = None
    median_known: bool = False
    input_rms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturatedFromTheStart(CauseFacts):
    """How many of the saturated units were so in the first window already."""

    saturated_at_first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRateThere(CauseFacts):
    """The learning rate at the step in question; None where it is not known."""

    learning_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowsOverCalls(CauseFacts):
    """The output of one module grew from call to call within a forward, at the last window before.

    Attributes:
        module: Its path.
        calls: How many calls.
        first_call: Mean absolute output of the first.
        last_call: Of the last.
    """

    module: str
    calls: int
    first_call: float
    last_call: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallEpsilon(CauseFacts):
    """`eps` of the optimizer, which half precision rounds to 0."""

    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleSamples(CauseFacts):
    """Batches of one sample, of so many; the first of them came where it began."""

    batches_of_one: int
    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HugeOutput(CauseFacts):
    """The first outputs were huge.

    Attributes:
        output_rms: Their root mean square.
        weight: Path of the weight that each loss uses most often; "" where none is used many times.
        calls: How often.
    """

    output_rms: float
    weight: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LossBefore(CauseFacts):
    """How far the last finite loss was above those at the beginning (median)."""

    loss_over_start: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NearOverflow(CauseFacts):
    """The largest output of any layer, near the largest number of half precision."""

    layer: SiteRef
    largest_output: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOffset(CauseFacts):
    """The mean of the targets is much larger than what differs between them: ‖μ‖/‖σ‖."""

    target_offset: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeFirstLoss(CauseFacts):
    """The loss began far above what the best constant answer costs.

    Attributes:
        first_loss: Median over the first losses.
        best_constant: What that costs.
    """

    first_loss: float
    best_constant: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MostlyFlatAtStart(CauseFacts):
    """In most hidden layers, most pairs of a sample and a unit were where the activation is flat, from the first step.

    Attributes:
        layers: How many.
        smallest_share: Share of the pairs in the first window, the least of these layers.
    """

    layers: int
    smallest_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScale(CauseFacts):
    """The targets are on a large scale: their root mean square."""

    target_rms: float
