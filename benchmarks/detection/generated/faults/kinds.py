"""What a fault is, and where in a network it is put."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generated.job import Design, Job
from generated.tasks import Task

FLAT = ("mlp", "residual", "experts")
"""Architectures that take rows of features and can learn values."""


def nothing(_: object, dose: float) -> None:
    """Change nothing."""


def everywhere(design: Design) -> bool:
    """In every design."""
    return True


def among(*architectures: str) -> Callable[[Design], bool]:
    """In designs of these architectures."""
    return lambda design: design.architecture in architectures


def smooth_inputs(design: Design) -> bool:
    """In designs whose inputs are numbers and not tokens."""
    return design.data != "tokens"


def classifies(design: Design) -> bool:
    """In designs that end in logits of classes."""
    return design.data in ("digits", "mnist", "spirals", "rings", "waves", "graphs", "tokens")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, in a size of its own.

    Attributes:
        causes: Kinds of causes that say what is wrong, the first of them exactly.
        doses: From harmless to fatal.
        fits: Designs in which it can be.
        prepare: What the training must be for it, with and without the fault.
        both: The same, once model and data are there.
        design: The fault, before the model is built.
        job: The fault, once model and data are there.
    """

    name: str
    causes: tuple[str, ...]
    doses: tuple[float, ...]
    fits: Callable[[Design], bool] = everywhere
    prepare: Callable[[Design, float], None] = nothing
    both: Callable[[Job, float], None] = nothing
    design: Callable[[Design, float], None] = nothing
    job: Callable[[Job, float], None] = nothing


def layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Its layers with weights by path; the last is the head."""
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)
    # What torch's attention uses without calling it cannot be wrapped.
    return [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, kinds) and not path.endswith("out_proj")
    ]


def hidden(model: nn.Module, share: float = 1.0) -> list[tuple[str, nn.Module]]:
    """Its layers without the head: this share of them, from the input on, and one at least."""
    every = layers(model)[:-1] or layers(model)
    return every[: max(1, round(share * len(every)))]


def weights(model: nn.Module) -> list[nn.Parameter]:
    """All its weight matrices, of recurrent cells, too."""
    return [parameter for parameter in model.parameters() if parameter.ndim > 1]


def wrap(model: nn.Module, path: str, around: Callable[[nn.Module], nn.Module]) -> None:
    """Put a module around the one at a path."""
    model.set_submodule(path, around(model.get_submodule(path)))


def to_regression(design: Design, dose: float) -> None:
    """Learn values."""
    design.data = "friedman"


def to_classes(design: Design, dose: float) -> None:
    """Learn classes of rows."""
    if not classifies(design):
        design.data = "rings"


def per_sample(task: Task, output: Tensor, targets: Tensor) -> Tensor:
    """The loss of every sample alone."""
    if task.kind == "classes":
        return F.cross_entropy(output, targets, reduction="none")
    if task.kind == "tokens":
        return F.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="none")
    if task.kind == "masks":
        return F.binary_cross_entropy_with_logits(output, targets, reduction="none").flatten(1).mean(1)
    if task.kind == "pairs":
        return targets * output.square() + (1 - targets) * F.relu(1 - output).square()
    return (output - targets).square().flatten(1).mean(1)


class Around(nn.Module):
    """A module with something done to what comes out of it, or goes in."""

    def __init__(
        self,
        inner: nn.Module,
        *,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.inner(self.before(x)))


class WithoutGradient(nn.Module):
    """A module that is called under `no_grad`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.inner(x)


class InList(nn.Module):
    """A module that is kept in a plain list, so that its parameters are nobody's."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.parts = [inner]

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x
