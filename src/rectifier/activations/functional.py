"""The family as functions, drop-in for `torch.nn.functional`: torch's very own wherever that is the best there is.

Ours are `leaky_relu`, `elu`, `celu`, `selu` (from a size on they keep their output for backward instead of their
input), `prelu` (its backward is faster, and `compile_prelu` makes it faster still), and those that torch does not have.
Below those sizes, and under `torch.compile`, `torch.func`, export, on other devices and for tensor subclasses, they
call torch's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.compiler import is_compiling
from torch.jit import is_scripting  # type: ignore[attr-defined]
from torch.nn.functional import elu_ as elu_
from torch.nn.functional import gelu as gelu
from torch.nn.functional import hardshrink as hardshrink
from torch.nn.functional import hardsigmoid as hardsigmoid
from torch.nn.functional import hardswish as hardswish
from torch.nn.functional import hardtanh as hardtanh
from torch.nn.functional import hardtanh_ as hardtanh_
from torch.nn.functional import leaky_relu_ as leaky_relu_
from torch.nn.functional import logsigmoid as logsigmoid
from torch.nn.functional import mish as mish
from torch.nn.functional import relu as relu
from torch.nn.functional import relu6 as relu6
from torch.nn.functional import relu_ as relu_
from torch.nn.functional import rrelu as rrelu
from torch.nn.functional import rrelu_ as rrelu_
from torch.nn.functional import sigmoid as sigmoid
from torch.nn.functional import silu as silu
from torch.nn.functional import softplus as softplus
from torch.nn.functional import softshrink as softshrink
from torch.nn.functional import softsign as softsign
from torch.nn.functional import tanh as tanh
from torch.nn.functional import tanhshrink as tanhshrink
from torch.nn.functional import threshold as threshold

from rectifier.activations import output, paths
from rectifier.activations.kernel import compile_prelu as compile_prelu
from rectifier.activations.prelu import prelu as _own_prelu
from rectifier.activations.relatives import gelu_10 as gelu_10
from rectifier.activations.relatives import laplace as laplace
from rectifier.activations.relatives import quick_gelu as quick_gelu
from rectifier.activations.relatives import relu_squared as relu_squared
from rectifier.activations.relatives import sqrt_softplus as sqrt_softplus
from rectifier.activations.surrogate_gradient import surrogate_gradient as surrogate_gradient

__all__ = [
    "celu", "celu_", "compile_prelu", "elu", "elu_", "gelu", "gelu_10", "hardshrink", "hardsigmoid", "hardswish",
    "hardtanh", "hardtanh_", "laplace", "leaky_relu", "leaky_relu_", "logsigmoid", "mish", "prelu",
    "quick_gelu", "relu", "relu6", "relu_", "relu_squared", "rrelu", "rrelu_", "selu", "selu_", "sigmoid", "silu",
    "softplus", "softshrink", "softsign", "sqrt_softplus", "surrogate_gradient", "tanh", "tanhshrink",
    "threshold", "threshold_",
]  # fmt: skip

celu_, selu_, threshold_ = F.celu_, F.selu_, torch.threshold_

# Numbers of elements from which ours are used: the first power of 2 at which benchmarks/activations.py finds them no
# slower than torch's. An autograd.Function costs 15 to 20 µs. Leaky ReLU's saves memory and no time; ELU's has won them
# back early because its backward computes no exponential; so has PReLU's, without the compiled kernel too.
LEAKY_RELU_FROM = 1 << 21
ELU_FROM = 1 << 17
PRELU_FROM = 1 << 17

_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.6732632423543772848170429916717
# ELU's derivative read off a bfloat16 output would be 0 below z = −6: those keep their input, as torch does.
_PRECISE = (torch.float32, torch.float64)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:  # noqa: A002
    """Apply Leaky ReLU, `z if z > 0 else negative_slope·z`, keeping only the output for backward.

    Warning:
        From 2,097,152 elements on, changing the *output* in place (`h += skip`) makes backward raise, as it does with
        `relu`; torch's `leaky_relu` forbids changing the *input* instead. Below, this is torch's own.

    Args:
        input: A floating-point tensor of any shape.
        negative_slope: Slope for z ≤ 0. At 0 and below, the output does not tell the sign of z; torch's is used.
        inplace: Overwrite the input; torch's own, and its own errors.

    Returns:
        A tensor of the input's shape, dtype and memory format.

    Raises:
        NotImplementedError: The input is not floating-point.

    Example:
        >>> leaky_relu(torch.tensor([-2.0, 0.0, 3.0]), 0.1)
        tensor([-0.2000,  0.0000,  3.0000])

    Source: Maas, Hannun & Ng 2013, section 3.
    """
    if is_scripting() or is_compiling():
        return F.leaky_relu(input, negative_slope, inplace)
    return _leaky_relu(input, negative_slope, inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:  # noqa: A002
    """Apply ELU, `z if z > 0 else alpha·(exp(z) − 1)`, keeping only the output for backward.

    Warning:
        From 131,072 elements on, do not change the output in place, as with `leaky_relu`. Read off the output, the
        derivative of a float32 unit is exactly 0 below z ≈ −17, where torch's is still 4e-8; `inplace=True` does the
        same in torch. In half precision that would begin at −6, so that there the input is kept.

    Args:
        input: A floating-point tensor of any shape.
        alpha: The value at −∞ is −alpha. At 0 and below torch's own is used.
        inplace: Overwrite the input; torch's own, and its own errors.

    Returns:
        A tensor of the input's shape, dtype and memory format.

    Raises:
        NotImplementedError: The input is not floating-point.

    Example:
        >>> elu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-0.8647,  0.0000,  3.0000])

    Source: Clevert, Unterthiner & Hochreiter 2016, arXiv:1511.07289, section 3.
    """
    if is_scripting() or is_compiling():
        return F.elu(input, alpha, inplace)
    return _elu(input, alpha, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:  # noqa: A002
    """Apply CELU, `z if z > 0 else alpha·(exp(z/alpha) − 1)`; the warning, arguments and errors of `elu`.

    Args:
        input: A floating-point tensor of any shape.
        alpha: Not 0; the derivative is continuous for every alpha.
        inplace: Overwrite the input; torch's own.

    Returns:
        A tensor of the input's shape, dtype and memory format.

    Raises:
        RuntimeError: alpha is 0.

    Example:
        >>> celu(torch.tensor([-2.0, 0.0, 3.0]), alpha=2.0)
        tensor([-1.2642,  0.0000,  3.0000])

    Source: Barron 2017, arXiv:1704.07483.
    """
    if is_scripting() or is_compiling():
        return F.celu(input, alpha, inplace)
    return _celu(input, alpha, inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:  # noqa: A002
    """Apply SELU, `1.0507·(z if z > 0 else 1.6733·(exp(z) − 1))`; the warning of `elu`.

    Args:
        input: A floating-point tensor of any shape.
        inplace: Overwrite the input; torch's own.

    Returns:
        A tensor of the input's shape, dtype and memory format.

    Raises:
        NotImplementedError: The input is not floating-point.

    Example:
        >>> selu(torch.tensor([-2.0, 0.0, 3.0]))
        tensor([-1.5202,  0.0000,  3.1521])

    Source: Klambauer et al. 2017, arXiv:1706.02515, equation 2.
    """
    if is_scripting() or is_compiling():
        return F.selu(input, inplace)
    return _selu(input, inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:  # noqa: A002
    """Apply PReLU, `z if z > 0 else weight·z` with learned slopes, without materialising the slopes' gradient.

    Note:
        From 131,072 elements on, the backward pass is ours: both take a fifth to three quarters of torch's time. With
        `compile_prelu`, or `RECTIFIER_COMPILE=1` in the environment, it is a tenth to a quarter at most sizes; only
        then is a C compiler called. Sums differ from torch's in the last digits.

    Args:
        input: A floating-point tensor of any shape.
        weight: One slope, or one for each entry of dimension 1 of the input; of any sign. Same dtype and device.

    Returns:
        A tensor of the input's shape, dtype and memory format.

    Raises:
        RuntimeError: The slopes' shape, dtype or device does not fit; the text names the call to write instead.

    Example:
        >>> prelu(torch.tensor([[-2.0, -2.0]]), torch.tensor([0.25, -1.0]))
        tensor([[-0.5000,  2.0000]])

    Source: He et al. 2015, arXiv:1502.01852, section 2.1.
    """
    if is_scripting() or is_compiling():
        return F.prelu(input, weight)
    return _prelu(input, weight)


def _leaky_relu(z: Tensor, slope: float, inplace: bool) -> Tensor:
    try:
        if (
            not inplace
            and paths.untraced(z)
            and z.numel() >= LEAKY_RELU_FROM
            and z.requires_grad
            and _positive(slope)
            and z.dtype in paths.FLOATING
            and paths.plain(z)
        ):
            return output.leaky_relu(z, slope)
        return F.leaky_relu(z, slope, inplace)
    except (TypeError, RuntimeError) as error:
        raise paths.explained(error, "leaky_relu", z) from None


def _elu(z: Tensor, alpha: float, inplace: bool) -> Tensor:
    try:
        if not inplace and _positive(alpha) and _keeps_exponential(z):
            return output.elu(z, alpha, 1.0, 1.0)
        return F.elu(z, alpha, inplace)
    except (TypeError, RuntimeError) as error:
        raise paths.explained(error, "elu", z) from None


def _celu(z: Tensor, alpha: float, inplace: bool) -> Tensor:
    try:
        if not inplace and _positive(alpha) and _keeps_exponential(z):
            return output.elu(z, alpha, 1.0, 1.0 / alpha)
        return F.celu(z, alpha, inplace)
    except (TypeError, RuntimeError) as error:
        raise paths.explained(error, "celu", z) from None


def _selu(z: Tensor, inplace: bool) -> Tensor:
    try:
        if not inplace and _keeps_exponential(z):
            return output.elu(z, _SELU_ALPHA, _SELU_SCALE, 1.0)
        return F.selu(z, inplace)
    except (TypeError, RuntimeError) as error:
        raise paths.explained(error, "selu", z) from None


def _positive(number: object) -> bool:
    return isinstance(number, float | int) and number > 0


def _keeps_exponential(z: Tensor) -> bool:
    return paths.untraced(z) and z.numel() >= ELU_FROM and z.requires_grad and z.dtype in _PRECISE and paths.plain(z)


def _prelu(z: Tensor, slopes: Tensor) -> Tensor:
    try:
        if (
            paths.untraced(z)
            and isinstance(slopes, Tensor)
            and z.numel() >= PRELU_FROM
            and (z.requires_grad or slopes.requires_grad)
            and z.dtype in paths.FLOATING
            and z.dtype == slopes.dtype
            and not torch.is_autocast_enabled("cpu")
            and paths.plain(z, slopes)
        ):
            return _own_prelu(z, slopes)
        return F.prelu(z, slopes)
    except (TypeError, RuntimeError) as error:
        raise paths.explained(error, "prelu", z, slopes) from None
