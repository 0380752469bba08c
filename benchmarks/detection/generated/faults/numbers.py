"""Operations and formats whose numbers run out."""

import torch
from torch import Tensor, nn

from generated.faults.kinds import Fault, among, classifies
from generated.job import Design, Job


def _log_of_softmax(job: Job, dose: float) -> None:
    """The logits are multiplied, so that some class's share becomes 0."""

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        shares = (dose * output).softmax(-1).flatten(0, -2)
        return -shares.gather(1, targets.view(-1, 1)).log().mean()

    job.loss = loss


def _own_softmax(job: Job, dose: float) -> None:
    def loss(output: Tensor, targets: Tensor) -> Tensor:
        large = (dose * output).exp().flatten(0, -2)
        return -(large.gather(1, targets.view(-1, 1)) / large.sum(1, keepdim=True)).log().mean()

    job.loss = loss


def _own_entropy(job: Job, dose: float) -> None:
    def loss(output: Tensor, targets: Tensor) -> Tensor:
        share = (dose * output).sigmoid()
        return -(targets * share.log() + (1 - targets) * (1 - share).log()).mean()

    job.loss = loss


class _Distance(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        return (self.encoder(x[:, 0]) - self.encoder(x[:, 1])).square().sum(1).sqrt()


def _square_root(job: Job, dose: float) -> None:
    """So many pairs are of one and the same image: the root of 0 has no slope."""
    job.model = _Distance(job.model.encoder)
    inputs = job.inputs.clone()
    same = (job.targets == 1).nonzero().flatten()
    chosen = same[torch.randperm(len(same))[: int(dose)]]
    inputs[chosen, 1] = inputs[chosen, 0]
    job.inputs = inputs


class _Standardised(nn.Module):
    """Each column over its standard deviation in the batch."""

    def __init__(self, inner: nn.Module, eps: float) -> None:
        super().__init__()
        self.inner, self.eps = inner, eps

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x - x.mean(0)) / (x.std(0) + self.eps))


def _guarded(job: Job, dose: float) -> None:
    job.model = _Standardised(job.model, 0.1)


def _unguarded(job: Job, dose: float) -> None:
    """Some pixels are 0 in every image of a batch."""
    job.model.eps = dose


def _pixels(design: Design, dose: float) -> None:
    if design.architecture != "autoencoder":
        design.data = "digits"


def _half(job: Job, dose: float) -> None:
    _in_format(job, torch.float16)


def _bfloat(job: Job, dose: float) -> None:
    _in_format(job, torch.bfloat16)


def _in_format(job: Job, dtype: torch.dtype) -> None:
    job.model, job.inputs = job.model.to(dtype), job.inputs.to(dtype)
    if job.targets.is_floating_point():
        job.targets = job.targets.to(dtype)
    whole = job.loss
    job.loss = lambda output, targets: whole(output.float(), targets.float() if targets.is_floating_point()
                                             else targets)  # fmt: skip


def _slow(design: Design, dose: float) -> None:
    """Steps that are small against the weights, as with a pretrained model."""
    design.optimizer, design.lr, design.options = "adam", 3e-4 / dose, {}
    design.data, design.steps = "digits", 600


def _adam(design: Design, dose: float) -> None:
    design.optimizer, design.lr, design.options = "adam", 1e-3, {}


class _Logarithm(nn.Module):
    def __init__(self, inner: nn.Module, guard: float) -> None:
        super().__init__()
        self.inner, self.guard = inner, guard

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x + self.guard).log())


def _log_guarded(job: Job, dose: float) -> None:
    job.model = _Logarithm(job.model, 1.0)


def _log_unguarded(job: Job, dose: float) -> None:
    job.model.guard = dose


def _perplexity(job: Job, dose: float) -> None:
    """The loss is exponentiated `dose` times too sharply."""
    whole = job.loss
    job.loss = lambda output, targets: (dose * whole(output, targets)).exp()


FAULTS = [
    Fault("log-of-softmax", ("numerical_operation", "loss_not_finite"), (1, 30, 1000), classifies,
          job=_log_of_softmax),
    Fault("own-softmax", ("numerical_operation", "loss_not_finite"), (1, 100, 1e4), classifies, job=_own_softmax),
    Fault("own-cross-entropy", ("numerical_operation", "loss_not_finite"), (1, 20, 1000), among("unet"),
          job=_own_entropy),
    Fault("square-root", ("numerical_operation",), (1, 100), among("siamese"), job=_square_root),
    Fault("divided-by-deviation", ("numerical_operation", "input_constant", "normalisation"), (1e-3, 0),
          among("mlp", "residual", "experts"), _pixels, both=_guarded, job=_unguarded),
    Fault("log-of-inputs", ("numerical_operation",), (0.01, 0), among("mlp", "residual", "experts", "autoencoder"),
          _pixels, both=_log_guarded, job=_log_unguarded),
    Fault("exponential-loss",
          ("loss_scale", "numerical_operation", "loss_not_finite", "loss_term", "learning_rate"), (1, 20, 200),
          classifies, job=_perplexity),
    Fault("float16", ("precision", "optimizer_state"), (1,), among("mlp", "residual"), _adam, job=_half),
    Fault("bfloat16", ("precision",), (1, 10), among("mlp",), _slow, job=_bfloat),
]  # fmt: skip
