"""What connects the loss, the parameters and the optimizer."""

import copy

import torch
from torch import Tensor, nn

from generated.faults.kinds import (
    FLAT,
    Around,
    Fault,
    InList,
    WithoutGradient,
    among,
    classifies,
    hidden,
    layers,
    to_classes,
    to_regression,
    wrap,
)  # fmt: skip
from generated.job import Design, Job


def _in_list(job: Job, dose: float) -> None:
    for path, _ in hidden(job.model, dose):
        wrap(job.model, path, InList)


def _left_out(job: Job, dose: float) -> None:
    out = {id(p) for _, layer in hidden(job.model, dose) for p in layer.parameters()}
    job.trained = lambda model: [parameter for parameter in model.parameters() if id(parameter) not in out]


def _second_never_stepped(job: Job, dose: float) -> None:
    """Two optimizers, of which the training steps one: the other has these layers, the head last of all."""
    every = [layer for _, layer in layers(job.model)]
    chosen = every[-1:] if dose == 0 else [layer for _, layer in hidden(job.model, dose)]
    waiting = {id(p): p for layer in chosen for p in layer.parameters()}
    job.trained = lambda model: [parameter for parameter in model.parameters() if id(parameter) not in waiting]
    job.beside = [torch.optim.Adam(waiting.values())]


def _head_left_out(job: Job, dose: float) -> None:
    head = {id(parameter) for parameter in layers(job.model)[-1][1].parameters()}
    job.trained = lambda model: [parameter for parameter in model.parameters() if id(parameter) not in head]


def _of_another(job: Job, dose: float) -> None:
    """The optimizer was made for a model of which this one is a copy."""
    other = job.model
    job.model = copy.deepcopy(other)
    job.trained = lambda model: other.parameters()


def _never_stepped(job: Job, dose: float) -> None:
    job.steps_taken = False


def _frozen(job: Job, dose: float) -> None:
    for _, layer in hidden(job.model, dose):
        layer.requires_grad_(False)


def _detached(job: Job, dose: float) -> None:
    """Before the head (1), or before an earlier layer."""
    every = layers(job.model)
    path, _ = every[-1] if dose == 1 else every[max(0, round(dose * len(every)) - 1)]
    wrap(job.model, path, lambda inner: Around(inner, before=lambda x: x.detach() if x.is_floating_point() else x))


def _through_numpy(job: Job, dose: float) -> None:
    path, _ = layers(job.model)[-1]
    wrap(job.model, path, lambda inner: Around(inner, before=lambda x: torch.tensor(x.detach().numpy())))


def _no_grad(job: Job, dose: float) -> None:
    for path, _ in hidden(job.model, dose):
        wrap(job.model, path, WithoutGradient)


def _item(job: Job, dose: float) -> None:
    whole = job.loss
    job.loss = lambda output, targets: torch.tensor(whole(output, targets).item(), requires_grad=True)


def _argmax(job: Job, dose: float) -> None:
    def errors(output: Tensor, targets: Tensor) -> Tensor:
        return (output.argmax(-1) != targets).float().mean().requires_grad_()

    job.loss = errors


def _rounded(job: Job, dose: float) -> None:
    """To so many decimals: a step function has no slope."""
    job.forward = lambda model, x: (model(x) * 10**dose).round() / 10**dose


def _accumulated(job: Job, dose: float) -> None:
    job.zero_grad = "never"


def _cleared_before_step(job: Job, dose: float) -> None:
    job.zero_grad = "after"


def _eval(job: Job, dose: float) -> None:
    job.mode = False


def _has_modes(design: Design) -> bool:
    return design.architecture == "encoder" or (design.norm and design.architecture in
                                                ("mlp", "cnn", "graph", "unet", "autoencoder", "siamese"))  # fmt: skip


def _broadcast(job: Job, dose: float) -> None:
    job.loss = lambda output, targets: (output - targets.squeeze(1)).square().mean()


def _broadcast_pairs(job: Job, dose: float) -> None:
    whole = job.loss
    job.loss = lambda output, targets: whole(output, targets.unsqueeze(1))


def _dropped(job: Job, dose: float) -> None:
    path, _ = layers(job.model)[-1]
    wrap(job.model, path, lambda inner: nn.Sequential(nn.Dropout(dose), inner))


FAULTS = [
    Fault("not-registered", ("not_registered", "not_in_optimizer"), (0.3, 1), job=_in_list),
    Fault("left-out-of-optimizer", ("not_in_optimizer",), (0.3, 1), job=_left_out),
    Fault("head-left-out", ("not_in_optimizer",), (1,), job=_head_left_out),
    Fault("optimizer-of-another", ("not_in_optimizer",), (1,), job=_of_another),
    Fault("second-never-stepped", ("optimizer_not_stepped",), (0, 0.3, 1), job=_second_never_stepped),
    Fault("never-stepped", ("optimizer_not_stepped",), (1,), job=_never_stepped),
    Fault("frozen", ("frozen",), (0.3, 1), job=_frozen),
    Fault("detached", ("graph_cut",), (0.5, 1), job=_detached),
    Fault("through-numpy", ("graph_cut",), (1,), job=_through_numpy),
    Fault("no-grad", ("graph_cut",), (0.3, 1), job=_no_grad),
    Fault("loss-item", ("graph_cut",), (1,), job=_item),
    Fault("loss-of-argmax", ("graph_cut", "objective"), (1,), classifies, to_classes, job=_argmax),
    Fault("rounded-output", ("graph_cut", "downstream_constant", "downstream_saturation"), (1,), among(*FLAT),
          to_regression, job=_rounded),
    Fault("no-zero-grad", ("gradient_accumulation",), (1,), job=_accumulated),
    Fault("cleared-before-step", ("gradient_accumulation", "optimizer_not_stepped"), (1,), job=_cleared_before_step),
    Fault("eval-mode", ("eval_mode",), (1,), _has_modes, job=_eval),
    Fault("broadcast", ("loss_shape",), (1,), among(*FLAT), to_regression, job=_broadcast),
    Fault("broadcast-pairs", ("loss_shape",), (1,), among("siamese"), job=_broadcast_pairs),
    Fault("dropout", ("unknown",), (0.2, 0.9, 0.99), job=_dropped),
]  # fmt: skip
