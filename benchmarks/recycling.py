"""What recycling brings on networks that have really died, and what it costs.

Two failures on handwritten digits: raw inputs (0 to 255 at the input of a linear layer) and a learning rate that is
too high. Both die in their first steps. Then four arms go on from the same weights and the same optimizer state for
1,000 steps, with the same batches: nothing is done, as many live units as are dead are reset at random, the dead ones
are reset as ReDo and continual backprop do it, and they are recycled. The cause is left as it is in one half of the
rows, and taken away when the arms begin (inputs divided by 255; a tenth of the learning rate) in the other. Alive:
units of all hidden layers that fire on at least one training image.

    python benchmarks/recycling.py [--seeds 8] [--steps 1000] [--threads 1] [--width 5750]
"""

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from rectifier.datasets import digits
from rectifier.errors import CannotRecycle
from rectifier.records import Finding
from rectifier.treatment import recycle

ARMS = ("nothing", "random units", "redo", "continual", "exact")
BATCH = 100


@dataclass
class Failure:
    name: str
    build: Callable[[], nn.Sequential]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    inputs: Tensor
    cure: Callable[[nn.Sequential, torch.optim.Optimizer], None]
    steps: int


def mlp(*sizes: int) -> nn.Sequential:
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))


def failures() -> list[Failure]:
    inputs = torch.from_numpy(digits().train_inputs)

    def divide(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
        # What dividing the inputs by 255 does, and the weights' scale is left as it is.
        model[0].register_forward_pre_hook(lambda module, args: (args[0] / 255,))

    def slow(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            group["lr"] /= 10

    return [
        Failure(
            "inputs 0..255, SGD 0.05",
            lambda: mlp(64, 100),
            lambda m: torch.optim.SGD(m.parameters(), 0.05),
            inputs * 255,
            divide,
            30,
        ),
        Failure(
            "Adam 3e-2, 3 × 128",
            lambda: mlp(64, 128, 128, 128),
            lambda m: torch.optim.Adam(m.parameters(), 3e-2),
            inputs,
            slow,
            300,
        ),
    ]


def dead_units(model: nn.Sequential, inputs: Tensor) -> list[Tensor]:
    """For each hidden layer which units fire on no training image; a pass over all data is a confirmation."""
    found = []
    with torch.no_grad():
        for layer in model[:-1]:
            inputs = layer(inputs)
            if isinstance(layer, nn.ReLU):
                found.append(inputs.amax(0) == 0)
    return found


def findings(dead: list[Tensor]) -> list[Finding]:
    return [
        Finding(
            name="dead-units",
            severity="info",
            title="",
            detail="",
            site=f"Sequential.{2 * number + 1}",
            units=tuple(units.nonzero().flatten().tolist()),
            evidence={"dead": int(units.sum())},
        )
        for number, units in enumerate(dead)
        if units.any()
    ]


def reset_random(model: nn.Sequential, dead: list[Tensor], seed: int) -> None:
    """Reset as many units, drawn from all, as ReDo resets dead ones; the state of the optimizer is left."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for number, units in enumerate(dead):
            layer, reader = model[2 * number], model[2 * number + 2]
            chosen = torch.randperm(len(units), generator=draws)[: int(units.sum())]
            drawn = torch.rand((len(chosen), layer.in_features), generator=draws) * 2 - 1
            layer.weight[chosen] = drawn / layer.in_features**0.5
            layer.bias[chosen] = 0
            reader.weight[:, chosen] = 0


def treat(arm: str, model: nn.Sequential, optimizer: torch.optim.Optimizer, inputs: Tensor, seed: int) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    dead = dead_units(model, inputs)
    if arm == "random units":
        reset_random(model, dead, seed)
    elif arm != "nothing" and findings(dead):
        recycle(model, optimizer, findings(dead), batch=inputs, method=arm)
    return time.perf_counter() - began


def run(failure: Failure, seed: int, cured: bool, steps: int) -> dict[str, tuple[float, float, float]]:
    """For each arm: share alive afterwards, loss afterwards; before: the same under the name `before`."""
    labels = torch.from_numpy(digits().train_labels)
    torch.manual_seed(seed)
    model = failure.build()
    optimizer = failure.optimizer(model)
    draws = torch.Generator().manual_seed(seed)
    train(model, optimizer, failure.inputs, labels, draws, failure.steps)
    found = {"before": measure(model, failure.inputs, labels)}
    for arm in ARMS:
        own, its = _copy(model, optimizer, failure)
        if cured:
            failure.cure(own, its)
        treat(arm, own, its, failure.inputs, seed)
        train(own, its, failure.inputs, labels, torch.Generator().manual_seed(seed + 1), steps)
        found[arm] = measure(own, failure.inputs, labels)
    return found


def _copy(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, failure: Failure
) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    own = copy.deepcopy(model)
    its = failure.optimizer(own)
    its.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return own, its


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    draws: torch.Generator,
    steps: int,
) -> None:
    for _ in range(steps):
        batch = torch.randint(0, len(inputs), (BATCH,), generator=draws)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
        optimizer.step()


def measure(model: nn.Sequential, inputs: Tensor, labels: Tensor) -> tuple[float, float, float]:
    dead = torch.cat(dead_units(model, inputs))
    with torch.no_grad():
        outputs = model(inputs)
        loss = nn.functional.cross_entropy(outputs, labels)
    return 1 - float(dead.float().mean()), float(loss), float((outputs.argmax(1) == labels).float().mean())


def revival(console: Console, seeds: int, steps: int) -> None:
    for failure in failures():
        for cured in (False, True):
            runs = [run(failure, seed, cured, steps) for seed in range(seeds)]
            title = f"{failure.name}; {'cause taken away' if cured else 'cause stays'}; {seeds} seeds, {steps:,} steps"
            table = Table(title=title, title_justify="left")
            for name in ("arm", "alive", "loss", "accuracy", "lower loss than nothing"):
                table.add_column(name, justify="left" if name == "arm" else "right")
            for arm in ("before", *ARMS):
                values = np.array([found[arm] for found in runs])
                wins = sum(found[arm][1] < found["nothing"][1] for found in runs)
                won = "" if arm in ("before", "nothing") else f"{wins} of {seeds}"
                cells = [f"{np.median(column):.3f}" for column in values.T]
                table.add_row(arm, *cells, won)
            console.print(table)


def cost(console: Console, width: int) -> None:
    """One recycle of 5 % of a layer's units, in an MLP of 100 million parameters under Adam."""
    torch.manual_seed(0)
    model = mlp(64, width, width, width, width)
    count = sum(parameter.numel() for parameter in model.parameters())
    inputs = torch.randn(64, 64)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    labels = torch.zeros(64, dtype=torch.int64)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    with torch.no_grad():
        model[2].bias[::20] = -1e4
    step()
    began = time.perf_counter()
    step()
    one_step = time.perf_counter() - began
    dead = [torch.zeros(width, dtype=torch.bool) for _ in range(4)]
    dead[1][::20] = True
    began = time.perf_counter()
    change = recycle(model, optimizer, findings(dead), batch=inputs)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    change.undo()
    undone = time.perf_counter() - began
    table = Table(title=f"{count / 1e6:.0f} M parameters, Adam, batch 64, {int(dead[1].sum())} dead units")
    for name in ("training step", "recycle", "undo", "recycle / step"):
        table.add_column(name, justify="right")
    table.add_row(f"{one_step:.2f} s", f"{seconds:.2f} s", f"{undone:.2f} s", f"{seconds / one_step:.1f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, default=5750)
    parser.add_argument("--only", choices=("revival", "cost"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console(width=110)
    try:
        if arguments.only != "cost":
            revival(console, arguments.seeds, arguments.steps)
        if arguments.only != "revival":
            cost(console, arguments.width)
    except CannotRecycle as error:
        console.print(f"refused: {error}")


if __name__ == "__main__":
    main()
