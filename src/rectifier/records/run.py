"""One observed training: what was started, by whom it was written, how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rectifier.records.site import Site, Unseen
from rectifier.records.snapshot import Series, Snapshot
from rectifier.records.treated import Treated

FORMAT_VERSION = 1
"""Raised when a reader of the previous version could misread a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Written once, before the script starts.

    Attributes:
        name: The run folder's own name.
        command: What followed `rectifier run [options]`: the script and its arguments; () under `watch`.
        swap: Activations replaced while the script ran, as typed: `relu=leaky_relu:0.1`.
        rescale: Whether initial weights were to be rescaled.
        recycle: After every how many steps dead units were to be recycled; None for never.
        started: Local time, ISO 8601 with its offset.
    """

    name: str
    command: tuple[str, ...]
    folder: str
    started: str
    rectifier: str
    python: str
    swap: tuple[str, ...] = ()
    rescale: bool = False
    recycle: int | None = None
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Written once, after the script ended; missing when `rectifier` itself was killed or the script still runs."""

    exit_code: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A process that trained: the first line of its file.

    Attributes:
        replica: Whether every rank trains this model, each on a share of the data.
        ranks: How many of them are counted together in what this belongs to.
    """

    pid: int
    rank: int
    world_size: int
    torch: str
    device: str
    replica: bool = False
    ranks: int = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Process:
    """Everything one training process wrote.

    Attributes:
        sites: In the order of their first call.
        snapshots: In the order of their steps; their windows are disjoint.
        changes: What was swapped in this process, in words.
        treated: What was changed in its models while they trained, in the order of their steps.
        warnings: What went wrong inside Rectifier, in words; the training went on.
    """

    writer: Writer
    sites: tuple[Site, ...]
    snapshots: tuple[Snapshot, ...]
    unseen: tuple[Unseen, ...] = ()
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    treated: tuple[Treated, ...] = ()

    def series(self, name: str) -> Series:
        """All values of one series, over every snapshot; empty when there are none."""
        parts = [snapshot.series[name] for snapshot in self.snapshots if name in snapshot.series]
        if not parts:
            return Series(steps=np.empty(0, np.int64), values=np.empty(0))
        return Series(
            steps=np.concatenate([part.steps for part in parts]),
            values=np.concatenate([part.values for part in parts]),
            every=max(part.every for part in parts),
        )

    @property
    def series_names(self) -> tuple[str, ...]:
        """Names of all series, in the order of their first appearance."""
        return tuple(dict.fromkeys(name for snapshot in self.snapshots for name in snapshot.series))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Run:
    """One observed training, as read back from its folder or taken from a live `watch`."""

    manifest: Manifest
    processes: tuple[Process, ...]
    outcome: Outcome | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
