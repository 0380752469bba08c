"""How often a deep, narrow ReLU network is born dead, and that a leaky one never is."""

import math
from collections.abc import Sequence

import torch

from rectifier.activations import function_for
from rectifier.catalogue import Choice, parse
from rectifier.diagnosis.training.units.born import line_probability, one_input_probability
from rectifier.reproduce.result import Progress, Result
from rectifier.reproduce.row import Known, Measured, Rate, exactly

DEPTHS = (2, 3, 4, 5, 9, 20)
GAUSSIAN = {
    1: (0.5, 0.75, 0.875, 0.9375, 0.99609, 1.0),
    2: (0.15625, 0.34015, 0.49772, 0.62130, 0.87984, 0.99492),
    3: (0.04297, 0.11851, 0.20626, 0.29424, 0.57858, 0.90279),
    4: (0.01123, 0.03677, 0.07266, 0.11458, 0.29440, 0.64996),
    5: (0.00287, 0.01085, 0.02378, 0.04060, 0.12832, 0.37533),
    10: (0.0, 0.00002, 0.00009, 0.00021, 0.00130, 0.00782),
}
"""P(born dead) by width, at the depths above: one-dimensional input of both signs, Gaussian weights, zero bias."""

TABLE_ERROR = 1e-4
RAYS = ((2,) * 5, (3, 2, 4), (5,) * 20)
BOUNDED = ((2, 9), (3, 9), (5, 20))
_CHUNK = 20_000


def two_layers(width: int) -> float:
    """P(born dead) with two hidden layers and inputs of both signs: 3·4^(−N) − 2·8^(−N)."""
    return 3 * 4.0**-width - 2 * 8.0**-width


def count_dead(
    choice: Choice, widths: Sequence[int], *, both_signs: bool, networks: int, generator: torch.Generator
) -> list[int]:
    """Of so many random networks, those silent on all of the data after each hidden layer.

    Without biases a layer is positively homogeneous, so the inputs 1 and −1 stand for every number of their sign.
    """
    activation = function_for(choice)
    inputs = torch.tensor([[1.0], [-1.0]] if both_signs else [[1.0]])
    dead = [0] * len(widths)
    for start in range(0, networks, _CHUNK):
        size = min(_CHUNK, networks - start)
        hidden = inputs.expand(size, -1, -1)
        for layer, width in enumerate(widths):
            fan_in = hidden.shape[2]
            weights = torch.randn(size, fan_in, width, generator=generator) * (choice.gain / math.sqrt(fan_in))
            hidden = activation(hidden @ weights)
            dead[layer] += int((hidden == 0).flatten(1).all(1).sum())
    return dead


def measure(seed: int, progress: Progress, *, networks: int = 100_000) -> list[Measured]:
    """Draw networks and count."""
    generator = torch.Generator().manual_seed(seed)
    relu, leaky = parse("relu"), parse("leaky_relu:0.01")
    rows = []
    for widths in RAYS:
        count = count_dead(relu, widths, both_signs=False, networks=networks, generator=generator)[-1]
        rows.append(
            Measured(
                f"one input, widths {_listed(widths)}", exactly(one_input_probability(widths)), Rate(count, networks)
            )
        )
    for number, (width, table) in enumerate(GAUSSIAN.items()):
        dead = count_dead(relu, [width] * DEPTHS[-1], both_signs=True, networks=networks, generator=generator)
        for depth, probability in zip(DEPTHS, table, strict=True):
            known = exactly(two_layers(width)) if depth == 2 else exactly(probability, TABLE_ERROR)
            rows.append(Measured(f"{depth} hidden layers × {width}", known, Rate(dead[depth - 1], networks)))
        for depth in [depth for bounded, depth in BOUNDED if bounded == width]:
            known = Known(*line_probability(width, depth), "published")
            rows.append(Measured(f"{depth} × {width}, its bounds", known, Rate(dead[depth - 1], networks)))
        progress((number + 1) / (len(GAUSSIAN) + 1))
    count = count_dead(leaky, [2] * DEPTHS[-1], both_signs=True, networks=networks, generator=generator)[-1]
    rows.append(Measured("20 × 2, Leaky ReLU of slope .01", exactly(0.0), Rate(count, networks)))
    return rows


def _listed(widths: Sequence[int]) -> str:
    return f"{len(widths)} × {widths[0]}" if len(set(widths)) == 1 else ", ".join(map(str, widths))


RESULT = Result(
    name="born-dead",
    title="Deep, narrow ReLU networks are born dead at a known rate; Leaky ReLU networks never",
    source="proved for Gaussian weights and zero biases; bounds: Lu, Shin, Su & Karniadakis 2019, arXiv:1903.06733",
    setting="100,000 random networks a row; dead = silent on all inputs in some hidden layer (inputs of both signs "
    "unless one input is said); the table is known to ±0.0001",
    measure=measure,
)
