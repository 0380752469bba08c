"""Networks of rows and of images."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generated.job import Design
from generated.tasks import Task

MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU,
    "elu": nn.ELU, "silu": nn.SiLU, "none": nn.Identity,
}  # fmt: skip
# Looked up when they are called, as in a forward that is written out.
FUNCTIONS: dict[str, tuple[Any, str]] = {
    "relu": (F, "relu"), "leaky_relu": (F, "leaky_relu"), "tanh": (torch, "tanh"), "sigmoid": (torch, "sigmoid"),
    "gelu": (F, "gelu"), "elu": (F, "elu"), "silu": (F, "silu"),
}  # fmt: skip


def called(name: str) -> Callable[[Tensor], Tensor]:
    """A function that calls the activation of that name."""
    if name == "none":
        return lambda x: x
    where, attribute = FUNCTIONS[name]

    def call(x: Tensor) -> Tensor:
        return getattr(where, attribute)(x)

    return call


def activation(design: Design) -> Callable[[Tensor], Tensor]:
    """A module or a function, as the design calls its activations."""
    return called(design.activation) if design.style == "functions" else MODULES[design.activation]()


class Stack(nn.Module):
    """Linear layers, each followed by a normalisation (if any) and an activation, and a head."""

    def __init__(self, design: Design, fan_in: int, fan_out: int) -> None:
        super().__init__()
        widths = [design.width] * design.depth
        if design.bottleneck:
            widths[design.depth // 2] = design.bottleneck
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for width in widths:
            self.layers.append(nn.Linear(fan_in, width))
            self.norms.append(nn.BatchNorm1d(width) if design.norm else nn.Identity())
            fan_in = width
        acts = [activation(design) for _ in widths]
        self.acts = nn.ModuleList(acts) if design.style == "modules" else acts
        self.head = nn.Linear(fan_in, fan_out)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm, act in zip(self.layers, self.norms, self.acts, strict=True):
            x = act(norm(layer(x)))
        return self.head(x)


def mlp(design: Design, task: Task) -> nn.Module:
    if design.style == "functions":
        return Stack(design, task.inputs.shape[1], task.outputs)
    layers: list[nn.Module] = []
    fan_in = task.inputs.shape[1]
    for at in range(design.depth):
        narrow = design.bottleneck and at == design.depth // 2
        width = design.bottleneck if narrow else design.width
        layers += [nn.Linear(fan_in, width), *([nn.BatchNorm1d(width)] if design.norm else []),
                   MODULES[design.activation]()]  # fmt: skip
        fan_in = width
    return nn.Sequential(*layers, nn.Linear(fan_in, task.outputs))


class Images(nn.Module):
    """Convolutions; the images come as rows."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.side = int(task.inputs.shape[1] ** 0.5)
        channels, fan_in = design.width // 4, 1
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(design.depth):
            self.layers.append(nn.Conv2d(fan_in, channels, 3, padding=1))
            self.norms.append(nn.BatchNorm2d(channels) if design.norm else nn.Identity())
            fan_in = channels
        acts = [activation(design) for _ in self.layers]
        self.acts = nn.ModuleList(acts) if design.style == "modules" else acts
        self.head = nn.Linear(channels * 16, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (1, self.side, self.side))
        for at, (layer, norm, act) in enumerate(zip(self.layers, self.norms, self.acts, strict=True)):
            x = act(norm(layer(x)))
            if at == 0:
                x = F.adaptive_max_pool2d(x, 8)
        return self.head(F.adaptive_avg_pool2d(x, 4).flatten(1))


class Residual(nn.Module):
    """Layers whose output is added to their input; of two layers each, the first normalised by choice."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        width = design.width
        self.stem = nn.Linear(task.inputs.shape[1], width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) if design.norm else nn.Identity() for _ in range(design.depth))
        self.one = nn.ModuleList(nn.Linear(width, width) for _ in range(design.depth))
        acts = [activation(design) for _ in range(design.depth)]
        self.acts = nn.ModuleList(acts) if design.style == "modules" else acts
        self.two = nn.ModuleList(nn.Linear(width, width) for _ in range(design.depth))
        self.head = nn.Linear(width, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, one, act, two in zip(self.norms, self.one, self.acts, self.two, strict=True):
            x = x + two(act(one(norm(x))))
        return self.head(x)


class Hourglass(nn.Module):
    """A small U-Net: down, middle, up, with the fine features beside."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        narrow, wide = design.width // 4, design.width // 2
        self.down = self._block(design, 1, narrow)
        self.middle = self._block(design, narrow, wide)
        self.up = nn.ConvTranspose2d(wide, narrow, 2, 2)
        self.join = self._block(design, 2 * narrow, narrow)
        self.head = nn.Conv2d(narrow, task.outputs, 1)

    @staticmethod
    def _block(design: Design, fan_in: int, channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(fan_in, channels, 3, padding=1),
            nn.BatchNorm2d(channels) if design.norm else nn.Identity(),
            MODULES[design.activation](),
        )

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        coarse = self.up(self.middle(F.max_pool2d(fine, 2)))
        return self.head(self.join(torch.cat([fine, coarse], 1)))
