"""What a run leaves on the device and on disk: of 10⁶ steps of a small network, and of a million units.

    python benchmarks/growth.py [--steps 1000000]

A real monitor writes a real run folder. Of the training there is only what a monitor meets: a loss before each backward
pass, an optimizer before and after its step; forward and backward run at observed steps alone, and no weight moves.
Every 64th step is observed, whatever that costs; under its budget a monitor would observe fewer of such short steps.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from rectifier.monitor import Monitor
from rectifier.records import Manifest
from rectifier.storage import RunWriter, read_run, write_manifest

MARKS = (1_000, 10_000, 100_000, 1_000_000)


class Training:
    """A model, its monitor, and the folder that it writes."""

    def __init__(self, folder: Path, model: nn.Module, features: int, every: int) -> None:
        folder.mkdir()
        manifest = Manifest(name="growth", command=(), folder=str(folder), started="", rectifier="0", python="3")
        write_manifest(folder, manifest)
        self.folder, self.model = folder, model
        self.x = torch.randn(4, features)
        # Each a storage of its own, as a loss is.
        self.losses = [torch.tensor(float(value)) for value in torch.rand(1_009)]
        self.optimizer = torch.optim.SGD(model.parameters(), 0.1)
        self.monitor = Monitor(RunWriter(folder), every=every)
        self.monitor.start()

    def until(self, end: int) -> None:
        monitor, losses, optimizer = self.monitor, self.losses, self.optimizer
        for step in range(monitor.step, end):
            if monitor.armed:
                out = self.model(self.x)
                # Of a vector: no loss is heard but the one below.
                out.backward(torch.full_like(out, 1e-3))
            loss = losses[step % len(losses)]
            monitor.on_backward(loss, loss)
            monitor.on_step_start(optimizer)
            monitor.on_step_end(optimizer)

    def bytes(self) -> int:
        self.monitor.flush()
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def counter_bytes(self) -> float:
        """Bytes a unit of all that is kept for each unit, on the device."""
        kept = [site.last_gradient for site in self.monitor.observation.models.sites]
        kept += [value for site in self.monitor.observation.models.sites for value in vars(site.counters).values()]
        units = sum(site.counters.units for site in self.monitor.observation.models.sites)
        return sum(value.nbytes for value in kept if isinstance(value, torch.Tensor) and value.ndim) / units


def read_back(folder: Path) -> tuple[float, int, int, int]:
    """Seconds; snapshots, windows of single units, and losses found."""
    began = time.perf_counter()
    (process,) = read_run(folder).processes
    seconds = time.perf_counter() - began
    unit_windows = sum(len(window.fired) for snapshot in process.snapshots for window in snapshot.windows)
    return seconds, len(process.snapshots), unit_windows, len(process.series("loss").steps)


def measure(name: str, training: Training, marks: tuple[int, ...]) -> tuple[str, int]:
    rows = []
    size = 0
    for mark in marks:
        training.until(mark)
        size = training.bytes()
        seconds, snapshots, unit_windows, losses = read_back(training.folder)
        rows.append(
            f"| {name} | {mark:,} | {size / 1e6:.2f} | {snapshots} | {losses:,} | {size / unit_windows:.0f} | "
            f"{training.counter_bytes():.0f} | {seconds:.2f} |"
        )
    training.monitor.stop()
    return "\n".join(rows), size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the small network")
    options = parser.parse_args()
    torch.manual_seed(0)
    print(
        "| network | steps | on disk, MB | windows | losses kept | bytes a unit and window "
        "| on the device, bytes a unit | read back, s |\n|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as name:
        small = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        marks = tuple(mark for mark in MARKS if mark <= options.steps)
        rows, _ = measure("2 × 32 units", Training(Path(name) / "small", small, 8, 64), marks)
        print(rows, flush=True)
        units = 1 << 18
        # Normalisation needs no matrix between a million units.
        large = nn.Sequential(*(part for _ in range(4) for part in (nn.LayerNorm(units), nn.ReLU())))
        rows, _ = measure("4 × 262,144 units", Training(Path(name) / "large", large, units, 8), (64, 128, 256))
        print(rows)
    print(
        "\nBounds: 64 bytes a unit on the device. On disk, each doubling of the steps beyond 16,384 adds at most 8,576 "
        "values of a series, 2,048 and few extremes of a site, and 8 windows; beyond 1 M windows of single units, one."
    )


if __name__ == "__main__":
    main()
