"""Every optimizer of a training: its steps, those left out, and what gradients it used."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from torch.optim import Optimizer

from rectifier.monitor.training.parameters.carried import UsedGradients
from rectifier.monitor.training.parameters.measures import number_of
from rectifier.records import OptimizerState


@dataclass(slots=True)
class _Known:
    held: weakref.ref[Optimizer]
    name: str
    steps: int = 0
    skipped: int = 0
    without_gradients: int = 0
    momentum: float | None = None
    scheduled: bool = False


class OptimizerRecords:
    """All optimizers met in one process, in the order of their numbers."""

    def __init__(self) -> None:
        self._known: list[_Known] = []
        self._used = UsedGradients()

    @property
    def held(self) -> Sequence[weakref.ref[Optimizer]]:
        """They, as long as they live."""
        return [known.held for known in self._known]

    @property
    def stepped(self) -> bool:
        """Whether any has stepped."""
        return any(known.steps for known in self._known)

    def has(self, optimizer: Optimizer) -> bool:
        """Whether it was met."""
        return any(known.held() is optimizer for known in self._known)

    def number_of(self, optimizer: Optimizer) -> int:
        """Its number; one that was not met gets the next."""
        for number, known in enumerate(self._known):
            if known.held() is optimizer:
                return number
        self._known.append(_Known(weakref.ref(optimizer), type(optimizer).__name__))
        return len(self._known) - 1

    def note_groups(self, optimizer: Optimizer) -> int:
        """Note what its groups say of it; gives its number."""
        number = self.number_of(optimizer)
        # A scheduler leaves there where it began.
        momenta = [number_of(group.get("momentum")) for group in optimizer.param_groups]
        self._known[number].momentum = max((one for one in momenta if one > 0), default=None)
        self._known[number].scheduled |= any("initial_lr" in group for group in optimizer.param_groups)
        return number

    def note_step(self, optimizer: Optimizer, *, alone: bool) -> None:
        """One has stepped.

        Args:
            optimizer: It.
            alone: Whether its gradients may be read.
        """
        number = self.number_of(optimizer)
        self._known[number].steps += 1
        if alone:
            self._used.note_step(number, optimizer)
        self._known[number].without_gradients += all(
            one.grad is None for group in optimizer.param_groups for one in group["params"]
        )

    def note_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler left a step out."""
        self._known[self.number_of(optimizer)].skipped += 1

    def read(self) -> tuple[OptimizerState, ...]:
        """What is known of each so far; this waits for the device."""
        used = self._used.read()
        return tuple(
            OptimizerState(
                name=known.name,
                steps=known.steps,
                skipped=known.skipped,
                without_gradients=known.without_gradients,
                used=len(used[number]),
                zeros=used[number].count(0.0),
                momentum=known.momentum,
                scheduled=known.scheduled,
            )
            for number, known in enumerate(self._known)
        )
