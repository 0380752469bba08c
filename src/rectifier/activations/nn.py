"""The family as modules, drop-in for `torch.nn`: same arguments, same `state_dict`, torch's class wherever it is best.

`LeakyReLU`, `ELU`, `CELU`, `SELU` and `PReLU` are subclasses of torch's that call Rectifier's functions.
"""

import torch
from torch import Tensor
from torch.nn import GELU as GELU
from torch.nn import Hardshrink as Hardshrink
from torch.nn import Hardsigmoid as Hardsigmoid
from torch.nn import Hardswish as Hardswish
from torch.nn import Hardtanh as Hardtanh
from torch.nn import Identity as Identity
from torch.nn import LogSigmoid as LogSigmoid
from torch.nn import Mish as Mish
from torch.nn import ReLU as ReLU
from torch.nn import ReLU6 as ReLU6
from torch.nn import RReLU as RReLU
from torch.nn import Sigmoid as Sigmoid
from torch.nn import SiLU as SiLU
from torch.nn import Softplus as Softplus
from torch.nn import Softshrink as Softshrink
from torch.nn import Softsign as Softsign
from torch.nn import Tanh as Tanh
from torch.nn import Tanhshrink as Tanhshrink
from torch.nn import Threshold as Threshold

from rectifier.activations import functional
from rectifier.activations.relatives import GELU10 as GELU10
from rectifier.activations.relatives import Laplace as Laplace
from rectifier.activations.relatives import QuickGELU as QuickGELU
from rectifier.activations.relatives import ReLUSquared as ReLUSquared
from rectifier.activations.relatives import SqrtSoftplus as SqrtSoftplus
from rectifier.activations.surrogate_gradient import SurrogateGradientReLU as SurrogateGradientReLU

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GELU10",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "Laplace",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "PReLU",
    "QuickGELU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "ReLUSquared",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softshrink",
    "Softsign",
    "SqrtSoftplus",
    "SurrogateGradientReLU",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]  # fmt: skip


class LeakyReLU(torch.nn.LeakyReLU):
    """`torch.nn.LeakyReLU` that keeps only its output for backward; see `functional.leaky_relu` for the warning.

    Example:
        >>> LeakyReLU(0.1)(torch.tensor([-2.0, 3.0]))
        tensor([-0.2000,  3.0000])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return functional.leaky_relu(input, self.negative_slope, self.inplace)


class ELU(torch.nn.ELU):
    """`torch.nn.ELU` that keeps only its output for backward; see `functional.elu` for the warning.

    Example:
        >>> ELU()(torch.tensor([-2.0, 3.0]))
        tensor([-0.8647,  3.0000])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return functional.elu(input, self.alpha, self.inplace)


class CELU(torch.nn.CELU):
    """`torch.nn.CELU` that keeps only its output for backward; see `functional.elu` for the warning.

    Example:
        >>> CELU(2.0)(torch.tensor([-2.0, 3.0]))
        tensor([-1.2642,  3.0000])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return functional.celu(input, self.alpha, self.inplace)


class SELU(torch.nn.SELU):
    """`torch.nn.SELU` that keeps only its output for backward; see `functional.elu` for the warning.

    Example:
        >>> SELU()(torch.tensor([-2.0, 3.0]))
        tensor([-1.5202,  3.1521])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return functional.selu(input, self.inplace)


class PReLU(torch.nn.PReLU):
    """`torch.nn.PReLU` with a backward that does not materialise the slopes' gradient.

    Warning:
        Weight decay pulls the slopes to 0, which is ReLU; leave `weight` out of it.

    Note:
        `functional.compile_prelu` makes it faster on CPUs, where there is a C compiler.

    Args:
        num_parameters: 1, or the size of dimension 1 of the input.
        init: Every slope at the start.
        device: Device of the slopes.
        dtype: Dtype of the slopes, the input's.

    Raises:
        RuntimeError: In forward, the slopes do not fit the input; the text names the call to write instead.

    Example:
        >>> PReLU()(torch.tensor([-2.0, 3.0]))
        tensor([-0.5000,  3.0000], grad_fn=<PreluKernelBackward0>)

    Source: He et al. 2015, arXiv:1502.01852, section 2.1.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return functional.prelu(input, self.weight)
