"""The family as one table: a newcomer is one row."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

import rectifier.functional as rf
from rectifier.catalogue import Choice, parse

CHANNELS = 5
# Real trained networks have slopes of every kind.
SLOPES = (-0.7, 0.0, 0.25, 1.0, 1.6)


@dataclass(frozen=True)
class Member:
    """One member at one parameter.

    Attributes:
        spec: What it is in the catalogue.
        ours: Rectifier's function.
        theirs: Torch's, or the formula where torch has none.
        own_backward: Whether Rectifier has a backward of its own for it.
        inplace: The same with `inplace=True`; None where there is no such argument.
        their_inplace: Torch's likewise.
    """

    spec: str
    ours: Callable[[Tensor], Tensor]
    theirs: Callable[[Tensor], Tensor]
    own_backward: bool = False
    inplace: Callable[[Tensor], Tensor] | None = None
    their_inplace: Callable[[Tensor], Tensor] | None = None

    @property
    def function(self) -> str:
        """Its name in `rectifier.functional`."""
        return self.choice.activation.function or self.name

    @property
    def choice(self) -> Choice:
        return parse(self.spec)

    @property
    def name(self) -> str:
        return self.choice.activation.name

    def __str__(self) -> str:
        return self.spec


def row(
    spec: str, name: str, *arguments: object, own: bool = False, inplace: bool = True, **keywords: object
) -> Member:
    ours, theirs = getattr(rf, name), getattr(F, name, None) or FORMULAS[name]
    in_place = {
        "inplace": lambda z: ours(z, *arguments, inplace=True, **keywords),
        "their_inplace": lambda z: theirs(z, *arguments, inplace=True, **keywords),
    }
    return Member(
        spec, lambda z: ours(z, *arguments, **keywords), lambda z: theirs(z, *arguments, **keywords), own,
        **(in_place if inplace else {}),
    )  # fmt: skip


def squared(z: Tensor, inplace: bool = False) -> Tensor:
    return F.relu(z, inplace) * F.relu(z, inplace) if not inplace else F.relu(z, inplace).square()


FORMULAS = {
    "relu_squared": squared,
    "quick_gelu": lambda z: z * torch.sigmoid(1.702 * z),
    "gelu_10": lambda z: torch.clamp(F.gelu(z), -10, 10),
    "laplace": lambda z: 0.5 * (1 + torch.erf((z - 0.707107) / (0.282095 * 2**0.5))),
    "sqrt_softplus": lambda z: F.softplus(z).sqrt(),
}


def prelu(slope: float) -> Member:
    return Member(
        f"prelu:{slope}",
        lambda z: rf.prelu(z, torch.full((1,), slope, dtype=z.dtype)),
        lambda z: F.prelu(z, torch.full((1,), slope, dtype=z.dtype)),
        own_backward=True,
    )


MEMBERS = [
    *(row(f"leaky_relu:{slope}", "leaky_relu", slope, own=True) for slope in (0.01, 0.3, 1.0, 2.5)),
    *(row(f"leaky_relu:{slope}", "leaky_relu", slope) for slope in (0.0, -0.5)),
    *(prelu(slope) for slope in SLOPES),
    *(row(f"elu:{alpha}", "elu", alpha, own=True) for alpha in (1.0, 0.4)),
    *(row(f"elu:{alpha}", "elu", alpha) for alpha in (0.0, -0.5)),
    *(row(f"celu:{alpha}", "celu", alpha, own=True) for alpha in (1.0, 2.0)),
    row("celu:-1.0", "celu", -1.0),
    row("selu", "selu", own=True),
    row("relu", "relu"),
    row("relu6", "relu6"),
    row("rrelu", "rrelu"),
    row("relu_squared", "relu_squared"),
    row("gelu", "gelu", inplace=False),
    row("gelu_tanh", "gelu", approximate="tanh", inplace=False),
    row("quick_gelu", "quick_gelu", inplace=False),
    row("gelu_10", "gelu_10", inplace=False),
    row("laplace", "laplace", inplace=False),
    row("sqrt_softplus", "sqrt_softplus", inplace=False),
    row("silu", "silu"),
    row("mish", "mish"),
    row("hardswish", "hardswish"),
    row("softplus:1.0", "softplus", inplace=False),
    row("tanh", "tanh", inplace=False),
    row("sigmoid", "sigmoid", inplace=False),
    row("hardtanh", "hardtanh"),
    row("hardsigmoid", "hardsigmoid"),
    row("logsigmoid", "logsigmoid", inplace=False),
    row("softsign", "softsign", inplace=False),
    row("softshrink:0.5", "softshrink", inplace=False),
    row("hardshrink:0.5", "hardshrink", inplace=False),
    row("tanhshrink", "tanhshrink", inplace=False),
    row("threshold:0.5", "threshold", 0.5, 0.0),
]
OWN = [member for member in MEMBERS if member.own_backward]
