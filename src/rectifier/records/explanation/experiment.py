"""How trials ended, changed ones and unchanged ones."""

from dataclasses import dataclass

from rectifier.records.explanation.change import Applied, Intervention


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One trial of an explanation.

    Attributes:
        intervention: What was changed.
        seed: With which seed; None for the script's own.
        failed: Whether the failure came.
        loss_end: Median of the last losses; None where there were none, or not finite ones.
        steps: Optimizer steps that it took.
        seconds: What it took, start-up included.
        applied: What the change found; None where it told nothing.
        losses: Some of the losses, for a small curve.
        better: Whether it did better by its loss than the failing run; None where that cannot be compared.
        error: What it said as it ended by an error before it showed anything, in one line; "" where it did not. Such a
            trial is no evidence: `failed` is False and `better` is None.
    """

    intervention: Intervention
    seed: int | None
    failed: bool
    loss_end: float | None
    steps: int
    seconds: float = 0.0
    applied: Applied | None = None
    losses: tuple[float | None, ...] = ()
    better: bool | None = None
    error: str = ""

    @property
    def idle(self) -> bool:
        """Whether the change found nothing to change."""
        return self.applied is not None and not self.applied.times

    @property
    def helped(self) -> bool:
        """Whether the failure stayed away, and the loss was no worse where the two can be compared."""
        return not self.error and not self.failed and self.better is not False

    @property
    def unhelpful(self) -> bool:
        """Whether the failure came all the same, or the loss was worse."""
        return self.failed or self.better is False


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the script does where nothing is changed, so that a cure can be told from luck.

    Attributes:
        seeds: Seeds of the unchanged script, the first one included.
        failing: Those of them on which it fails.
        placebo_failed: Whether the failure came with the placebo, the same seed; None where it was not tried.
        deterministic: Whether the unchanged script gave the same losses twice, to the bit.
        seeds_reach: Whether another seed changes anything; None where it was not tried.
        trials: The unchanged script, seed by seed, ended as early as the experiments.
        reads_input: Whether the script reads standard input, of which trials get none: they may train on other data.
    """

    seeds: tuple[int | None, ...] = ()
    failing: tuple[int | None, ...] = ()
    placebo_failed: bool | None = None
    deterministic: bool | None = None
    seeds_reach: bool | None = None
    trials: tuple[Experiment, ...] = ()
    reads_input: bool = False

    @property
    def chaotic(self) -> bool:
        """Whether a change of no meaning takes the failure away."""
        return self.placebo_failed is False
