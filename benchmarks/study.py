"""Trainings a minute: a comparison's own ensembles beside plain PyTorch, one by one and in two processes.

    python benchmarks/study.py [--seeds 16] [--epochs 25] [--rounds 3]

The network is an MLP of 10 hidden layers of 64 units on scikit-learn's digits, Adam, batches of 64, 6 arms. Every way
trains the same members for the same steps. The last column is each round's ratio to the best plain way.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.optim import Adam

import rectifier
from rectifier.datasets import digits
from rectifier.study.ensemble import Recipe, draws_for
from rectifier.study.models import Task, accuracy, train_alone

ARMS = ("leaky_relu:0.01", "leaky_relu:0.1", "leaky_relu:0.3", "elu:1.0")
"""With the network as it is and the placebo: 6 arms."""

LAYERS, WIDTH = 10, 64


def build() -> nn.Module:
    sizes = [64, *[WIDTH] * LAYERS]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    split = digits()
    return (
        torch.from_numpy(split.train_inputs),
        torch.from_numpy(split.train_labels),
        torch.from_numpy(split.test_inputs),
        torch.from_numpy(split.test_labels),
    )


def plain(members: list[tuple[str, int]], seeds: int, epochs: int) -> int:
    """Train these members one after another in one thread, as a loop over arms and seeds does."""
    torch.set_num_threads(1)
    task = Task(
        build, *data(), Recipe(epochs=epochs, batch_size=64), partial(Adam, lr=1e-3, fused=True),
        nn.functional.cross_entropy, accuracy,
    )  # fmt: skip
    for arm, seed in members:
        train_alone(task, arm, [draws_for(0, seeds, placebo=arm == "placebo")[seed]])
    return len(members)


def ours(members: list[tuple[str, int]], seeds: int, epochs: int, *, together: bool | None) -> int:
    torch.set_num_threads(1)
    found = rectifier.compare_models(
        build, data(), arms=ARMS, seeds=seeds, epochs=epochs, optimizer=partial(Adam, lr=1e-3, fused=True),
        together=together,
    )  # fmt: skip
    return len(found.trials)


def in_processes(members: list[tuple[str, int]], seeds: int, epochs: int) -> int:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return sum(pool.map(plain, [members[::2], members[1::2]], [seeds] * 2, [epochs] * 2))


def with_joblib(members: list[tuple[str, int]], seeds: int, epochs: int) -> int:
    from joblib import Parallel, delayed  # noqa: PLC0415 - scikit-learn brings it

    return sum(Parallel(n_jobs=2)(delayed(plain)(part, seeds, epochs) for part in (members[::2], members[1::2])))


WAYS: dict[str, tuple[Callable[..., int], bool]] = {
    "plain loop": (plain, True),
    "two processes": (in_processes, True),
    "joblib, two processes": (with_joblib, True),
    "compare_models, as an ensemble": (partial(ours, together=True), False),
    "compare_models, by its own measurement": (partial(ours, together=None), False),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    members = [(arm, seed) for arm in ("as is", *ARMS, "placebo") for seed in range(options.seeds)]
    plain(members[:1], options.seeds, 1)
    speeds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.rounds):
        # Round after round, so that a busy minute of the machine does not fall on one way alone.
        for name, (way, _) in WAYS.items():
            began = time.perf_counter()
            count = way(members, options.seeds, options.epochs)
            speeds[name].append(60 * count / (time.perf_counter() - began))
    best = [max(speeds[name][number] for name, (_, is_plain) in WAYS.items() if is_plain)
            for number in range(options.rounds)]  # fmt: skip
    table = Table(title=f"Digits, {LAYERS} × {WIDTH} MLP, 6 arms × {options.seeds} seeds, {options.epochs} epochs")
    for name in ("way", "trainings a minute", "× the best plain way (each round)"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for name, values in speeds.items():
        ratios = ", ".join(f"{value / other:.2f}" for value, other in zip(values, best, strict=True))
        table.add_row(name, f"{median(values):.0f}", ratios)
    Console().print(table)


if __name__ == "__main__":
    main()
