"""What shows a cause that lies around a network: its loss, its data, its start, its steps."""

from dataclasses import dataclass

from rectifier.records.findings.finding import CauseFacts
from rectifier.records.training.site import SiteRef


@dataclass(frozen=True, slots=True)
class SetupFacts(CauseFacts):
    """What is wrong around the network, in the loss, the data or the optimizer: it explains whatever else is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NegatedLoss(SetupFacts):
    """The loss is back-propagated with its sign changed.

    Attributes:
        loss: Its operation: `NllLoss`.
        cost_first: What it cost at the first readings (median).
        cost_last: At the last ones.
    """

    loss: str
    cost_first: float
    cost_last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StillStatistics(SetupFacts):
    """Batch normalisation that keeps its statistics, because the model trains in eval mode.

    Attributes:
        eval_steps: Observed losses that came from a model in eval mode.
        steps: Observed losses.
    """

    eval_steps: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsAboveOne(SetupFacts):
    """Targets above 1 of a binary cross-entropy, which then has no lower bound.

    Attributes:
        target_rms: Root mean square of the targets (median).
    """

    target_rms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AcrossRows(SetupFacts):
    """A softmax over the samples of a batch, before a loss that compares the classes of each sample.

    Attributes:
        operation: Name of the autograd operation: `Softmax`, `LogSoftmax`.
    """

    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OneElement(SetupFacts):
    """An operation over a single element, which gives a constant.

    Attributes:
        operation: Name of the autograd operation: `Softmax`, `NativeLayerNorm`; empty if it lies before the output.
        behind: Whether it lies between every output and the loss; else it leads to an output.
    """

    operation: str
    behind: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretched(SetupFacts):
    """Answers that are stretched over the targets of all rows.

    Attributes:
        operation: That does so: `Mul`.
    """

    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedBatches(SetupFacts):
    """A batch holds far fewer classes than the data do.

    Attributes:
        entropy_in_batch: Of the classes of one batch, in nats (median).
        entropy_of_all: Of those of all batches that were read, together.
        rows: Of a batch (median).
    """

    entropy_in_batch: float
    entropy_of_all: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualWeights(SetupFacts):
    """Weights that were all the same at the start, or all of one sign: units compute the same.

    Attributes:
        weights: Their paths.
        equal: Whether all numbers of each were the same.
    """

    weights: tuple[str, ...]
    equal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroAtFirst(SetupFacts):
    """Weights that were exactly 0 at the start.

    Attributes:
        weights: Their paths.
    """

    weights: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherTerms(SetupFacts):
    """What is added to the loss outweighs the part that compares the output with its targets.

    Attributes:
        share: Of the loss, the largest of the start and the end (medians).
        loss: The operation of that part: `MseLoss`.
    """

    share: float
    loss: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledLoss(SetupFacts):
    """The loss that is back-propagated is another multiple of what it costs by itself.

    Attributes:
        factor: That, at the start or the end, whichever is further from 1 (median).
    """

    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroLoss(SetupFacts):
    """The loss is exactly 0, although the part of it that has the targets is none: all of it is masked.

    Attributes:
        share: Of the losses that are 0.
        cost: What that part costs (median).
    """

    share: float
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialGain(SetupFacts):
    """Weights before most activations began far larger or smaller than usual.

    Attributes:
        gain: Root mean square of a weight times √fan_in (median over them).
        weights: How many.
    """

    gain: float
    weights: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallInputs(SetupFacts):
    """The inputs are on a small scale."""

    input_rms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasesBelowRange(SetupFacts):
    """Most units of a layer were on the flat side from the start, by their biases.

    Attributes:
        layer: The site.
        units: Units concerned.
        bias: Size of their biases (median).
        rest: Size of what the weights and inputs add to it.
    """

    layer: SiteRef
    units: int
    bias: float
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MostlyFrozen(SetupFacts):
    """Most of the model's numbers are frozen.

    Attributes:
        share: Of all numbers of its parameters.
    """

    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedOutput(SetupFacts):
    """What follows the output's layer cannot give the targets.

    Attributes:
        share: Of the targets.
        lowest: The least that comes through; None for no bound.
        highest: The most.
    """

    share: float
    lowest: float | None
    highest: float | None
