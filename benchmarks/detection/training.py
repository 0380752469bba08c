"""One training that can be looked at between its steps: what the rules are shown, and how it ended."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid)


@dataclass
class Training:
    """A model, its data and its optimizer.

    Attributes:
        models: Those whose activations are looked at.
        step: One step of the training; returns the loss and the accuracy on the batch (None for regression).
        score: On all training data, in eval mode: accuracy, or R²; and the standard deviation of the output over them,
            below which Lu et al. 2019 call a network collapsed at 1e-3.
    """

    models: list[nn.Module]
    step: Callable[[], tuple[float, float | None]]
    score: Callable[[], tuple[float, float]]
    outputs: list[tuple[nn.Module, Tensor]] = field(default_factory=list)
    looking: bool = False

    def __post_init__(self) -> None:
        for model in self.models:
            for module in model.modules():
                if isinstance(module, ACTIVATIONS):
                    module.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: object, output: Tensor) -> None:
        if self.looking:
            self.outputs.append((module, output.detach().clone()))

    def gradients(self) -> list[Tensor]:
        """Of the weight matrices, from the first layer on, as the last backward pass left them."""
        return [
            parameter.grad
            for model in self.models
            for name, parameter in model.named_parameters()
            if parameter.ndim > 1 and parameter.grad is not None
        ]


def supervised(model, optimizer, inputs, targets, *, loss, batch, classes=True, scaler=None, call=None,
               clip=None) -> Training:  # fmt: skip
    """Mini-batches in a random order drawn from torch's stream, as every loop does."""
    call = call or (lambda model, x, chosen: model(x))
    order: list[Tensor] = []

    def step():
        if not order:
            order.extend(torch.randperm(len(inputs)).split(batch))
        chosen = order.pop()
        optimizer.zero_grad()
        output = call(model, inputs[chosen], chosen)
        value = loss(output, targets[chosen])
        if scaler is None:
            value.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
        else:
            scaler.scale(value).backward()
            scaler.step(optimizer)
            scaler.update()
        accuracy = float((output.argmax(-1) == targets[chosen]).float().mean()) if classes else None
        return value.item(), accuracy

    def score():
        mode = model.training
        model.eval()
        with torch.no_grad():
            output = call(model, inputs, torch.arange(len(inputs)))
        model.train(mode)
        spread = float(output.std(0).mean())
        if classes:
            return float((output.argmax(-1) == targets).float().mean()), spread
        return float(1 - F.mse_loss(output, targets) / targets.var(unbiased=False)), spread

    return Training([model], step, score)


def mlp(*widths: int, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these widths with an activation between each two."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), act()]
    return nn.Sequential(*layers[:-1])


def batches(samples: int, size: int) -> Iterator[Tensor]:
    """Indices of mini-batches in a random order, for ever."""
    while True:
        for chosen in torch.randperm(samples).split(size):
            if len(chosen) == size:
                yield chosen


def minimised(models: list[nn.Module], loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer,
             score: Callable[[], float], *, clip: float | None = None) -> Training:  # fmt: skip
    """The usual loop around a loss that draws its own batch."""

    def step() -> tuple[float, None]:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_([p for model in models for p in model.parameters()], clip)
        optimizer.step()
        return value.item(), None

    return looped(models, step, score)


def looped(models: list[nn.Module], step: Callable[[], tuple[float, float | None]],
           score: Callable[[], float]) -> Training:  # fmt: skip
    """A training with a loop of its own."""

    def scored() -> tuple[float, float]:
        modes = [(module, module.training) for model in models for module in model.modules()]
        for model in models:
            model.eval()
        with torch.no_grad():
            value = score()
        for module, mode in modes:
            module.training = mode
        return value, 1.0

    return Training(models, step, scored)


def explained(output: Tensor, targets: Tensor) -> float:
    """R²."""
    rest = (output - targets).double().square().sum()
    return float(1 - rest / (targets - targets.mean(0)).double().square().sum())


def correct(output: Tensor, labels: Tensor) -> float:
    """Accuracy; not a number where an output is not."""
    if not output.isfinite().all():
        return float("nan")
    return float((output.argmax(-1) == labels).double().mean())


def classified(model: nn.Module, inputs: Tensor, labels: Tensor, *, lr: float = 1e-3, batch: int = 64,
               optimizer: torch.optim.Optimizer | None = None,
               loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy) -> Training:  # fmt: skip
    """A classifier, trained with Adam or what is given."""
    order = batches(len(inputs), batch)

    def value() -> Tensor:
        chosen = next(order)
        return loss(model(inputs[chosen]), labels[chosen])

    return minimised([model], value, optimizer or torch.optim.Adam(model.parameters(), lr),
                    lambda: correct(model(inputs), labels))  # fmt: skip


def fitted(model: nn.Module, inputs: Tensor, targets: Tensor, *, lr: float = 1e-3, batch: int = 64,
           optimizer: torch.optim.Optimizer | None = None,
           loss: Callable[[Tensor, Tensor], Tensor] = F.mse_loss) -> Training:  # fmt: skip
    """A regression, likewise."""
    order = batches(len(inputs), batch)

    def value() -> Tensor:
        chosen = next(order)
        return loss(model(inputs[chosen]), targets[chosen])

    return minimised([model], value, optimizer or torch.optim.Adam(model.parameters(), lr),
                    lambda: explained(model(inputs), targets))  # fmt: skip
