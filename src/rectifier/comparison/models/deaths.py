"""Which layer of a training fell silent first and when, and the same over many trainings."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rectifier.records import Process, told_apart


@dataclass(frozen=True, slots=True)
class SilentLayer:
    """A layer none of whose units fires on any sample any more: no gradient passes below it.

    Attributes:
        site: Index into the process's sites.
        label: The site's name.
        last_fired: Last observed step at which one of its units fired, -1 for a layer silent from the
            beginning.
        interval: The step is known to within so many steps.
    """

    site: int
    label: str
    last_fired: int
    interval: int


def first_silent_layer(process: Process) -> SilentLayer | None:
    """The layer that fell silent first, the lowest of those that did so together.

    None when every layer fires. Only silence on every distinct sample of the training counts, so the process must
    know its samples.
    """
    if not process.snapshots:
        return None
    last = process.snapshots[-1]
    found, refs = [], told_apart(process.sites)
    for window in last.windows:
        if window.silent_distinct is None or last.distinct_samples is None or not len(window.silent_distinct):
            continue
        if (window.silent_distinct >= last.distinct_samples).all():
            found.append(
                SilentLayer(window.site, refs[window.site].label, int(window.last_fired.max()), last.cost.interval)
            )
    return min(found, key=lambda layer: (layer.last_fired, layer.site), default=None)


@dataclass(frozen=True, slots=True)
class Deaths:
    """First silent layers over many trainings of one network.

    Attributes:
        runs: Number of trainings.
        layers: The first silent layer of each training that has one.
    """

    runs: int
    layers: tuple[SilentLayer, ...]

    @property
    def by_layer(self) -> list[tuple[str, int]]:
        """(label, number of trainings in which it was the first), in the order of the network."""
        counts = Counter((layer.site, layer.label) for layer in self.layers)
        return [(label, count) for (_, label), count in sorted(counts.items())]

    @property
    def last_fired(self) -> tuple[int, int, int] | None:
        """Earliest, (lower) median and latest step at which a first silent layer last fired; None without any."""
        steps = [layer.last_fired for layer in self.layers]
        return (min(steps), statistics.median_low(steps), max(steps)) if steps else None


def summarise_deaths(processes: Sequence[Process]) -> Deaths:
    """First silent layers of these trainings."""
    found = [first_silent_layer(process) for process in processes]
    return Deaths(len(processes), tuple(layer for layer in found if layer is not None))
