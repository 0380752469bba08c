"""Deep, narrow networks that collapse to a constant when they are trained."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rectifier.catalogue import parse
from rectifier.comparison.models.draws import Recipe, batches, draws_for
from rectifier.comparison.models.ensemble import outputs, train
from rectifier.comparison.models.observed import Network, stacked_mlps
from rectifier.reproduce.born_dead import GAUSSIAN, TABLE_ERROR
from rectifier.reproduce.result import Progress, Result
from rectifier.reproduce.row import Known, Measured, Rate, exactly

POINTS, BATCH, LEARNING_RATE = 3_000, 128, 1e-3
REACH = math.sqrt(3)
COLLAPSED = 1e-3
"""Standard deviation of the outputs over the data below which a network counts as a constant."""

USEFUL = 0.05
"""Normalised mean squared error below which a fit counts as useful."""

ARMS = ("relu", "leaky_relu:0.01")


@dataclass(frozen=True, slots=True)
class Cell:
    """One target and network, and what is known of it.

    Attributes:
        target: From (n, inputs) to (n, outputs).
        collapsed: By arm.
        useful: By arm, where it was measured.
    """

    name: str
    network: Network
    target: Callable[[Tensor], Tensor]
    networks: int
    steps: int
    collapsed: tuple[Known, Known]
    useful: tuple[Known | None, Known | None] = (None, None)


def _published(rate: float, runs: int) -> Known:
    # How many trainings the paper's share rests on is not known to us: taken to be as many as ours.
    return Known(rate, rate, "published", runs)


def _measured(rate: float, runs: int) -> Known:
    return Known(rate, rate, "measured", runs)


CELLS = (
    Cell(
        "|x|",
        Network(1, 9, 2, 1),
        torch.abs,
        500,
        1_000,
        (Known(0.9, 1.0, "published"), _measured(0.276, 500)),
        (_measured(0.03, 500), _measured(0.23, 500)),
    ),
    Cell(
        "x sin 5x",
        Network(1, 9, 2, 1),
        lambda x: x * torch.sin(5 * x),
        500,
        1_000,
        (_published(0.919, 500), _measured(0.324, 500)),
    ),
    Cell(
        "1{x>0} + 0.2 sin 5x",
        Network(1, 9, 2, 1),
        lambda x: (x > 0) + 0.2 * torch.sin(5 * x),
        500,
        1_000,
        (_published(0.938, 500), _measured(0.148, 500)),
    ),
    Cell(
        "(|x₁+x₂|, |x₁−x₂|)",
        Network(2, 19, 4, 2),
        lambda x: torch.stack([x.sum(1).abs(), (x[:, 0] - x[:, 1]).abs()], 1),
        250,
        500,
        (_published(0.768, 250), _measured(0.248, 250)),
    ),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of `n` networks were dead before the training, and collapsed or useful after it."""

    n: int
    born_dead: int
    collapsed: int
    useful: int


def run_cell(
    cell: Cell,
    arm: str,
    seed: int,
    *,
    networks: int,
    steps: int,
    progress: Callable[[float], None] = lambda done: None,
) -> Counts:
    """Train all networks of one cell at once."""
    generator = torch.Generator().manual_seed(seed)
    inputs = (torch.rand(POINTS, cell.network.inputs, generator=generator) * 2 - 1) * REACH
    targets = cell.target(inputs).float().view(POINTS, -1)
    draws = draws_for(seed, networks)
    members = stacked_mlps(cell.network, parse(arm), draws)
    dead = outputs(members.forward, inputs, networks).std(1).amax(1) == 0
    recipe = Recipe(epochs=-(-steps * BATCH // POINTS), batch_size=BATCH)
    shown = itertools.islice((chosen for _, chosen in batches(POINTS, recipe, draws)), steps)

    def loss(predicted: Tensor, chosen: Tensor) -> Tensor:
        return (predicted - targets[chosen]).square().mean((1, 2))

    optimizer = torch.optim.Adam(members.learned, lr=LEARNING_RATE, fused=True)
    train(members.forward, optimizer, inputs, shown, loss, on_step=lambda step: progress(step / steps))
    predicted = outputs(members.forward, inputs, networks)
    collapsed = predicted.std(1).amax(1) < COLLAPSED
    error = (predicted - targets).square().mean((1, 2)) / (targets - targets.mean(0)).square().mean()
    return Counts(networks, int(dead.sum()), int(collapsed.sum()), int((error < USEFUL).sum()))


def measure(seed: int, progress: Progress) -> list[Measured]:
    """Train every cell with both arms."""
    rows = []
    cells = list(itertools.product(CELLS, range(len(ARMS))))
    for number, (cell, arm) in enumerate(cells):

        def part(done: float, number: int = number) -> None:
            progress((number + done) / len(cells))

        networks = cell.networks
        counts = run_cell(cell, ARMS[arm], seed, networks=networks, steps=cell.steps, progress=part)
        layers, width = cell.network.hidden_layers + 1, cell.network.width
        label = f"{cell.name}, {layers} × {width}, {'ReLU' if arm == 0 else 'slope .01'}"
        if cell.network.inputs == 1:
            known = exactly(GAUSSIAN[2][4], TABLE_ERROR) if arm == 0 else exactly(0.0)
            rows.append(Measured(f"{label}: born dead", known, Rate(counts.born_dead, networks)))
        rows.append(Measured(f"{label}: collapsed", cell.collapsed[arm], Rate(counts.collapsed, networks)))
        rows.append(Measured(f"{label}: useful fit", cell.useful[arm], Rate(counts.useful, networks)))
    return rows


RESULT = Result(
    name="lu2019",
    title="Deep, narrow ReLU networks collapse in training; with slope .01 fewer do, and still few fit",
    source="Lu, Shin, Su & Karniadakis 2019, arXiv:1903.06733 (ReLU); slope .01 and the useful fits: earlier runs of "
    "our own",
    setting="He-normal weights, zero biases, Adam 0.001, batch 128, 3,000 points on [−√3, √3]; 500 networks × 1,000 "
    "steps a row (2-D: 250 × 500); layers count the output's; collapsed = output deviation < 0.001; useful = "
    "error < .05 of the target's variance. Points, rate and number of trainings of the original are not known to us; "
    "its shares are taken to rest on as many trainings as ours",
    measure=measure,
    limit="Slope .01 prevents most collapses of deep, narrow networks, and hardly any of those trainings fits an "
    "oscillating target usefully.",
)
