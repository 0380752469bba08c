"""What was changed in a model, and how it is taken back."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from torch import nn

from rectifier.errors import CannotSwap
from rectifier.hooks import announce
from rectifier.records import Treated, Treatment

_SHOWN = 12


class Step(Protocol):
    """One thing that was altered, and can be put back."""

    def blocked(self) -> str | None:
        """Where somebody altered the same thing since; None when it can be put back."""

    def revert(self) -> None:
        """Put it back."""


class Change:
    """What a swap did to a model, and the way back.

    Attributes:
        old: The activation that was replaced, as a user writes it.
        new: The one that took its place.
        undone: Whether it has been taken back.

    Example:
        >>> import torch, rectifier
        >>> model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU())
        >>> with rectifier.swap(model, "relu", "leaky_relu:0.1") as change:
        ...     model[1]
        LeakyReLU(negative_slope=0.1)
        >>> model[1], change.undone
        (ReLU(), True)
    """

    def __init__(self, old: str, new: str) -> None:
        self.old = old
        self.new = new
        self.undone = False
        self._replaced: dict[str, int] = {}
        self._notes: dict[str, None] = {}
        self._steps: list[Step] = []
        self._tell_undone: Callable[[], None] = lambda: None

    @property
    def replaced(self) -> tuple[str, ...]:
        """Every place that computes the new activation; it grows with a change that is made for a whole process."""
        return tuple(label if count == 1 else f"{label} (×{count})" for label, count in self._replaced.items())

    @property
    def notes(self) -> tuple[str, ...]:
        """What the change leaves as it was, ties together, or needs from the user."""
        return tuple(self._notes)

    def undo(self) -> None:
        """Put everything back as it was: the same module objects in the same places, classes, attributes, groups.

        Warning:
            What was learned since stays learned, in the weights and in the optimizer's state for them. A copy that was
            made of the model keeps the change. A second call does nothing.

        Raises:
            CannotSwap: Something was changed again since, at the place that is named; nothing was put back.
        """
        if self.undone:
            return
        blocked = [reason for step in self._steps if (reason := step.blocked()) is not None]
        if blocked:
            raise CannotSwap(
                f"Cannot undo {self.old} → {self.new}: {blocked[0]} has been changed again since. "
                "Undo the later change first."
            )
        self.undone = True
        while self._steps:
            self._steps.pop().revert()
        self._tell_undone()

    def record(self, labels: Iterable[str] = (), *, notes: Iterable[str] = (), once: bool = False) -> None:
        """Add what was replaced, and what is to be said about it; a label that comes again is counted."""
        for label in labels:
            self._replaced[label] = 1 if once else self._replaced.get(label, 0) + 1
        for note in notes:
            self._notes.setdefault(note)

    def did(self, step: Step) -> None:
        """Add a step, already done, that `undo` takes back."""
        self._steps.append(step)

    def tell(self, model: nn.Module, done: Treated) -> None:
        """Let whoever watches the model hear of the change, now that it is done, and of its undoing when that comes.

        Args:
            model: What was changed.
            done: What was done to it.
        """
        announce.treated(model, done)
        self._tell_undone = partial(announce.treated, model, replace(done, name=Treatment.UNDO, units={}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        count, labels = sum(self._replaced.values()), self.replaced
        state = " (undone)" if self.undone else ""
        lines = [f"{self.old} → {self.new} in {count} place{'' if count == 1 else 's'}{state}"]
        lines += [f"  {label}" for label in labels[:_SHOWN]]
        if len(labels) > _SHOWN:
            lines.append(f"  … and {len(labels) - _SHOWN} more")
        lines += [f"  note: {note}" for note in self._notes]
        return "\n".join(lines)
