"""What follows the last layer, and the loss."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generated.faults.kinds import FLAT, Fault, among, classifies, hidden, per_sample, to_regression, weights
from generated.job import Job


def _ends_in(make: Callable[[], nn.Module]) -> Callable[[Job, float], None]:
    def end(job: Job, dose: float) -> None:
        job.model = nn.Sequential(job.model, make())

    return end


def _targets_moved(job: Job, dose: float) -> None:
    job.targets = job.targets + dose


def _targets_wider(job: Job, dose: float) -> None:
    job.targets = job.targets * dose


def _softmax_first(job: Job, dose: float) -> None:
    def forward(model: nn.Module, x: Tensor) -> Tensor:
        output = model(x)
        for _ in range(int(dose)):
            output = output.softmax(-1)
        return output

    job.forward = forward


def _softmax_batch(job: Job, dose: float) -> None:
    job.forward = lambda model, x: model(x).softmax(0)


def _clamped(job: Job, dose: float) -> None:
    job.forward = lambda model, x: model(x).clamp(0, dose)


def _shrunk(job: Job, dose: float) -> None:
    """The output times this; a constant for 0."""
    job.forward = lambda model, x: model(x) * dose


def _averaged(job: Job, dose: float) -> None:
    """Each row is given the mean of the batch, but for a share of its own answer."""

    def forward(model: nn.Module, x: Tensor) -> Tensor:
        output = model(x)
        return (1 - dose) * output + dose * output.mean(0, keepdim=True).expand_as(output)

    job.forward = forward


def _sigmoid_twice(job: Job, dose: float) -> None:
    # What is scored are the logits that the loss gets: above 0 always.
    job.loss = lambda output, targets: F.binary_cross_entropy_with_logits(output.sigmoid(), targets)


def _activity(job: Job, dose: float) -> None:
    kept: list[Tensor] = []
    _, layer = hidden(job.model)[-1]
    layer.register_forward_hook(lambda module, args, output: kept.append(output))

    def penalty(model: nn.Module) -> Tensor:
        total = sum(output.abs().flatten(1).sum(1).mean() for output in kept)
        kept.clear()
        return dose * total

    job.terms.append(penalty)


def _norm_term(job: Job, dose: float) -> None:
    job.terms.append(lambda model: dose * sum(weight.square().sum() for weight in weights(model)))


def _divergence(job: Job, dose: float) -> None:
    job.terms.append(lambda model: dose * model.divergence)


def _entropy(job: Job, dose: float) -> None:
    whole = job.loss

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        shares = output.log_softmax(-1)
        return whole(output, targets) + dose * (shares.exp() * shares).sum(-1).mean()

    job.loss = loss


def _pull_only(job: Job, dose: float) -> None:
    """The part of the loss that keeps different samples apart is weakened by this factor; 0 takes it away."""
    job.loss = lambda output, targets: (
        targets * output.square() + dose * (1 - targets) * F.relu(1 - output).square()
    ).mean()


def _negated(job: Job, dose: float) -> None:
    whole = job.loss
    job.loss = lambda output, targets: -whole(output, targets)


def _scaled(job: Job, dose: float) -> None:
    whole = job.loss
    job.loss = lambda output, targets: dose * whole(output, targets)


def _masked(job: Job, dose: float) -> None:
    """Samples are masked out at random; the sum is over the number of all."""

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        values = per_sample(job.task, output, targets)
        return (values * (torch.rand(len(values)) >= dose)).mean()

    job.loss = loss


def _masked_mean(job: Job, dose: float) -> None:
    """The same, over the number that is left."""

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        values = per_sample(job.task, output, targets)
        mask = (torch.rand(len(values)) >= dose).float()
        return (values * mask).sum() / mask.sum()

    job.loss = loss


def _ignored(job: Job, dose: float) -> None:
    def loss(output: Tensor, targets: Tensor) -> Tensor:
        targets = targets.flatten().masked_fill(torch.rand(targets.numel()) < dose, -100)
        return F.cross_entropy(output.reshape(len(targets), -1), targets)

    job.loss = loss


FAULTS = [
    Fault("output-relu", ("output_activation", "initial_weights"), (3, 0, -3), among(*FLAT), to_regression,
          both=_targets_moved, job=_ends_in(nn.ReLU)),
    Fault("output-sigmoid", ("output_activation",), (1, 4), among(*FLAT), to_regression, both=_targets_wider,
          job=_ends_in(nn.Sigmoid)),
    Fault("output-tanh", ("output_activation",), (0.3, 1, 4), among(*FLAT), to_regression, both=_targets_wider,
          job=_ends_in(nn.Tanh)),
    Fault("logits-relu", ("output_activation",), (1,), classifies, job=_ends_in(nn.ReLU)),
    Fault("logits-sigmoid", ("output_activation",), (1,), classifies, job=_ends_in(nn.Sigmoid)),
    Fault("double-softmax", ("output_activation",), (1, 2), classifies, job=_softmax_first),
    Fault("softmax-over-batch", ("output_activation", "loss_shape"), (1,), classifies, job=_softmax_batch),
    Fault("double-sigmoid", ("output_activation",), (1,), among("unet"), job=_sigmoid_twice),
    Fault("output-clamped", ("downstream_saturation", "output_activation"), (1, 1e-3), among(*FLAT), to_regression,
          job=_clamped),
    Fault("output-shrunk", ("downstream_constant", "downstream_saturation"), (0.3, 1e-3, 0), job=_shrunk),
    Fault("output-averaged", ("downstream_constant", "downstream_saturation"), (0.5, 1), job=_averaged),
    Fault("activity-penalty", ("loss_term",), (1e-4, 0.1, 10), job=_activity),
    Fault("norm-term", ("loss_term", "weight_decay"), (1e-6, 1e-2, 1), job=_norm_term),
    Fault("divergence-term", ("loss_term",), (0.3, 10, 100), among("vae"), job=_divergence),
    Fault("entropy-term", ("loss_term",), (0.1, 2, 20), classifies, job=_entropy),
    Fault("pull-only", ("objective",), (0.5, 0.01, 0), among("siamese"), job=_pull_only),
    Fault("negated-loss", ("objective",), (1,), job=_negated),
    Fault("loss-scaled", ("loss_scale", "learning_rate_low", "learning_rate"), (0.3, 1e-4, 1e-9, 1e4), job=_scaled),
    Fault("loss-masked", ("downstream_constant", "loss_term"), (0.3, 0.99, 1), job=_masked),
    Fault("loss-masked-mean", ("loss_not_finite", "numerical_operation"), (0.3, 0.97, 1), job=_masked_mean),
    Fault("labels-ignored", ("loss_not_finite", "numerical_operation"), (0.3, 0.97, 1), classifies, job=_ignored),
]  # fmt: skip
