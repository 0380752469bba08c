"""A plain network and its training: everything that a remedy may change, and what removing one cause changes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from data import standardised
from torch import nn
from training import Training, supervised

from rectifier.records import BornDead, Cause, CauseKind, Drift

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
OUTPUTS = {"relu": nn.ReLU, "tanh": nn.Tanh, "softmax": lambda: nn.Softmax(dim=1)}


def squared(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The quadratic cost of textbooks: against one-hot labels, a half of the sum over classes."""
    return 0.5 * (outputs - F.one_hot(labels, 10)).square().sum(1).mean()


COSTS = {"cross_entropy": F.cross_entropy, "mse": F.mse_loss, "bce": F.binary_cross_entropy, "squared": squared}


@dataclass(frozen=True)
class Plain:
    """A plain network and its training.

    Attributes:
        widths: Of the hidden layers.
        init: `default` is torch's; `glorot` and `he` come with zero biases; `unit` draws weights and biases from a
            standard normal distribution, `tenth` a tenth of those.
        output: What follows the last layer, if anything.
        redraw: Draw weights until the network is not constant.
        clip: Largest norm of the gradient.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    widths: tuple[int, ...]
    lr: float
    steps: int
    init: str = "default"
    activation: str = "relu"
    output: str | None = None
    optimizer: str = "adam"
    batch: int = 64
    cost: str = "cross_entropy"
    redraw: bool = False
    clip: float | None = None

    @property
    def classes(self) -> bool:
        return self.cost in ("cross_entropy", "squared")

    @property
    def loss(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        return COSTS[self.cost]

    def start(self, seed: int) -> Training:
        torch.manual_seed(seed)
        model = self.network()
        while self.redraw and _is_constant(model, self.inputs):
            model = self.network()
        return supervised(
            model, self.optimize(model), self.inputs, self.targets,
            loss=self.loss, batch=self.batch, classes=self.classes, clip=self.clip,
        )  # fmt: skip

    def optimize(self, model: nn.Module) -> torch.optim.Optimizer:
        return {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.optimizer](model.parameters(), self.lr)

    def network(self) -> nn.Sequential:
        layers: list[nn.Module] = []
        fan_in = self.inputs.shape[1]
        for width in self.widths:
            layers += [nn.Linear(fan_in, width), ACTIVATIONS[self.activation]()]
            fan_in = width
        layers.append(nn.Linear(fan_in, 10 if self.classes else self.targets.shape[1]))
        for layer in layers:
            if isinstance(layer, nn.Linear):
                _draw(layer, self.init, self.activation)
        return nn.Sequential(*layers, *([OUTPUTS[self.output]()] if self.output else []))


def _draw(layer: nn.Linear, init: str, activation: str) -> None:
    if init in ("unit", "tenth"):
        for part in (layer.weight, layer.bias):
            nn.init.normal_(part, std=1.0 if init == "unit" else 0.1)
    elif init != "default":
        if init == "glorot":
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity=activation)
        nn.init.zeros_(layer.bias)


def _is_constant(model: nn.Module, inputs: torch.Tensor) -> bool:
    with torch.no_grad():
        return bool((model(inputs) - model(inputs)[:1]).abs().max() == 0)


def without(cause: Cause, setting: Plain) -> Plain | None:
    """The same training with only this cause removed; None for a cause that names nothing to remove."""
    if cause.kind is CauseKind.LEARNING_RATE or isinstance(cause.facts, Drift):
        return replace(setting, lr=setting.lr / 30)
    if isinstance(cause.facts, BornDead):
        # Born dead names the depth and the narrowest width; a lone output unit has no layer to widen: other weights.
        wider = tuple(max(width, 32) for width in setting.widths)
        return replace(setting, widths=wider, redraw=setting.output is not None)
    if cause.kind is CauseKind.INITIAL_WEIGHTS:
        # It names initialisation, depth and width. No gain helps a sigmoid, whose slope is 1/4 at most: fewer layers.
        if setting.activation == "sigmoid":
            return replace(setting, widths=setting.widths[:1])
        if setting.init == "he":
            return replace(setting, widths=tuple(max(width, 32) for width in setting.widths))
        return replace(setting, init="he")
    if cause.kind is CauseKind.INPUT_SCALE:
        return replace(setting, inputs=standardised(setting.inputs))
    if cause.kind in (CauseKind.DOWNSTREAM_CONSTANT, CauseKind.GRAPH_CUT):
        # What follows the last layer passes nothing back.
        return replace(setting, output=None, cost="mse")
    return None
