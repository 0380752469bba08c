"""What `rectifier explain` asks of the process that runs the script: one change, and a closer look at some steps.

It comes by an environment variable, beside what `run` and `compare` ask for.
"""

import json
import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from rectifier.diagnosis import thresholds as limit
from rectifier.hooks import training
from rectifier.records import Change, Fact, Intervention
from rectifier.treatment.interventions import Intervening, begin


class Explaining:
    """The one change of this process, and the microscope.

    Args:
        settings: As `read` gives them.
        record: Takes the facts.
        clock: Steps that the training has taken.
    """

    def __init__(self, settings: dict[str, Any], record: Callable[[Fact], None], clock: Callable[[], int]) -> None:
        self._record, self._to_the_end = record, settings.get("to_the_end", False)
        asked = Intervention.parse(settings["intervention"])
        self._intervening: Intervening | None = begin(asked)
        self._shifted: Intervening | None = None
        if settings["seed_shift"]:
            # Another seed beside the change: a cure must hold on every seed that fails.
            self._shifted = begin(Intervention(Change.RESTART, settings["seed_shift"]))
        self._looking: Callable[[], None] | None = None
        self._forget: Callable[[], None] | None = None
        if settings["microscope"]:
            from rectifier.hooks.microscope.microscope import look  # noqa: PLC0415 - one trial of an explanation only

            first, last = settings["microscope"]
            own = OwnClock(clock)
            self._forget = training.listen(own)
            self._looking = look(first, last, own.now, record, lost=limit.EXPLAIN_LOST, huge=limit.EXPLAIN_HUGE)

    def ends_unchanged(self, end: Callable[[int], None]) -> None:
        """End a training early in which nothing is changed, unless it is to train to its end.

        Args:
            end: Called before the process is left, with the optimizer steps so far.
        """
        if self._intervening is not None and not self._to_the_end:
            EndUnchanged(self._intervening, end).start()

    def finish(self) -> None:
        """Take everything away, and say what was changed."""
        if self._looking is not None:
            self._looking()
        if self._forget is not None:
            self._forget()
            self._forget = None
        if self._shifted is not None:
            self._shifted.stop()
            self._shifted = None
        if self._intervening is not None:
            self._intervening.stop()
            self._record(self._intervening.applied())
            self._intervening = None


def read(text: str) -> dict[str, Any]:
    """What a trial is asked for, with everything that may be left out.

    Args:
        text: JSON, as the environment variable `RECTIFIER_EXPLAIN` has it: `{"intervention": "weight_decay_off",
            "microscope": [first, last] | null, "stop_after": steps | null, "seed_shift": 0, "to_the_end": false,
            "end_nonfinite": losses | null}`. To the end: also where nothing is found to change.
    """
    settings: dict[str, Any] = {
        "intervention": str(Change.NONE),
        "microscope": None,
        "stop_after": None,
        "seed_shift": 0,
        "to_the_end": False,
        "end_nonfinite": None,
    }
    settings.update(json.loads(text))
    return settings


class OwnClock(training.TrainingListener):
    """A clock that goes on where watching had to stop: the busiest optimizer's steps then tell the time.

    Args:
        clock: Steps that the training has taken, as it is watched.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._own: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """It has stepped."""
        self._own[optimizer] = self._own.get(optimizer, 0) + 1

    def now(self) -> int:
        """Steps that the training has taken."""
        return max(self._clock(), *self._own.values(), 0)


_MAY_COME_LATE = frozenset({
    Change.NONE, Change.PLACEBO, Change.TRAIN_MODE, Change.SKIP_BATCHES_OF_ONE, Change.SKIP_NONFINITE,
    Change.GUARD_OPERATION, Change.CLIP_GRADIENT, Change.STEP_OPTIMIZER, Change.WARM_UP,
})  # fmt: skip
"""Changes that may find something to change later than at the first steps."""
_STEPS_TO_BEGIN = 25


class EndUnchanged(training.TrainingListener):
    """Ends a training in which the change has found nothing to change: it would be the unchanged one again.

    Args:
        intervening: The change.
        end: Called before the process is left, with the optimizer steps so far.
    """

    def __init__(self, intervening: Intervening, end: Callable[[int], None]) -> None:
        self._intervening, self._end, self._steps = intervening, end, 0

    def start(self) -> None:
        """Begin to count."""
        if self._intervening.change not in _MAY_COME_LATE:
            training.listen(self)

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """One more step is done: many backward passes may lead to it."""
        self._steps += 1

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """One more pass begins."""
        if self._steps >= _STEPS_TO_BEGIN and not self._intervening.has_changed():
            self._end(self._steps)
            raise SystemExit(0)


class EndWithoutSteps(training.TrainingListener):
    """Ends a training whose optimizer never steps, after so many backward passes.

    Args:
        passes: At least 1.
        end: Called before the process is left.
    """

    def __init__(self, passes: int, end: Callable[[], None]) -> None:
        self._passes, self._end, self._stepped = passes, end, False

    def start(self) -> None:
        """Begin to count."""
        training.listen(self)

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """An optimizer steps after all: its steps are counted elsewhere."""
        self._stepped = True

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """One more pass begins."""
        if self._stepped:
            return
        self._passes -= 1
        if self._passes < 0:
            self._end()
            raise SystemExit(0)


class EndNonfinite(training.TrainingListener):
    """Ends a training after a number of consecutive non-finite losses.

    Args:
        losses: At least 1.
        end: Called before the process is left.
    """

    def __init__(self, losses: int, end: Callable[[], None]) -> None:
        self._losses, self._end, self._met = losses, end, 0

    def start(self) -> None:
        """Begin to count."""
        training.listen(self)

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """One more pass begins."""
        self._met = 0 if bool(unscaled.detach().isfinite().all()) else self._met + 1
        if self._met > self._losses:
            self._end()
            raise SystemExit(0)
