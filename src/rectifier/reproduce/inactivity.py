"""How likely a random unit is silent on a few samples, and how alike two samples become."""

import math

import torch
from scipy.integrate import quad
from scipy.special import log_ndtr, ndtr

from rectifier.activations import function_for
from rectifier.catalogue import parse
from rectifier.reproduce.result import Progress, Result
from rectifier.reproduce.row import Measured, Rate, exactly, mean_of


def silent_on_all(samples: int, correlation: float, mean: float) -> float:
    """P(z ≤ 0 on every sample) for equicorrelated z of unit variance: ∫ φ(t) Φ((−μ − √ρ t)/√(1−ρ))^n dt.

    Example:
        >>> round(silent_on_all(4, 0.5, 0.0), 9)
        0.2
    """

    def density(t: float) -> float:
        inside = (-mean - math.sqrt(correlation) * t) / math.sqrt(1 - correlation)
        return math.exp(-t * t / 2 + samples * float(log_ndtr(inside))) / math.sqrt(2 * math.pi)

    return float(quad(density, -12, 12, epsabs=1e-12)[0])


def correlation_after(slope: float, correlation: float) -> float:
    """Correlation (about zero) of two samples after one layer: c′ = [a c + (1−a)² k(c)] / ((1+a²)/2).

    Example:
        >>> round(correlation_after(0.0, 1.0), 9), correlation_after(1.0, 0.3)
        (1.0, 0.3)
    """
    c = correlation
    k = (math.sqrt(1 - c * c) + c * (math.pi - math.acos(c))) / (2 * math.pi)
    return (slope * c + (1 - slope) ** 2 * k) / ((1 + slope**2) / 2)


def equicorrelated(samples: int, correlation: float) -> torch.Tensor:
    """(samples, samples + 1) inputs of length 1 that have this cosine with one another."""
    rows = torch.eye(samples) * math.sqrt(1 - correlation)
    return torch.cat([torch.full((samples, 1), math.sqrt(correlation)), rows], 1)


def measure(seed: int, progress: Progress, *, units: int = 400_000) -> list[Measured]:
    """Draw units with Gaussian weights and count those that are silent."""
    generator = torch.Generator().manual_seed(seed)

    def silent(inputs: torch.Tensor, bias: torch.Tensor | float = 0.0) -> Rate:
        weights = torch.randn(inputs.shape[1], units, generator=generator)
        return Rate(int((inputs @ weights + bias <= 0).all(0).sum()), units)

    rows = []
    one = torch.full((1, 7), 1 / math.sqrt(7))
    for mean in (0.5, 2.0):
        known = exactly(float(ndtr(-mean)))
        rows.append(Measured(f"one sample, mean {mean:g} standard deviations", known, silent(one, mean)))
    for degrees in (60, 135):
        angle = math.radians(degrees)
        pair = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
        rows.append(Measured(f"two samples at {degrees}°", exactly(0.5 - angle / (2 * math.pi)), silent(pair)))
    progress(0.2)
    for samples in (3, 10, 40):
        known = exactly(1 / (samples + 1))
        rows.append(Measured(f"{samples} samples, correlation ½", known, silent(equicorrelated(samples, 0.5))))
    progress(0.6)
    known = exactly(silent_on_all(20, 0.8, 0.3))
    rows.append(Measured("20 samples, correlation .8, mean .3", known, silent(equicorrelated(20, 0.8), 0.3)))
    reach, deviation = math.sqrt(3), 0.5
    ends = torch.tensor([[-reach], [reach]])
    known = exactly(math.atan(deviation / reach) / math.pi)
    bias = deviation * torch.randn(units, generator=generator)
    rows.append(Measured("all of [−√3, √3], Gaussian bias of .5", known, silent(ends, bias)))
    progress(0.8)
    for spec in ("relu", "leaky_relu:0.2"):
        choice = parse(spec)
        activation = function_for(choice)
        slope = choice.parameter or 0.0
        for cosine in (-0.5, 0.5):
            pair = torch.tensor([[1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]])
            first, second = activation(pair @ torch.randn(2, units, generator=generator))
            products = (first * second).double() / ((1 + slope**2) / 2)
            name = "ReLU" if spec == "relu" else f"slope {slope:g}"
            known = exactly(correlation_after(slope, cosine))
            rows.append(Measured(f"correlation {cosine:+g} after one {name} layer", known, mean_of(products)))
    return rows


RESULT = Result(
    name="inactivity",
    title="A random unit is silent on n samples with a known probability; layers make samples alike",
    source="proved",
    setting="400,000 units with Gaussian weights a row",
    measure=measure,
)
