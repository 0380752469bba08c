"""Facts behind causes that lie in gradients and in the steps of an optimizer."""

from dataclasses import dataclass

from rectifier.records.findings.causes_setup import SetupFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsWithoutGradient(SetupFacts):
    """An optimizer that steps although its parameters have no gradient any more.

    Attributes:
        optimizer: Its class.
        idle: Counted steps at which none of its parameters had a gradient.
        steps: Of how many.
        last_gradient: Last step at which a gradient came to the model's.
    """

    optimizer: str
    idle: int
    steps: int
    last_gradient: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedSteps(SetupFacts):
    """Steps of Adam that a number format rounds away: of the largest of these weights.

    Attributes:
        dtype: The format.
        learning_rate: About the size of a step.
        weight_rms: Root mean square of the weight.
    """

    dtype: str
    learning_rate: float
    weight_rms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeMomentum(SetupFacts):
    """A momentum that adds up many steps.

    Attributes:
        momentum: Of the optimizer.
        learning_rate: The largest of the model's parameters.
    """

    momentum: float
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrunkSteps(SetupFacts):
    """Clipping leaves next to nothing of the gradients.

    Attributes:
        share: Largest ratio of a step to learning rate times gradient (times 1 / (1 − momentum)).
        norm_before: Median norm of the gradient before clipping.
    """

    share: float
    norm_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeAnew(SetupFacts):
    """Parameters that are made in each forward.

    Attributes:
        losses: Losses that led to parameters which none before had led to.
        of_losses: Of how many that were read.
    """

    losses: int
    of_losses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptGradients(SetupFacts):
    """Gradients of the step before were there whenever a loss was back-propagated: nobody clears them.

    Attributes:
        kept: Steps at which they were.
        looks: How many were looked at.
    """

    kept: int
    looks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedGradients(SetupFacts):
    """Gradients came, and none was left when the optimizer stepped.

    Attributes:
        optimizer: Its class.
        steps: Steps of it that were looked at.
    """

    optimizer: str
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeEpsilon(SetupFacts):
    """`eps` of the optimizer outweighs the root mean square of the gradients.

    Attributes:
        epsilon: That.
        gradient: Of a number of the weights, root mean square at the last look (median over the weights).
    """

    epsilon: float
    gradient: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LittleMovement(SetupFacts):
    """All updates together can hardly have moved the weights.

    Attributes:
        moved: Sum of ‖Δw‖/‖w‖ over the training, the largest of any layer; by norm the largest |‖w‖/‖w₀‖ - 1|.
        steps: Over how many steps.
        learning_rate: The largest one that is known last.
        dtype: Of the weights, where that is what rounds small changes away.
        by_norm: Whether updates were not measured, and only norms are known.
    """

    moved: float
    steps: int
    learning_rate: float | None
    dtype: str = ""
    by_norm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RateByStep(SetupFacts):
    """The learning rate at the first, the middle and the last sampled step."""

    first: float
    middle: float
    last: float
