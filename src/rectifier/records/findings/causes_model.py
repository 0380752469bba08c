"""What shows a cause that concerns a model as a whole: its inputs, its loss, its updates, its weights."""

from dataclasses import dataclass

from rectifier.records.findings.finding import CauseFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantInputs(CauseFacts):
    """What goes in does not vary.

    Attributes:
        constant_features: Features that never varied between samples; None where that is not known.
        features: Of how many.
        distinct_samples: How many different samples were seen; None where they are not told apart.
        zero: Whether every value was 0.
    """

    constant_features: int | None = None
    features: int | None = None
    distinct_samples: int | None = None
    zero: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOperations(CauseFacts):
    """Two operations between an output and its loss that do not belong together.

    Attributes:
        loss: The loss's own: `MseLoss`, `LogSoftmax`.
        before: What comes between it and the layer: `Expand`, `Sigmoid`.
    """

    loss: str
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LostOverCalls(CauseFacts):
    """A gradient has to pass a weight that each loss uses many times, and nothing of it arrives before.

    Attributes:
        weight: Path of that weight.
        calls: How many operations of one loss use it.
    """

    weight: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsDecayed(CauseFacts):
    """The weights shrank, and decay moves them more than the loss does: medians over them, at the last look.

    Attributes:
        weights: How many weights.
        shrunk_to: Norm at the end over the norm at the start.
        decay_over_gradient: decay · ‖w‖ over ‖∂L/∂w‖.
        weight_decay: The coefficient.
    """

    weights: int
    shrunk_to: float
    decay_over_gradient: float
    weight_decay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallUpdates(CauseFacts):
    """The weights hardly move.

    Attributes:
        update: Largest median ‖Δw‖/‖w‖ of any layer's weights a step.
        learning_rate: The last one that is known.
    """

    update: float
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantOptimum(CauseFacts):
    """The loss fell while outputs and features lost what tells rows apart, and it keeps no targets.

    Attributes:
        loss_before: Median at the start.
        loss_after: Median at the end.
    """

    loss_before: float
    loss_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeBias(CauseFacts):
    """Biases far beyond the range of w·x, from the first window on: medians over the units in question.

    Attributes:
        bias: Size of the bias.
        rest: Size of what the weights and inputs add to it.
        units: How many units.
    """

    bias: float
    rest: float
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroWeights(CauseFacts):
    """A weight that was exactly 0 at the start, and lets no gradient pass.

    Attributes:
        weight: Its path.
    """

    weight: str
