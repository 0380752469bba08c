"""What treatments cost, once, beside a training step: swap, rescale, recycle and undo on a model of 100 M parameters.

A plain ReLU network with Adam, some of whose units in each hidden layer are dead. Each treatment is done and taken back
several times; medians. One thread is timed by the processor's clock, several or a GPU by the wall's.

    python benchmarks/treatment.py [--width 4096] [--depth 6] [--batch 64] [--dead 0.02] [--repeats 3] [--threads 1]
"""

import argparse
import platform
import time
from collections.abc import Callable
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import rectifier
from rectifier.records import DeadUnits, Deaths, Finding, Rule, SiteRef


def network(width: int, depth: int) -> nn.Sequential:
    layers = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def kill(model: nn.Sequential, share: float) -> list[Finding]:
    """Silence units of every hidden layer, and say what a watch would say of them."""
    findings = []
    for index, layer in enumerate(model[:-1]):
        if isinstance(layer, nn.Linear):
            units = tuple(range(int(share * layer.out_features)))
            with torch.no_grad():
                layer.bias[: len(units)] = -1e4
            evidence = DeadUnits(
                activation="relu", units=layer.out_features, dead=len(units), suspected=0, dead_fraction=share,
                silences=len(units), silences_ended=0,
                deaths=Deaths(born_dead=len(units), died=0, first_observed_step=0),
            )  # fmt: skip
            site = SiteRef(model="Sequential", path=f"{index + 1}")
            findings.append(
                Finding(rule=Rule.DEAD_UNITS, severity="warning", site=site, units=units, evidence=evidence)
            )
    return findings


def timed(function: Callable[[], object], options: argparse.Namespace) -> tuple[float, object]:
    """One thread is timed by the processor's clock, for which a busy machine does not count."""
    wait = torch.cuda.synchronize if options.device == "cuda" else int
    clock = time.process_time if options.device == "cpu" and options.threads == 1 else time.perf_counter
    wait()
    began = clock()
    result = function()
    wait()
    return clock() - began, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("width", 4096), ("depth", 6), ("batch", 64), ("repeats", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dead", type=float, default=0.02)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = network(options.width, options.depth).to(options.device)
    x = torch.randn(options.batch, options.width, device=options.device)
    y = torch.randint(0, 10, (options.batch,), device=options.device)
    loss = nn.CrossEntropyLoss()

    def step(optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        value: Tensor = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    rows: dict[str, list[float]] = {}

    def note(name: str, function: Callable[[], object]) -> object:
        seconds, result = timed(function, options)
        rows.setdefault(name, []).append(seconds)
        return result

    def there_and_back(name: str, function: Callable[[], object]) -> None:
        change = note(name, function)
        note(f"{name}: undo", change.undo)

    for _ in range(options.repeats):
        there_and_back("rescale", lambda: rectifier.rescale(model, x))
    findings = kill(model, options.dead)
    optimizer = torch.optim.Adam(model.parameters(), 1e-6)
    step(optimizer)
    for _ in range(options.repeats):
        note("training step", lambda: step(optimizer))
        there_and_back("swap to leaky_relu:0.1", lambda: rectifier.swap(model, "relu", "leaky_relu:0.1"))
        there_and_back("swap to prelu", lambda: rectifier.swap(model, "relu", "prelu", optimizer=optimizer))
        there_and_back("recycle", lambda: rectifier.recycle(model, optimizer, findings, batch=x))
        note("training step, again", lambda: step(optimizer))

    base = median(rows["training step"])
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("median", "fastest", "slowest", "÷ step"):
        table.add_column(name, justify="right")
    order = ["training step", "training step, again", *(name for name in rows if not name.startswith("training"))]
    for name in order:
        values = rows[name]
        shown = [f"{value * 1e3:,.1f} ms" for value in (median(values), min(values), max(values))]
        table.add_row(name, *shown, f"{median(values) / base:.3g}")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    dead = sum(len(finding.units) for finding in findings)
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{options.threads} thread(s)"
    console = Console(width=100)
    console.print(
        f"{parameters / 1e6:.1f} M parameters, {options.depth} hidden layers of {options.width}, "
        f"batch {options.batch}, {dead:,} dead units; torch {torch.__version__}, "
        f"Python {platform.python_version()}, {where}; {options.repeats} times each"
    )
    console.print(table)


if __name__ == "__main__":
    main()
