"""Which way of training many members will be done first: a short measurement, and whether they give the same."""

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Literal

import torch

from rectifier.study.ensemble import Draws
from rectifier.study.stacked import threads_each, train_together
from rectifier.study.ways import Task, can_be_sent, cores, train_alone

Way = Literal["together", "one by one", "in processes"]

START_SECONDS = 3.0
"""About what it takes to start processes and to load torch in them."""
TRIED_STEPS = 3
TOLERANCE = 1e-3
"""Largest relative difference of the losses of the first steps between both ways: float32's rounding, summed in another
order, is about a thousandth of this; another algorithm is far above it."""


class Chooser:
    """Tries each way for a few steps of the first arm; of the others, it tries only whether they give the same.

    Args:
        task: What every member does.
        arms: How many are trained, all told.
    """

    def __init__(self, task: Task, arms: int) -> None:
        # Only losses are compared here: whole test sets would cost more than the steps.
        self._task = replace(task, test_inputs=task.test_inputs[:1])
        self._arms = arms
        self._foreseen: dict[Way, float] = {}

    def choose(self, arm: str, draws: Sequence[Draws]) -> tuple[Way, str]:
        """The way that will be done first, of those that give the same, and why in a few words."""
        refused = None
        if not self._foreseen or self._first(self._foreseen) == "together":
            refused = self._refused(arm, draws[:2])
        if not self._foreseen:
            self._foreseen = self._foresee(arm, draws, together=refused is None)
        seconds = {way: taken for way, taken in self._foreseen.items() if refused is None or way != "together"}
        told = ", ".join(f"{taken:.2g} s {way}" for way, taken in sorted(seconds.items(), key=itemgetter(1)))
        return self._first(seconds), "; ".join(filter(None, [refused, f"all arms, by a few steps: {told}"]))

    def _refused(self, arm: str, two: Sequence[Draws]) -> str | None:
        """Why members cannot be trained as one; None where two of them have the losses that they have alone."""
        alone = train_alone(self._task, arm, two, steps=TRIED_STEPS)
        try:
            stacked = train_together(self._task, arm, two, steps=TRIED_STEPS)
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            return f"the model cannot be stacked: {reason[:120]}"
        if torch.allclose(stacked.losses, alone.losses, rtol=TOLERANCE, atol=1e-6, equal_nan=True):
            return None
        return "stacked, the first steps differ from those of a single training"

    def _foresee(self, arm: str, draws: Sequence[Draws], *, together: bool) -> dict[Way, float]:
        """The seconds that all members of all arms would take each way; whatever is called here was called before."""
        one, members = draws[:1], len(draws) * self._arms
        alone = train_alone(self._task, arm, one, steps=TRIED_STEPS).stepping
        seconds: dict[Way, float] = {"one by one": alone * members}
        if together:
            seconds["together"] = train_together(self._task, arm, draws, steps=TRIED_STEPS).stepping * self._arms
        seconds = {way: taken * self._task.steps / TRIED_STEPS for way, taken in seconds.items()}
        if cores() > 1 and can_be_sent(self._task):
            with threads_each(1):
                alone = train_alone(self._task, arm, one, steps=TRIED_STEPS).stepping
            # None has half a member.
            share = -(-members // cores())
            seconds["in processes"] = alone * share * self._task.steps / TRIED_STEPS + START_SECONDS
        return seconds

    @staticmethod
    def _first(seconds: dict[Way, float]) -> Way:
        return min(seconds, key=seconds.__getitem__)
