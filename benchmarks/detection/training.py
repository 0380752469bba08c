"""One training that can be looked at between its steps: what the rules are shown, and how it ended."""

from collections.abc import Callable
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
