"""Every place that held NaN or an infinity, and which was first.

Within one step the order is: weights, inputs and targets, activations, outputs, the loss, gradients. The loss is known
at every step, the others at counted ones: what was not looked at is not said to have been finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import InputFacts, IntArray, Origin, ParameterCounts, Process, Series

_ORDER = tuple(Origin)


@dataclass(frozen=True)
class First:
    """The first place.

    Attributes:
        origin: What it was.
        step: When.
        history: The site, where it was an activation.
        parameter: Path of the parameter nearest to the output, where it was a parameter or a gradient.
        at_start: Whether it was a weight before the first step.
        outputs_finite: Whether activations of that step were observed, and nothing known of it was not finite.
        gradient_was_finite: Whether the gradients of the step before were looked at, and were finite.
    """

    origin: Origin
    step: int
    history: SiteHistory | None = None
    parameter: str | None = None
    at_start: bool = False
    outputs_finite: bool = False
    gradient_was_finite: bool = False


@dataclass(frozen=True)
class Places:
    """All that is known.

    Attributes:
        first: None where everything was finite.
        sites: Sites with an output that was not.
        bad_losses: Steps of losses that were not.
        parameters: Parameters that were not.
        gradients: Parameters whose gradient was not.
        inputs: What was given to the model.
        inputs_finite: Whether that was looked at, and finite throughout, as whole numbers are.
        skipped: Steps that a GradScaler left out.
        taken: Those that were taken.
        loss_over_start: The last finite loss before the first place, over the median of the first ones.
    """

    first: First | None
    sites: int
    bad_losses: IntArray
    parameters: int
    gradients: int
    inputs: InputFacts | None
    inputs_finite: bool
    skipped: int
    taken: int
    loss_over_start: float | None

    @cached_property
    def skips_for_ever(self) -> bool:
        """Whether a GradScaler leaves out more than it does at work."""
        return skips_for_ever(self.skipped, self.taken)


def skips_for_ever(skipped: int, taken: int) -> bool:
    """Whether so many steps are left out that this is no search for a scale.

    Args:
        skipped: Steps left out.
        taken: Steps taken.
    """
    return skipped > limit.SCALER_SKIPS and skipped > limit.SKIPPED_SHARE * (skipped + taken)


def find_places(process: Process, histories: Sequence[SiteHistory], loss: Series) -> Places:
    """Every place that was not finite.

    Args:
        process: What one process wrote.
        histories: Of all its sites.
        loss: Of it.
    """
    end = next((one for one in reversed(process.snapshots) if one.parameters is not None), None)
    counts = None if end is None else end.parameters
    inputs = next((one.inputs for one in reversed(process.snapshots) if one.inputs is not None), None)
    skipped = 0 if counts is None else sum(optimizer.skipped for optimizer in counts.optimizers)
    taken = 0 if counts is None else counts.optimizer_steps
    bad_losses = loss.steps[~np.isfinite(loss.values)]
    first = _Found(process, histories, loss, counts, inputs, skipped, taken).first()
    return Places(
        first=first,
        sites=len({history.index for history in histories if _first_bad(history) is not None}),
        bad_losses=bad_losses,
        parameters=0 if counts is None else int((counts.nonfinite_weight_step >= 0).sum()),
        gradients=0 if counts is None else int((counts.nonfinite_step >= 0).sum()),
        inputs=inputs,
        inputs_finite=_inputs_are_finite(process, inputs),
        skipped=skipped,
        taken=taken,
        loss_over_start=None if first is None else _loss_over_start(loss, first.step),
    )


def _inputs_are_finite(process: Process, inputs: InputFacts | None) -> bool:
    if inputs is None:
        # Samples are told apart by what is given, and no floating number is among that.
        return any(snapshot.distinct_samples is not None for snapshot in process.snapshots)
    return inputs.nonfinite_step is None


def _first_bad(history: SiteHistory) -> int | None:
    return min((window.nonfinite_step for window in history.windows if window.nonfinite_step is not None), default=None)


def _loss_over_start(loss: Series, step: int) -> float | None:
    values = loss.values[np.isfinite(loss.values) & (loss.steps < step)]
    if not len(values):
        return None
    start = float(np.median(np.abs(values[: limit.LEAST_LOSSES])))
    return float(np.abs(values[-1])) / start if start > 0 else None


class _Found:
    """Candidates for the first place."""

    def __init__(
        self,
        process: Process,
        histories: Sequence[SiteHistory],
        loss: Series,
        counts: ParameterCounts | None,
        inputs: InputFacts | None,
        skipped: int,
        taken: int,
    ) -> None:
        self._process = process
        self._histories = histories
        bad_losses = loss.steps[~np.isfinite(loss.values)]
        self._loss = int(bad_losses[0]) if len(bad_losses) else None
        self._finite_losses = frozenset(int(step) for step in loss.steps[np.isfinite(loss.values)])
        self._counts = counts
        self._inputs = inputs
        self._scaled = skipped > 0
        self._for_ever = skips_for_ever(skipped, taken)
        self._counted = frozenset(int(step) for history in histories for step in _counted(history))

    def first(self) -> First | None:
        candidates = [*self._of_data(), *self._of_activations(), *self._of_outputs(), *self._of_weights()]
        if self._loss is not None:
            candidates.append(First(Origin.LOSS, self._loss, outputs_finite=self._outputs_finite(self._loss)))
        candidates += self._of_gradients(min((one.step for one in candidates), default=None))
        if not candidates:
            return None
        found = min(candidates, key=lambda one: (one.step, _ORDER.index(one.origin)))
        found = replace(found, gradient_was_finite=self._gradients_finite(found.step - 1))
        data = [one for one in candidates if one.origin in (Origin.INPUT, Origin.TARGET)]
        # Between two counted steps data are not looked at: what was not finite at the next may have been so before.
        return next((one for one in data if found.step <= one.step <= self._next_counted(found.step)), found)

    def _next_counted(self, step: int) -> int:
        return min((one for one in self._counted if one >= step), default=step)

    def _of_data(self) -> list[First]:
        found = []
        if self._inputs is not None and self._inputs.nonfinite_step is not None:
            found.append(First(Origin.INPUT, self._inputs.nonfinite_step))
        if (step := self._first_of_outputs("nonfinite_target")) is not None:
            found.append(First(Origin.TARGET, step))
        return found

    def _of_activations(self) -> list[First]:
        bad = [(step, one.index, one) for one in self._histories if (step := _first_bad(one)) is not None]
        return [First(Origin.ACTIVATION, min(bad)[0], history=min(bad)[2])] if bad else []

    def _of_outputs(self) -> list[First]:
        steps = [self._first_of_outputs("nonfinite_features"), self._first_of_outputs("nonfinite_output")]
        known = [step for step in steps if step is not None]
        return [First(Origin.OUTPUT, min(known))] if known else []

    def _first_of_outputs(self, name: str) -> int | None:
        steps = [
            int(step)
            for snapshot in self._process.snapshots
            for window in snapshot.outputs
            for step in window.steps[getattr(window, name) > 0]
        ]
        return min(steps, default=None)

    def _of_weights(self) -> list[First]:
        if self._counts is None:
            return []
        steps, first = self._counts.nonfinite_weight_step, self._counts.first_compared
        bad = np.flatnonzero(steps >= 0)
        if not len(bad):
            return []
        index = int(bad[steps[bad] == steps[bad].min()].max())
        step = int(steps[index])
        # A weight that is looked at before the first step was made so; later ones an update made so.
        at_start = bool(step == first[index]) and step <= 0
        return [
            First(
                Origin.PARAMETER,
                step,
                parameter=self._process.parameters[index].path,
                at_start=at_start,
            )
        ]

    def _of_gradients(self, other: int | None) -> list[First]:
        """The first gradient, if what follows from it followed.

        Under a GradScaler single infinite ones are normal, and where nothing else is ever not finite somebody has
        looked after it.
        """
        if self._counts is None:
            return []
        steps = self._counts.nonfinite_step
        bad = np.flatnonzero(steps >= 0)
        if not len(bad):
            return []
        step = int(steps[bad].min())
        index = int(bad[steps[bad] == step].max())
        found = First(Origin.GRADIENT, step, parameter=self._process.parameters[index].path)
        if self._scaled:
            return [found] if self._for_ever and other is None else []
        if other is None:
            return []
        # A loss that is still finite after that step's update has seen nothing of it.
        return [] if step + 1 in self._finite_losses else [found]

    def _outputs_finite(self, step: int) -> bool:
        """Whether activations or outputs of a step were observed, and nothing known of it was not finite."""
        seen = any(step in history.steps() for history in self._histories)
        if not seen and not any(step in one.steps for shot in self._process.snapshots for one in shot.outputs):
            return False
        others = [*self._of_activations(), *self._of_outputs(), *self._of_weights()]
        return all(one.step > step for one in others)

    def _gradients_finite(self, step: int) -> bool:
        if self._counts is None:
            return False
        known = self._counts.nonfinite_step
        return step in self._counted and not ((known >= 0) & (known <= step)).any()


def _counted(history: SiteHistory) -> IntArray:
    """Steps at which everything was counted, and not only whether units fired."""
    steps, delta, update = history.steps(), history.delta(), history.update()
    counted: IntArray = steps[~np.isnan(delta) | ~np.isnan(update)]
    return counted
