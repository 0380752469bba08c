"""What watching costs: the same training steps with and without it, interleaved in one run, ratios last.

Every workload is trained in turns of a few steps: plain, plain again (A/A: the noise), watched as by default, and with
the hooks that people write today. Ratios are medians over turns of (time of a turn / time of the plain turn next to
it), with a 95 % interval from the bootstrap.

    python benchmarks/monitor.py [--seconds 20] [--threads 2]
"""

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap
from torch import Tensor, nn

from rectifier.monitor import MemorySink, Monitor


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.body(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(1))


def mlp(width: int, depth: int, inputs: int) -> nn.Sequential:
    sizes = [inputs, *[width] * depth]
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def cnn() -> nn.Sequential:
    def block(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True), nn.MaxPool2d(2)]

    return nn.Sequential(*block(3, 32), *block(32, 64), *block(64, 64), nn.Flatten(), nn.Linear(1024, 10))


def resnet() -> nn.Sequential:
    body = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), *[Residual(32) for _ in range(3)]]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


WORKLOADS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP 6 × 512, batch 128": (lambda: mlp(512, 6, 784), (128, 784)),
    "CNN with BatchNorm, batch 64, 32 × 32": (cnn, (64, 3, 32, 32)),
    "residual network, batch 32, 32 × 32": (resnet, (32, 3, 32, 32)),
    "transformer, 4 layers, 16 × 64 tokens": (Transformer, (16, 64, 128)),
    "tiny MLP 4 × 32, batch 32": (lambda: mlp(32, 4, 16), (32, 16)),
}


@contextmanager
def nothing(model: nn.Module):
    yield


class Watched:
    """The default monitor, settled into its budget before anything is timed; pausing keeps what it has learned."""

    def __init__(self) -> None:
        self.monitor = Monitor(MemorySink())

    @contextmanager
    def __call__(self, model: nn.Module):
        self.monitor.start()
        try:
            yield
        finally:
            self.monitor._take_away()


@contextmanager
def with_hooks(model: nn.Module, hook: Callable[[Tensor], object]):
    def call(module: nn.Module, args: object, output: Tensor) -> None:
        hook(output.detach())

    handles = [
        module.register_forward_hook(call)
        for module in model.modules()
        if isinstance(module, nn.ReLU | nn.TransformerEncoderLayer)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def activation_stats(model: nn.Module) -> AbstractContextManager[None]:
    """Mean, standard deviation and share near zero at every step, read at once, as fastai's ActivationStats."""
    return with_hooks(model, lambda h: (h.mean().item(), h.std().item(), (h.abs() <= 0.05).float().mean().item()))


def unit_counts(model: nn.Module) -> AbstractContextManager[None]:
    """A boolean count per unit at every step."""
    return with_hooks(
        model, lambda h: (h > 0).sum(tuple(i for i in range(h.ndim) if i != (1 if h.ndim == 4 else h.ndim - 1)))
    )


def timed(step: Callable[[], None], steps: int) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - began) / steps


def measure(name: str, seconds: float) -> list[tuple[str, str, float, float, float, float, str]]:
    build, shape = WORKLOADS[name]
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    # More batches than fit into the caches.
    batches = [(torch.randn(shape), torch.randint(10, shape[:1])) for _ in range(16)]
    turn = 0

    def step() -> None:
        nonlocal turn
        turn += 1
        x, y = batches[turn % len(batches)]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    watched = Watched()
    arms = {
        "plain": nothing, "plain again (A/A)": nothing, "rectifier": watched,
        "mean, std, near zero, .item()": activation_stats, "boolean count per unit": unit_counts,
    }  # fmt: skip
    timed(step, 3)
    seconds_per_step = timed(step, 5)
    with watched(model):
        settle = time.perf_counter()
        while time.perf_counter() - settle < max(3.0, seconds / 4):
            step()
    steps = max(4, round(0.05 / seconds_per_step))
    # A turn must hold whole intervals, or some turns would have all of the cost and others none.
    steps = max(steps, watched.monitor._schedule.count_interval)
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    began = time.perf_counter()
    order = list(arms)
    while time.perf_counter() - began < seconds or len(times["plain"]) < 7:
        order = order[1:] + order[:1]
        for arm in order:
            with arms[arm](model):
                times[arm].append(timed(step, steps))
    base = np.array(times["plain"])
    rows = []
    for arm in list(arms)[1:]:
        ratios = np.array(times[arm]) / base
        interval = bootstrap((ratios,), np.median, method="percentile", rng=0).confidence_interval
        schedule = watched.monitor._schedule
        note = f"every {schedule.interval}, counts every {schedule.count_interval}" if arm == "rectifier" else ""
        rows.append(
            (name, arm, 1e3 * float(np.median(base)), float(np.median(ratios)), interval.low, interval.high, note)
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0, help="per workload")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = Table(title=f"torch {torch.__version__}, {options.threads} threads, CPU", title_justify="left")
    for column in ("workload", "arm", "step, ms", "interval", "ratio to plain", "95 %"):
        table.add_column(column)
    for name in WORKLOADS:
        for workload, arm, milliseconds, ratio, low, high, note in measure(name, options.seconds):
            table.add_row(workload, arm, f"{milliseconds:.2f}", note, f"{ratio:.3f}", f"{low:.3f} – {high:.3f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
