"""What a random layer does to the size of a signal, forward and backward."""

import math

import torch
from torch import Tensor

from rectifier.activations import function_for
from rectifier.catalogue import Choice, parse
from rectifier.reproduce.result import Progress, Result
from rectifier.reproduce.row import Measured, exactly, mean_of

_CHUNK = 500


def kappa(slope: float) -> float:
    """κ = 6(1+a⁴)/(1+a²)² − 1, so that E[(|h_H|²/|h_0|²)²] = ∏(1 + κ/N_l) at He's gain.

    Example:
        >>> kappa(0.0), kappa(1.0)
        (5.0, 2.0)
    """
    return 6 * (1 + slope**4) / (1 + slope**2) ** 2 - 1


def he_ratios(choice: Choice, *, width: int, layers: int, networks: int, generator: torch.Generator) -> Tensor:
    """(networks,) |h_H|²/|h_0|² of Gaussian weights with variance gain²/fan-in and zero biases."""
    activation = function_for(choice)
    found = []
    for start in range(0, networks, _CHUNK):
        size = min(_CHUNK, networks - start)
        hidden = first = torch.randn(size, 1, width, generator=generator)
        for _ in range(layers):
            weights = torch.randn(size, width, width, generator=generator) * (choice.gain / math.sqrt(width))
            hidden = activation(torch.bmm(hidden, weights))
        found.append(hidden.double().square().sum((1, 2)) / first.double().square().sum((1, 2)))
    return torch.cat(found)


def default_layers(width: int, layers: int, networks: int) -> list[list[torch.nn.Linear]]:
    """`torch.nn.Linear` as it comes, from the global random stream."""
    return [[torch.nn.Linear(width, width) for _ in range(layers)] for _ in range(networks)]


def default_ratios(choice: Choice, networks: list[list[torch.nn.Linear]], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Forward |h_H|²/|h_0|² without the biases, and backward |δ_1|²/|δ_H|² with them, of default layers.

    Args:
        choice: The activation.
        networks: Layers of each network.
        inputs: (networks, 1, width)
    """
    activation = function_for(choice)
    columns = list(zip(*networks, strict=True))
    weights = [torch.stack([layer.weight.detach().T for layer in column]) for column in columns]
    biases = [torch.stack([layer.bias.detach() for layer in column]).unsqueeze(1) for column in columns]
    hidden = inputs
    for weight in weights:
        hidden = activation(torch.bmm(hidden, weight))
    forward = hidden.double().square().sum((1, 2)) / inputs.double().square().sum((1, 2))
    hidden, before = inputs, []
    for weight, bias in zip(weights, biases, strict=True):
        before.append(torch.baddbmm(bias, hidden, weight).requires_grad_())
        hidden = activation(before[-1])
    # A random readout: any direction of the loss's gradient is as likely as its opposite.
    deltas = torch.autograd.grad((hidden * torch.randn_like(hidden)).sum(), before)
    sizes = [delta.double().square().sum((1, 2)) for delta in (deltas[0], deltas[-1])]
    return forward, sizes[0] / sizes[1]


def measure(seed: int, progress: Progress, *, networks: int = 10_000, default_networks: int = 1_000) -> list[Measured]:
    """Send one signal through each of many random networks."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    width, layers = 64, 5
    for number, spec in enumerate(("relu", "leaky_relu:0.2", "leaky_relu:1.0")):
        choice = parse(spec)
        ratios = he_ratios(choice, width=width, layers=layers, networks=networks, generator=generator)
        label = f"{_name(choice)}, He's gain, {layers} × {width}"
        second = (1 + kappa(choice.parameter or 0.0) / width) ** layers
        rows.append(Measured(f"{label}: mean of |h|² out / in", exactly(1.0), mean_of(ratios)))
        rows.append(Measured(f"{label}: mean of its square", exactly(second), mean_of(ratios.square())))
        progress((number + 1) / 6)
    layers, width = 10, 128
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for number, spec in enumerate(("relu", "leaky_relu:0.01", "leaky_relu:0.3")):
            choice = parse(spec)
            factor = (1 + (choice.parameter or 0.0) ** 2) / 6
            parts = []
            for start in range(0, default_networks, 100):
                chunk = default_layers(width, layers, min(100, default_networks - start))
                parts.append(default_ratios(choice, chunk, torch.randn(len(chunk), 1, width)))
            forward, backward = (torch.cat(part) for part in zip(*parts, strict=True))
            label = f"{_name(choice)}, torch's default, {layers} × {width}"
            rows.append(Measured(f"{label}: |h|² out / in, no biases", exactly(factor**layers), mean_of(forward)))
            # δ at the first and at the last layer are layers − 1 factors apart.
            known = exactly(factor ** (layers - 1))
            rows.append(Measured(f"{label}: |δ|² first / last", known, mean_of(backward)))
            progress((number + 4) / 6)
    return rows


def _name(choice: Choice) -> str:
    if choice.parameter == 1.0:
        return "linear"
    return "ReLU" if choice.parameter is None else f"slope {choice.parameter:g}"


RESULT = Result(
    name="propagation",
    title="A layer multiplies the mean square of signal and gradient by σ²(1+a²)/2; slope .01 does not change that",
    source="proved; the gain: He et al. 2015, arXiv:1502.01852",
    setting="10,000 networks of 5 × 64 with Gaussian weights, and 1,000 of 10 × 128 as torch.nn.Linear initialises "
    "them, one random input each; δ from a random readout",
    measure=measure,
    limit="Slope .01 brings a signal no further than ReLU does: the factor of a layer changes from 1 to 1.0001.",
)
