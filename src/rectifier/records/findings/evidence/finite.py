"""What a finding about numbers that are not finite rests on."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.findings.finding import Evidence


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
