"""What recycling brings on networks that have really died.

The failures are those of `benchmarks/detection`, rebuilt on digits, each trained until it has died. Then four arms go
on from the same weights and the same optimizer state for 1,000 steps, with the same batches: nothing is done; as many
units as are dead, but any, are reset; the dead ones are reset as ReDo and continual backprop do it; they are recycled.
The cause is left as it is in one table, and taken away when the arms begin in the other: inputs divided by 255, a
thirtieth of the learning rate. Where the network was born dead no cause can be taken away after the fact.
Alive: units of all hidden layers that fire on at least one training sample. What recycling costs: treatment.py.

    python benchmarks/recycling.py [--seeds 8] [--steps 1000] [--threads 1] [--only "raw inputs"]
"""

import argparse
import copy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent / "detection"))

from data import digits
from failures import Failure, published
from plain import Plain

from rectifier._formatting import percent
from rectifier.errors import CannotRecycle
from rectifier.records import DeadUnits, Deaths, Finding, Rule, SiteRef
from rectifier.treatment import recycle

ARMS = ("nothing", "random units", "redo", "continual", "exact")
SHOWN = {"random units": "as many units at random", "exact": "recycle", "before": "before, dead"}

Measured = tuple[float, float]
"""Share of units alive, loss on all training samples."""


def cured(setting: Plain) -> Plain | None:
    """The same network with its cause taken away; None where that is not possible once it is trained."""
    if float(setting.inputs.abs().max()) > 100:
        return replace(setting, inputs=setting.inputs / setting.inputs.abs().max())
    return replace(setting, lr=setting.lr / 30) if setting.lr >= 0.03 and setting.optimizer == "adam" else None


def dead_units(model: nn.Sequential, inputs: Tensor) -> dict[int, Tensor]:
    """For each ReLU which units fire on no training sample; a pass over all data is a confirmation."""
    found = {}
    with torch.no_grad():
        for number, layer in enumerate(model):
            inputs = layer(inputs)
            if isinstance(layer, nn.ReLU):
                found[number] = inputs.amax(0) == 0
    return found


def findings(dead: dict[int, Tensor]) -> list[Finding]:
    return [
        Finding(
            rule=Rule.DEAD_UNITS,
            severity="info",
            site=SiteRef(model="Sequential", path=f"{number}"),
            units=tuple(units.nonzero().flatten().tolist()),
            evidence=DeadUnits(
                activation="relu",
                units=len(units),
                dead=int(units.sum()),
                suspected=0,
                dead_fraction=float(units.float().mean()),
                silences=int(units.sum()),
                silences_ended=0,
                deaths=Deaths(born_dead=0, died=int(units.sum()), first_observed_step=0),
            ),
        )
        for number, units in dead.items()
        if units.any()
    ]


@torch.no_grad()
def reset_random(model: nn.Sequential, dead: dict[int, Tensor], seed: int) -> None:
    """Reset as many units of each layer, drawn from all, as ReDo resets dead ones; the optimizer's state is left."""
    draws = torch.Generator().manual_seed(seed)
    for number, units in dead.items():
        chosen = torch.randperm(len(units), generator=draws)[: int(units.sum())]
        layer = model[number - 1]
        layer.weight[chosen] = (torch.rand((len(chosen), layer.in_features), generator=draws) * 2 - 1) / (
            layer.in_features**0.5
        )
        layer.bias[chosen] = 0
        if number + 1 < len(model):
            model[number + 1].weight[:, chosen] = 0


def treat(arm: str, model: nn.Sequential, optimizer: torch.optim.Optimizer, inputs: Tensor, seed: int) -> str:
    """Returns what was refused, if anything was."""
    dead = dead_units(model, inputs)
    if arm == "random units":
        reset_random(model, dead, seed)
    elif arm != "nothing" and (found := findings(dead)):
        try:
            recycle(model, optimizer, found, batch=inputs, method=arm)
        except CannotRecycle as error:
            return str(error)
    return ""


def train(model: nn.Module, optimizer: torch.optim.Optimizer, setting: Plain, seed: int, steps: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(0, len(setting.inputs), (setting.batch,), generator=draws)
        optimizer.zero_grad()
        setting.loss(model(setting.inputs[chosen]), setting.targets[chosen]).backward()
        optimizer.step()


@torch.no_grad()
def measure(model: nn.Sequential, setting: Plain) -> Measured:
    dead = torch.cat(list(dead_units(model, setting.inputs).values()))
    return 1 - float(dead.float().mean()), float(setting.loss(model(setting.inputs), setting.targets))


def run(failure: Failure, after: Plain, seed: int, steps: int) -> tuple[dict[str, Measured], set[str]]:
    """For `before` and each arm what was measured; and what was refused."""
    setting = failure.setting
    torch.manual_seed(seed)
    model = setting.network()
    optimizer = setting.optimize(model)
    train(model, optimizer, setting, seed, setting.steps)
    found, refused = {"before": measure(model, after)}, set()
    for arm in ARMS:
        own = copy.deepcopy(model)
        its = after.optimize(own)
        its.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for group in its.param_groups:
            group["lr"] = after.lr
        refused.add(treat(arm, own, its, after.inputs, seed))
        train(own, its, after, seed + 1000, steps)
        found[arm] = measure(own, after)
    return found, refused - {""}


def show(console: Console, title: str, runs: list[dict[str, Measured]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "alive", "loss", "loss, from – to", "lower loss than nothing"):
        table.add_column(name, justify="right" if name else "left")
    for arm in ("before", *ARMS):
        values = np.array([found[arm] for found in runs])
        lower = sum(found[arm][1] < found["nothing"][1] for found in runs)
        alive, loss = np.median(values, 0)
        span = f"{values[:, 1].min():.3g} – {values[:, 1].max():.3g}"
        won = "" if arm in ("before", "nothing") else f"{lower} of {len(runs)}"
        table.add_row(SHOWN.get(arm, arm), percent(alive), f"{loss:.3g}", span, won)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="Failures whose name holds this.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=110)
    for failure in published(digits(), digits()):
        if options.only not in failure.name or failure.setting.activation != "relu":
            continue
        for after, what in ((failure.setting, "cause stays"), (cured(failure.setting), "cause taken away")):
            if after is None:
                continue
            rows = [run(failure, after, seed, options.steps) for seed in range(options.seeds)]
            title = f"\n{failure.name}; {what}; medians of {options.seeds} seeds, {options.steps:,} steps on"
            show(console, title, [found for found, _ in rows])
            for reason in sorted({reason for _, reasons in rows for reason in reasons})[:3]:
                console.print(f"refused: {reason}")


if __name__ == "__main__":
    main()
