"""Formulas that torch has no function for, and whose names transformers' users write in configurations."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_LAPLACE_MEAN, _LAPLACE_DEVIATION = 0.707107, 0.282095


def relu_squared(input: Tensor, inplace: bool = False) -> Tensor:  # noqa: A002
    """Apply squared ReLU, `max(0, z)²`; torch has none.

    Args:
        input: A tensor of any shape.
        inplace: Overwrite the input with max(0, z) on the way; the result is another tensor.

    Returns:
        A tensor of the input's shape, dtype and memory format.

    Raises:
        TypeError: The input is not a tensor.

    Example:
        >>> relu_squared(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0., 0., 9.])

    Source: So et al. 2021, arXiv:2109.08668, section 4.
    """
    return F.relu(input, inplace).square()


def quick_gelu(input: Tensor) -> Tensor:  # noqa: A002
    """Apply the logistic approximation of GELU, `z·σ(1.702·z)`.

    Warning:
        It is up to 0.02 away from `gelu`; a network trained with one is not evaluated with the other.

    Args:
        input: A floating-point tensor of any shape.

    Returns:
        A tensor of the input's shape and dtype.

    Example:
        >>> quick_gelu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.0643,  0.0000,  2.9819])

    Source: Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2.
    """
    return input * torch.sigmoid(1.702 * input)


def gelu_10(input: Tensor) -> Tensor:  # noqa: A002
    """Apply GELU clipped for quantisation, `min(z·Φ(z), 10)`.

    Args:
        input: A floating-point tensor of any shape.

    Returns:
        A tensor of the input's shape and dtype.

    Example:
        >>> gelu_10(torch.tensor([-2.0, 0.0, 30.0]))
        tensor([-0.0455,  0.0000, 10.0000])

    Source: Wu et al. 2020, arXiv:2004.09602, section 6.
    """
    return F.gelu(input).clamp(-10, 10)


def laplace(input: Tensor) -> Tensor:  # noqa: A002
    """Apply the bounded stand-in for squared ReLU, `Φ((z − 0.707107)/0.282095)`.

    Args:
        input: A floating-point tensor of any shape.

    Returns:
        A tensor of the input's shape and dtype.

    Example:
        >>> laplace(torch.tensor([-2.0, 0.0, 0.707107, 3.0]))
        tensor([0.0000, 0.0061, 0.5000, 1.0000])

    Source: Ma et al. 2022, arXiv:2209.10655, section 3.3.
    """
    return 0.5 * (1.0 + torch.erf((input - _LAPLACE_MEAN) / (_LAPLACE_DEVIATION * math.sqrt(2.0))))


def sqrt_softplus(input: Tensor) -> Tensor:  # noqa: A002
    """Apply `√log(1 + exp(z))`, the scores of a router between experts.

    Warning:
        Far below 0, from about −104 in float32, softplus underflows to 0, where the gradient becomes NaN.

    Args:
        input: A floating-point tensor of any shape.

    Returns:
        A tensor of the input's shape and dtype.

    Example:
        >>> sqrt_softplus(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([0.3563, 0.8326, 1.7460])

    Source: transformers 5.23, `SqrtSoftplusActivation`.
    """
    return F.softplus(input).sqrt()


class ReLUSquared(torch.nn.Module):
    """Squared ReLU, `max(0, z)²`; torch has none.

    Args:
        inplace: Overwrite the input with max(0, z) on the way.

    Example:
        >>> ReLUSquared()(torch.tensor([-2.0, 3.0]))
        tensor([0., 9.])

    Source: So et al. 2021, arXiv:2109.08668, section 4.
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return relu_squared(input, self.inplace)

    def extra_repr(self) -> str:  # noqa: D102
        return "inplace=True" if self.inplace else ""


class QuickGELU(torch.nn.Module):
    """`z·σ(1.702·z)`; see `functional.quick_gelu`.

    Example:
        >>> QuickGELU()(torch.tensor([-2.0, 3.0]))
        tensor([-0.0643,  2.9819])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return quick_gelu(input)


class GELU10(torch.nn.Module):
    """`min(z·Φ(z), 10)`; see `functional.gelu_10`.

    Example:
        >>> GELU10()(torch.tensor([-2.0, 30.0]))
        tensor([-0.0455, 10.0000])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return gelu_10(input)


class Laplace(torch.nn.Module):
    """`Φ((z − 0.707107)/0.282095)`; see `functional.laplace`.

    Example:
        >>> Laplace()(torch.tensor([0.0, 3.0]))
        tensor([0.0061, 1.0000])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return laplace(input)


class SqrtSoftplus(torch.nn.Module):
    """`√log(1 + exp(z))`; see `functional.sqrt_softplus` for the warning.

    Example:
        >>> SqrtSoftplus()(torch.tensor([-2.0, 3.0]))
        tensor([0.3563, 1.7460])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return sqrt_softplus(input)
