"""What all changes of a running script have in common."""

from collections.abc import Callable
from itertools import islice

from rectifier.hooks import training
from rectifier.records import Applied, Change, ChangedPart

_MOST_DETAILS = 8


class Intervening(training.TrainingListener):
    """One change of an unmodified script, from `start` to `stop`; it counts what it changed.

    Nothing of the user's files, schedulers or printed settings changes. A failure inside is raised: a trial that did
    something else than asked must not be taken for one that did it.

    Attributes:
        change: Which.
        times: How often it changed something.
        details: What it changed, in words, each once.
        parts: What of it is a part of the program, each once.
    """

    def __init__(self, change: Change) -> None:
        self.change = change
        self.times = 0
        self.details: dict[str, None] = {}
        self.parts: dict[ChangedPart, None] = {}
        self._undo: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin; what was patched before stays inside of ours."""
        self._undo.append(training.listen(self))

    def stop(self) -> None:
        """Take everything away; a second call does nothing."""
        while self._undo:
            self._undo.pop()()

    def applied(self) -> Applied:
        """What it has changed so far."""
        told = list(self.details)
        if len(told) > _MOST_DETAILS:
            told = [*told[:_MOST_DETAILS], f"{len(told) - _MOST_DETAILS} more"]
        parts = tuple(islice(self.parts, _MOST_DETAILS))
        return Applied(change=self.change, times=self.times, detail=", ".join(told), parts=parts)

    def has_changed(self) -> bool:
        """Whether it has changed anything so far."""
        return self.times > 0

    def note(self, detail: str = "", part: ChangedPart | None = None) -> None:
        """Something was changed.

        Args:
            detail: What, in words; of a part its own.
            part: Of the program.
        """
        self.times += 1
        if part is not None:
            self.parts.setdefault(part)
        if detail or part is not None:
            self.details.setdefault(detail or str(part))
