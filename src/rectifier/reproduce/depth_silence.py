"""Depth alone silences units: nothing is trained."""

import math

import torch
from torch import Tensor

from rectifier.activations import function_for
from rectifier.catalogue import parse
from rectifier.datasets import fashion_mnist
from rectifier.reproduce.result import Progress, Result
from rectifier.reproduce.row import Known, Measured, mean_of

LAYERS = (1, 5, 10, 20, 30)
NEVER = {"relu": (0.0, 0.055, 0.207, 0.246, 0.336), "leaky_relu:0.01": (0.0, 0.035, 0.109, 0.277, 0.316)}
WIDTH, IMAGES = 256, 1_000


def never_active(inputs: Tensor, spec: str, *, width: int, layers: int, generator: torch.Generator) -> Tensor:
    """(layers,) share of the units with z ≤ 0 on all of the inputs, in one He-initialised network."""
    choice = parse(spec)
    activation = function_for(choice)
    hidden, shares = inputs, []
    for _ in range(layers):
        fan_in = hidden.shape[1]
        z = hidden @ (torch.randn(fan_in, width, generator=generator) * (choice.gain / math.sqrt(fan_in)))
        shares.append((z <= 0).all(0).double().mean())
        hidden = activation(z)
    return torch.stack(shares)


def measure(seed: int, progress: Progress, *, networks: int = 60) -> list[Measured]:
    """Draw networks and send the images through."""
    images = torch.from_numpy(fashion_mnist(train=IMAGES, test=1).train_inputs)
    inputs = (images - images.mean()) / images.std()
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for arm, (spec, known) in enumerate(NEVER.items()):
        shares = []
        for number in range(networks):
            shares.append(never_active(inputs, spec, width=WIDTH, layers=LAYERS[-1], generator=generator))
            progress((arm + (number + 1) / networks) / len(NEVER))
        found = torch.stack(shares).numpy()
        for layer, value in zip(LAYERS, known, strict=True):
            name = "ReLU" if spec == "relu" else "slope .01"
            row = Known(value, value, "measured", 1)
            rows.append(Measured(f"{name}, layer {layer}: never active", row, mean_of(found[:, layer - 1])))
    return rows


RESULT = Result(
    name="depth-silence",
    title="Depth alone makes units silent, with slope .01 as with ReLU",
    source="an earlier measurement of our own, one network an arm, whose shares scatter by about .03 as ours do",
    setting="60 He-initialised networks of 30 × 256 units, zero biases, 1,000 standardised images of Fashion-MNIST",
    measure=measure,
    limit="In a deep network at its initialisation as many units are never active with slope .01 as with ReLU; it "
    "gives them a gradient, and hardly a part in the output.",
)
