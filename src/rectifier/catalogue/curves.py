"""Every row's value and derivative on numpy arrays, for whoever draws or checks them without torch."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rectifier.catalogue.moments import RRELU_SLOPE, SELU_ALPHA, SELU_SCALE

Array = NDArray[Any]
Curve = Callable[[Array, float], Array]

expit: Callable[[Array], Array] = special.expit
ndtr: Callable[[Array], Array] = special.ndtr


def _density(z: Array) -> Array:
    density: Array = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return density


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _leaky(z: Array, slope: float) -> Array:
    values: Array = np.where(z > 0, z, slope * z)
    return values


def _leaky_slope(z: Array, slope: float) -> Array:
    values: Array = np.where(z > 0, 1.0, slope)
    return values


def _exponential(z: Array, alpha: float, rate: float = 1.0) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(rate * np.minimum(z, 0)))


def _exponential_slope(z: Array, alpha: float, rate: float = 1.0) -> Array:
    return np.where(z > 0, 1.0, alpha * rate * np.exp(rate * np.minimum(z, 0)))


def _gelu_slope(z: Array) -> Array:
    values: Array = ndtr(z) + z * _density(z)
    return values


def _tanh_inside(z: Array) -> Array:
    values: Array = np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))
    return values


def _gelu_tanh_slope(z: Array) -> Array:
    t = _tanh_inside(z)
    values: Array = (1 + t) / 2 + z / 2 * (1 - t**2) * math.sqrt(2 / math.pi) * (1 + 0.134145 * z**2)
    return values


def _swish_slope(z: Array, beta: float) -> Array:
    s = expit(beta * z)
    values: Array = s * (1 + beta * z * (1 - s))
    return values


def _mish_slope(z: Array) -> Array:
    t = np.tanh(_softplus(z))
    values: Array = t + z * expit(z) * (1 - t**2)
    return values


_LAPLACE = (0.707107, 0.282095)

CURVES: Mapping[str, tuple[Curve, Curve]] = {
    "relu": (lambda z, _: np.maximum(z, 0), lambda z, _: 1.0 * (z > 0)),
    "leaky_relu": (_leaky, _leaky_slope),
    "prelu": (_leaky, _leaky_slope),
    "rrelu": (lambda z, _: _leaky(z, RRELU_SLOPE), lambda z, _: _leaky_slope(z, RRELU_SLOPE)),
    "surrogate_gradient": (lambda z, _: np.maximum(z, 0), _leaky_slope),
    "elu": (_exponential, _exponential_slope),
    "celu": (
        lambda z, alpha: _exponential(z, alpha, 1 / alpha),
        lambda z, alpha: _exponential_slope(z, alpha, 1 / alpha),
    ),
    "selu": (
        lambda z, _: SELU_SCALE * _exponential(z, SELU_ALPHA),
        lambda z, _: SELU_SCALE * _exponential_slope(z, SELU_ALPHA),
    ),
    "relu6": (lambda z, _: np.clip(z, 0, 6), lambda z, _: 1.0 * ((z > 0) & (z < 6))),
    "relu_squared": (lambda z, _: np.maximum(z, 0) ** 2, lambda z, _: 2 * np.maximum(z, 0)),
    "gelu": (lambda z, _: z * ndtr(z), lambda z, _: _gelu_slope(z)),
    "gelu_tanh": (lambda z, _: z / 2 * (1 + _tanh_inside(z)), lambda z, _: _gelu_tanh_slope(z)),
    "quick_gelu": (lambda z, _: z * expit(1.702 * z), lambda z, _: _swish_slope(z, 1.702)),
    "gelu_10": (
        lambda z, _: np.minimum(z * ndtr(z), 10),
        lambda z, _: np.where(z > 10, 0, _gelu_slope(z)),
    ),
    "silu": (lambda z, _: z * expit(z), lambda z, _: _swish_slope(z, 1.0)),
    "mish": (lambda z, _: z * np.tanh(_softplus(z)), lambda z, _: _mish_slope(z)),
    "hardswish": (
        lambda z, _: z * np.clip(z + 3, 0, 6) / 6,
        lambda z, _: np.where(z <= -3, 0, np.where(z >= 3, 1, z / 3 + 0.5)),
    ),
    "softplus": (lambda z, beta: _softplus(beta * z) / beta, lambda z, beta: expit(beta * z)),
    "sqrt_softplus": (
        lambda z, _: np.sqrt(_softplus(z)),
        lambda z, _: expit(z) / (2 * np.sqrt(_softplus(z))),
    ),
    "tanh": (lambda z, _: np.tanh(z), lambda z, _: 1 - np.tanh(z) ** 2),
    "sigmoid": (lambda z, _: expit(z), lambda z, _: expit(z) * expit(-z)),
    "hardtanh": (lambda z, _: np.clip(z, -1, 1), lambda z, _: 1.0 * (np.abs(z) < 1)),
    "hardsigmoid": (lambda z, _: np.clip(z + 3, 0, 6) / 6, lambda z, _: (np.abs(z) < 3) / 6),
    "laplace": (
        lambda z, _: ndtr((z - _LAPLACE[0]) / _LAPLACE[1]),
        lambda z, _: _density((z - _LAPLACE[0]) / _LAPLACE[1]) / _LAPLACE[1],
    ),
    "logsigmoid": (lambda z, _: -_softplus(-z), lambda z, _: expit(-z)),
    "softsign": (lambda z, _: z / (1 + np.abs(z)), lambda z, _: 1 / (1 + np.abs(z)) ** 2),
    "softshrink": (
        lambda z, width: np.sign(z) * np.maximum(np.abs(z) - width, 0),
        lambda z, width: 1.0 * (np.abs(z) > width),
    ),
    "hardshrink": (
        lambda z, width: np.where(np.abs(z) > width, z, 0),
        lambda z, width: 1.0 * (np.abs(z) > width),
    ),
    "tanhshrink": (lambda z, _: z - np.tanh(z), lambda z, _: np.tanh(z) ** 2),
    "threshold": (lambda z, edge: np.where(z > edge, z, 0), lambda z, edge: 1.0 * (z > edge)),
    "identity": (lambda z, _: z + 0.0, lambda z, _: np.ones_like(z)),
}
"""`name: (f, f′)`, each of an array and the parameter (NaN where the row has none)."""
