"""Where a monitor's facts go."""

from typing import Protocol

from rectifier.records import Feeds, Output, Parameter, Process, Site, Snapshot, Treated, Unseen, Writer


class Sink(Protocol):
    """Keeps what a monitor says. Called from the training process; a failing sink must switch itself off."""

    def open(self, writer: Writer) -> None:
        """Begin, once per process, at its first observed optimizer step."""

    def site(self, site: Site) -> None:
        """A new site; snapshots refer to sites by the order of these calls."""

    def parameter(self, parameter: Parameter) -> None:
        """A new parameter; snapshots count them in the order of these calls."""

    def output(self, output: Output) -> None:
        """A new output; snapshots refer to outputs by the order of these calls."""

    def feeds(self, feeds: Feeds) -> None:
        """Which sites feed each other, as known by now."""

    def restart(self) -> None:
        """Everything so far belongs to no training: the training begins now."""

    def snapshot(self, snapshot: Snapshot) -> None:
        """A finished window; it supersedes `latest`."""

    def latest(self, snapshot: Snapshot) -> None:
        """The unfinished window as it stands; the next call of either kind replaces it."""

    def unseen(self, unseen: Unseen) -> None:
        """Something that was not observed, and why."""

    def change(self, text: str) -> None:
        """What was changed in the user's model, in words."""

    def treated(self, treated: Treated) -> None:
        """What was changed in the user's model while it trains."""

    def warning(self, text: str) -> None:
        """What went wrong inside of Rectifier, in words."""

    def close(self) -> None:
        """No more will come."""


class MemorySink:
    """Keeps everything in memory, for `rectifier.watch`."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._parameters: list[Parameter] = []
        self._outputs: list[Output] = []
        self._feeds: Feeds | None = None
        self._writer = Writer(pid=0, rank=0, world_size=1, torch="", device="")
        self._sites: list[Site] = []
        self._snapshots: list[Snapshot] = []
        self._latest: Snapshot | None = None
        self._unseen: list[Unseen] = []
        self._changes: list[str] = []
        self._treated: list[Treated] = []
        self._warnings: list[str] = []

    def open(self, writer: Writer) -> None:
        self._writer = writer

    def site(self, site: Site) -> None:
        self._sites.append(site)

    def parameter(self, parameter: Parameter) -> None:
        self._parameters.append(parameter)

    def output(self, output: Output) -> None:
        self._outputs.append(output)

    def feeds(self, feeds: Feeds) -> None:
        self._feeds = feeds

    def restart(self) -> None:
        self._begin()

    def snapshot(self, snapshot: Snapshot) -> None:
        self._snapshots.append(snapshot)
        self._latest = None

    def latest(self, snapshot: Snapshot) -> None:
        self._latest = snapshot

    def unseen(self, unseen: Unseen) -> None:
        self._unseen.append(unseen)

    def change(self, text: str) -> None:
        self._changes.append(text)

    def treated(self, treated: Treated) -> None:
        self._treated.append(treated)

    def warning(self, text: str) -> None:
        self._warnings.append(text)

    def close(self) -> None:
        pass

    def process(self) -> Process:
        """Everything kept so far, as one record."""
        unfinished = () if self._latest is None else (self._latest,)
        return Process(
            writer=self._writer,
            sites=tuple(self._sites),
            snapshots=(*self._snapshots, *unfinished),
            unseen=tuple(self._unseen),
            changes=tuple(self._changes),
            warnings=tuple(self._warnings),
            treated=tuple(self._treated),
            parameters=tuple(self._parameters),
            outputs=tuple(self._outputs),
            feeds=None if self._feeds is None else self._feeds.pairs,
        )
