"""The table: every elementwise activation of `torch.nn`, and squared ReLU."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from rectifier.catalogue.activation import Activation
from rectifier.catalogue.moments import (
    RRELU_SLOPE,
    SELU_ALPHA,
    SELU_SCALE,
    constant,
    even_moments,
    exponential_side,
    hard_shrink_moment,
    hard_sigmoid_moment,
    hard_swish_moment,
    leaky_moment,
    soft_shrink_moment,
    softplus_moment,
    threshold_moment,
    upper,
)

_ROWS = (
    Activation(
        "relu", "max(0, z)", "1 if z > 0 else 0", "z ≤ 0", 0.0, 0.0,
        signed=False, smooth=False, monotone=True, parameter=None, default=None,
        module="ReLU", function="relu", paper="Nair & Hinton 2010, ICML",
        _second_moment=constant(0.5),
    ),
    Activation(
        "leaky_relu", "z if z > 0 else negative_slope·z", "1 if z > 0 else negative_slope",
        "nowhere (z ≤ 0 if negative_slope is 0)", None, 0.0,
        signed=True, smooth=False, monotone=True, parameter="negative_slope", default=0.01,
        module="LeakyReLU", function="leaky_relu", paper="Maas, Hannun & Ng 2013, ICML workshop",
        _second_moment=leaky_moment,
    ),
    Activation(
        "prelu", "z if z > 0 else a·z, a learned", "1 if z > 0 else a; in a: 0 if z > 0 else z",
        "nowhere (z ≤ 0 where a has become 0)", None, 0.0,
        signed=True, smooth=False, monotone=True, parameter="init", default=0.25,
        module="PReLU", function="prelu", paper="He et al. 2015, arXiv:1502.01852",
        _second_moment=leaky_moment,
    ),
    Activation(
        "rrelu", "z if z > 0 else a·z, a ~ U(1/8, 1/3) in training, 11/48 in evaluation", "1 if z > 0 else a",
        "nowhere", None, 0.0,
        signed=True, smooth=False, monotone=True, parameter=None, default=None,
        module="RReLU", function="rrelu", paper="Xu et al. 2015, arXiv:1505.00853 (there 1/5.5, not 11/48)",
        _second_moment=constant(leaky_moment(RRELU_SLOPE)),
    ),
    Activation(
        "elu", "z if z > 0 else alpha·(exp(z) − 1)", "1 if z > 0 else alpha·exp(z)",
        "nowhere (tends to 0 as z → −∞)", None, 0.0,
        signed=True, smooth=True, monotone=True, parameter="alpha", default=1.0,
        module="ELU", function="elu", paper="Clevert, Unterthiner & Hochreiter 2016, arXiv:1511.07289",
        _second_moment=lambda alpha: 0.5 + alpha**2 * exponential_side(1.0),
    ),
    Activation(
        "celu", "z if z > 0 else alpha·(exp(z/alpha) − 1)", "1 if z > 0 else exp(z/alpha)",
        "nowhere (tends to 0 as z → −∞)", None, 0.0,
        signed=True, smooth=True, monotone=True, parameter="alpha", default=1.0,
        module="CELU", function="celu", paper="Barron 2017, arXiv:1704.07483",
        _second_moment=lambda alpha: 0.5 + alpha**2 * exponential_side(1 / alpha),
    ),
    Activation(
        "selu", "1.0507·(z if z > 0 else 1.6733·(exp(z) − 1))", "1.0507 if z > 0 else 1.7581·exp(z)",
        "nowhere (tends to 0 as z → −∞)", None, 0.0,
        signed=True, smooth=False, monotone=True, parameter=None, default=None,
        module="SELU", function="selu", paper="Klambauer et al. 2017, arXiv:1706.02515",
        _second_moment=lambda _: SELU_SCALE**2 * (0.5 + SELU_ALPHA**2 * exponential_side(1.0)),
    ),
    Activation(
        "relu6", "min(max(0, z), 6)", "1 if 0 < z < 6 else 0", "z ≤ 0 and z ≥ 6", 0.0, 0.0,
        signed=False, smooth=False, monotone=True, parameter=None, default=None,
        module="ReLU6", function="relu6", paper="Krizhevsky 2010, Convolutional DBNs on CIFAR-10",
        _second_moment=lambda _: even_moments(6)[1] / 2 + 36 * upper(6),
    ),
    Activation(
        "relu_squared", "max(0, z)²", "2·max(0, z)", "z ≤ 0", 0.0, 0.0,
        signed=False, smooth=True, monotone=True, parameter=None, default=None,
        module=None, function=None, paper="So et al. 2021 (Primer), arXiv:2109.08668",
        aliases=("relu2", "squared_relu"),
        _second_moment=constant(1.5),
    ),
    Activation(
        "gelu", "z·Φ(z)", "Φ(z) + z·φ(z)", "only at z ≈ −0.7518", None, 0.0,
        signed=True, smooth=True, monotone=False, parameter=None, default=None,
        module="GELU", function="gelu", paper="Hendrycks & Gimpel 2016, arXiv:1606.08415",
        aliases=("gelu_python",),
        _second_moment=constant(1 / 3 + 1 / (2 * math.pi * math.sqrt(3))),
    ),
    Activation(
        "gelu_tanh", "z/2·(1 + t), t = tanh(√(2/π)·(z + 0.044715·z³))",
        "(1 + t)/2 + z/2·(1 − t²)·√(2/π)·(1 + 0.134145·z²)", "only at z ≈ −0.7525", None, 0.0,
        signed=True, smooth=True, monotone=False, parameter=None, default=None,
        module="GELU", function="gelu", paper="Hendrycks & Gimpel 2016, arXiv:1606.08415",
        aliases=("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"),
        _second_moment=constant(0.42519371103309944),
    ),
    Activation(
        "silu", "z·σ(z)", "σ(z)·(1 + z·(1 − σ(z)))", "only at z ≈ −1.2785", None, 0.0,
        signed=True, smooth=True, monotone=False, parameter=None, default=None,
        module="SiLU", function="silu", paper="Elfwing, Uchibe & Doya 2017, arXiv:1702.03118",
        aliases=("swish",),
        _second_moment=constant(0.35577551981735217),
    ),
    Activation(
        "mish", "z·tanh(softplus(z))", "t + z·σ(z)·(1 − t²), t = tanh(softplus(z))", "only at z ≈ −1.1924",
        None, 0.0,
        signed=True, smooth=True, monotone=False, parameter=None, default=None,
        module="Mish", function="mish", paper="Misra 2019, arXiv:1908.08681",
        _second_moment=constant(0.45234219237588275),
    ),
    Activation(
        "hardswish", "z·min(max(0, z + 3), 6)/6", "0 if z ≤ −3, 1 if z ≥ 3, else z/3 + 1/2",
        "z ≤ −3 and z = −1.5", -3.0, 0.0,
        signed=True, smooth=False, monotone=False, parameter=None, default=None,
        module="Hardswish", function="hardswish", paper="Howard et al. 2019, arXiv:1905.02244",
        _second_moment=hard_swish_moment,
    ),
    Activation(
        "softplus", "log(1 + exp(beta·z))/beta", "σ(beta·z)", "nowhere (tends to 0 as z → −∞)",
        None, math.log(2),
        signed=False, smooth=True, monotone=True, parameter="beta", default=1.0,
        module="Softplus", function="softplus", paper="Dugas et al. 2001, NIPS",
        _second_moment=softplus_moment,
    ),
    Activation(
        "tanh", "tanh(z)", "1 − tanh(z)²", "nowhere (tends to 0 as |z| → ∞)", None, 0.0,
        signed=True, smooth=True, monotone=True, parameter=None, default=None,
        module="Tanh", function="tanh", paper="LeCun et al. 1998, Efficient BackProp",
        _second_moment=constant(0.39429449039784115),
    ),
    Activation(
        "sigmoid", "σ(z) = 1/(1 + exp(−z))", "σ(z)·(1 − σ(z))", "nowhere (tends to 0 as |z| → ∞)", None, 0.5,
        signed=False, smooth=True, monotone=True, parameter=None, default=None,
        module="Sigmoid", function="sigmoid", paper="Rumelhart, Hinton & Williams 1986, Nature",
        aliases=("logistic",),
        _second_moment=constant(0.29337903585809294),
    ),
    Activation(
        "hardtanh", "min(max(−1, z), 1)", "1 if −1 < z < 1 else 0", "z ≤ −1 and z ≥ 1", -1.0, 0.0,
        signed=True, smooth=False, monotone=True, parameter=None, default=None,
        module="Hardtanh", function="hardtanh", paper="Collobert 2004, Large Scale Machine Learning (thesis)",
        _second_moment=lambda _: even_moments(1)[1] + 2 * upper(1),
    ),
    Activation(
        "hardsigmoid", "min(max(0, z + 3), 6)/6", "1/6 if −3 < z < 3 else 0", "z ≤ −3 and z ≥ 3", -3.0, 0.5,
        signed=False, smooth=False, monotone=True, parameter=None, default=None,
        module="Hardsigmoid", function="hardsigmoid", paper="Howard et al. 2019, arXiv:1905.02244",
        _second_moment=hard_sigmoid_moment,
    ),
    Activation(
        "logsigmoid", "log σ(z) = −log(1 + exp(−z))", "1 − σ(z)", "nowhere (tends to 0 as z → +∞)",
        None, -math.log(2),
        signed=True, smooth=True, monotone=True, parameter=None, default=None,
        module="LogSigmoid", function="logsigmoid", paper="no single source (logarithm of the logistic)",
        _second_moment=lambda _: softplus_moment(1.0),
    ),
    Activation(
        "softsign", "z/(1 + |z|)", "1/(1 + |z|)²", "nowhere (tends to 0 as |z| → ∞)", None, 0.0,
        signed=True, smooth=True, monotone=True, parameter=None, default=None,
        module="Softsign", function="softsign", paper="Bergstra et al. 2009; Glorot & Bengio 2010, AISTATS",
        _second_moment=constant(0.1830140212665475),
    ),
    Activation(
        "softshrink", "z − lambd if z > lambd, z + lambd if z < −lambd, else 0", "1 if |z| > lambd else 0",
        "|z| ≤ lambd", None, 0.0,
        signed=True, smooth=False, monotone=True, parameter="lambd", default=0.5,
        module="Softshrink", function="softshrink", paper="Donoho & Johnstone 1994, Biometrika 81",
        _second_moment=soft_shrink_moment,
    ),
    Activation(
        "hardshrink", "z if |z| > lambd else 0", "1 if |z| > lambd else 0", "|z| ≤ lambd", None, 0.0,
        signed=True, smooth=False, monotone=True, parameter="lambd", default=0.5,
        module="Hardshrink", function="hardshrink", paper="Donoho & Johnstone 1994, Biometrika 81",
        _second_moment=hard_shrink_moment,
    ),
    Activation(
        "tanhshrink", "z − tanh(z)", "tanh(z)²", "only at z = 0", None, 0.0,
        signed=True, smooth=True, monotone=True, parameter=None, default=None,
        module="Tanhshrink", function="tanhshrink", paper="no single source",
        _second_moment=constant(0.18288347119352352),
    ),
    Activation(
        "threshold", "z if z > threshold else 0 (torch's value is 0 here)", "1 if z > threshold else 0",
        "z ≤ threshold", 0.0, 0.0,
        signed=False, smooth=False, monotone=True, parameter="threshold", default=0.0,
        module="Threshold", function="threshold",
        paper="Konda, Memisevic & Krueger 2014, arXiv:1402.3337 (truncated rectifier)",
        _second_moment=threshold_moment,
    ),
)  # fmt: skip

CATALOGUE: Mapping[str, Activation] = MappingProxyType({row.name: row for row in _ROWS})
"""Every activation by name, in the order of the table."""
