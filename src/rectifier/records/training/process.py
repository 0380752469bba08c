"""What one process of a training wrote, and who that was."""

from dataclasses import dataclass

import numpy as np

from rectifier.records.counts import AtLeastOne, Count
from rectifier.records.explanation.change import Applied
from rectifier.records.explanation.sight import Sight
from rectifier.records.training.loss import Output
from rectifier.records.training.parameter import Parameter
from rectifier.records.training.site import Site, Unseen
from rectifier.records.training.snapshot import Series, Snapshot
from rectifier.records.training.treated import Treated


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A process that trained: the first line of its file.

    Attributes:
        replica: Whether every rank trains this model, each on a share of the data.
        ranks: How many of them are counted together in what this belongs to.
    """

    pid: Count
    rank: Count
    world_size: AtLeastOne
    torch: str
    device: str
    replica: bool = False
    ranks: AtLeastOne = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Process:
    """Everything one training process wrote.

    Attributes:
        sites: In the order of their first call.
        snapshots: In the order of their steps; their windows are disjoint.
        changes: What was swapped in this process, in words.
        treated: What was changed in its models while they trained, in the order of their steps.
        warnings: What went wrong inside Rectifier, in words; the training went on.
        parameters: In the order in which they were met; `ParameterCounts` counts them in it.
        outputs: Layers that give a model's output, in the order in which they were met.
        feeds: Pairs of sites by index: the first one's output reaches the second's input through the autograd graph,
            without another site between. None where no graph was read; what is not in it is not known to be a chain.
        applied: What an intervention of `explain` has changed so far; None where there was none.
        sights: What the microscope of `explain` saw, in that order.
    """

    writer: Writer
    sites: tuple[Site, ...]
    snapshots: tuple[Snapshot, ...]
    unseen: tuple[Unseen, ...] = ()
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    treated: tuple[Treated, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    outputs: tuple[Output, ...] = ()
    feeds: tuple[tuple[Count, Count], ...] | None = None
    applied: Applied | None = None
    sights: tuple[Sight, ...] = ()

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
