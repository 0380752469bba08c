"""ReLU with a surrogate gradient: the network computes what it did, and every unit gets a gradient."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

# The operators below torch.relu: whoever replaces or observes calls of ReLU is not led back here.
_relu = torch.ops.aten.relu.default
_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.default


class _ReLULeaky(Function):
    """Keeps its output only, as ReLU does: h > 0 exactly where z > 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, slope: float) -> Tensor:
        h: Tensor = _relu(z)
        return h

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.slope = inputs[1]

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None]:
        (h,) = ctx.saved_tensors
        return _leaky_relu_backward(delta, h, ctx.slope, True), None


def surrogate_gradient(input: Tensor, negative_slope: float = 0.01) -> Tensor:  # noqa: A002
    """Apply ReLU, bit for bit, and pass `δ·negative_slope` back where ReLU passes nothing.

    `h = max(0, z)`, `dz = δ·(1 if z > 0 else negative_slope)`.

    Warning:
        What comes back is not the derivative of what was computed, so that `torch.autograd.gradcheck` fails,
        and a step against it need not lower the loss. Forward-mode AD, which has no backward to change, raises;
        exporting and `torch.jit.trace` keep the function and lose the leak.

    Args:
        input: A floating-point tensor of any shape.
        negative_slope: Share of the gradient that passes where z ≤ 0; 0 or more, and 0 is ReLU.

    Returns:
        A tensor of the input's shape, dtype and memory format.

    Raises:
        ValueError: The slope is below 0: it would drive a silent unit the wrong way.

    Example:
        >>> z = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
        >>> h = surrogate_gradient(z, 0.1)
        >>> h.sum().backward()
        >>> h.tolist(), z.grad
        ([0.0, 0.0, 3.0], tensor([0.1000, 0.1000, 1.0000]))

    Source: Horuz et al. 2025, arXiv:2505.22074, with a smooth surrogate; a constant slope is its simplest.
    """
    if negative_slope < 0:
        raise ValueError(f"negative_slope={negative_slope} would drive a silent unit the wrong way: give 0 or more.")
    h: Tensor = _ReLULeaky.apply(input, negative_slope)  # type: ignore[no-untyped-call]
    return h


class SurrogateGradientReLU(torch.nn.Module):
    """ReLU with a surrogate gradient; see `functional.surrogate_gradient` for the warning. There is no in-place form.

    Args:
        negative_slope: Share of the gradient that passes where z ≤ 0.

    Example:
        >>> SurrogateGradientReLU(0.1)(torch.tensor([-2.0, 3.0]))
        tensor([0., 3.])
    """

    def __init__(self, negative_slope: float = 0.01):
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, D102
        return surrogate_gradient(input, self.negative_slope)

    def extra_repr(self) -> str:  # noqa: D102
        return f"negative_slope={self.negative_slope}"
