"""Where a monitor's facts go."""

from typing import Protocol

from rectifier.records import Fact, Process, Snapshot, Unfinished, Writer, process_of


class Sink(Protocol):
    """Keeps what a monitor says. Called from the training process; a failing sink must switch itself off."""

    def record(self, fact: Fact) -> None:
        """Keep one fact."""

    def close(self) -> None:
        """No more will come."""


class MemorySink:
    """Keeps everything in memory, for `rectifier.watch`."""

    def __init__(self) -> None:
        self._facts: list[Fact] = [Writer(pid=0, rank=0, world_size=1, torch="", device="")]
        self._unfinished: tuple[Unfinished, ...] = ()

    def record(self, fact: Fact) -> None:
        if isinstance(fact, Unfinished):
            self._unfinished = (fact,)
            return
        if isinstance(fact, Snapshot):
            self._unfinished = ()
        self._facts.append(fact)

    def close(self) -> None:
        pass

    def process(self) -> Process:
        """Everything kept so far, as one record."""
        return process_of((*self._facts, *self._unfinished))
