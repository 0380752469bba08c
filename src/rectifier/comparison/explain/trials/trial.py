"""What a trial of an explanation is asked for, and what it shows."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rectifier.records import Applied, Change, Finding, FloatArray, Intervention, Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One trial.

    Attributes:
        intervention: What is changed.
        seed: Another seed than the command's own; None for that one.
        stop_after: Optimizer steps after which it is ended; None for the script's own end.
        microscope: First and last step at which every operation is looked at; None for none.
        enough: Told what a trial has shown so far, whether it may end; None for never.
        least: Steps before which that is not asked.
    """

    intervention: Intervention = field(default_factory=Intervention)
    seed: int | None = None
    stop_after: int | None = None
    microscope: tuple[int, int] | None = None
    enough: "Callable[[Shown], bool] | None" = field(default=None, compare=False)
    least: int = field(default=0, compare=False)

    @property
    def name(self) -> str:
        """A name that no other trial of the explanation has."""
        parts = [str(self.intervention), "own" if self.seed is None else str(self.seed), f"{self.stop_after or 'all'}"]
        return "-".join([*parts, *([] if self.microscope is None else ["look", *map(str, self.microscope)])])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shown:
    """What one trial showed.

    Attributes:
        findings: Of its whole length, most serious first.
        history: Findings as they were after earlier steps, in their order: `(step, findings)`.
        losses: What was back-propagated, step by step.
        steps: Optimizer steps that it took.
        crashed: Whether the script ended with an error.
        error: What it said then, in one line; "" where it did not crash.
        stopped: Whether it was ended before its own end.
        seconds: What it took, start-up included.
        applied: What its change found to change; None where it did not tell.
        sights: What the microscope saw.
        reads_input: Whether the script reads standard input, of which it is given none.
        idle: Changes that would find nothing to change in it.
        constant_optimum: Whether its loss fell to an optimum at which outputs tell no row from another.
        sorted_by_class: Whether most of its batches hold targets of one class, and others hold more.
    """

    findings: tuple[Finding, ...] = ()
    history: tuple[tuple[int, tuple[Finding, ...]], ...] = ()
    losses: FloatArray
    steps: int
    crashed: bool = False
    error: str = ""
    stopped: bool = False
    seconds: float = 0.0
    applied: Applied | None = None
    sights: tuple[Sight, ...] = ()
    reads_input: bool = False
    idle: frozenset[Change] = frozenset()
    constant_optimum: bool = False
    sorted_by_class: bool = False

    @property
    def loss_end(self) -> float:
        """Median of the last tenth of the losses; NaN where one of the last is not finite, or there is none."""
        last = self.losses[-max(5, len(self.losses) // 10) :]
        return float(np.median(last)) if len(last) and np.isfinite(last).all() else float("nan")

    def loss_at(self, steps: int) -> float:
        """`loss_end` as it was after so many losses."""
        return float(Shown(losses=self.losses[:steps], steps=steps).loss_end)


def ended_by_error(shown: Shown, base: Shown) -> bool:
    """Whether a trial ended by an error of its own before it could show anything: that is no evidence.

    Args:
        shown: The trial.
        base: The unchanged script's first run.
    """
    if not shown.crashed or not np.isfinite(shown.losses).all():
        return False
    if shown.steps == 0:
        return base.steps > 0
    return not base.crashed and all(one.severity == "info" for one in shown.findings)


Runner = Callable[[Ask], Shown]
"""Runs one trial."""


def same_losses(one: Shown, other: Shown) -> bool:
    """Whether two trials had the same losses, to the bit, as far as both went; False where one has none."""
    n = min(len(one.losses), len(other.losses))
    return n > 0 and one.losses[:n].tobytes() == other.losses[:n].tobytes()
