"""The values at the start, and the shape of the network."""

import torch
from torch import nn

from generated.faults.kinds import Fault, among, hidden, layers, weights
from generated.job import Design, Job


@torch.no_grad()
def _weights_scaled(job: Job, dose: float) -> None:
    for weight in weights(job.model):
        weight *= dose


@torch.no_grad()
def _head_scaled(job: Job, dose: float) -> None:
    layers(job.model)[-1][1].weight.mul_(dose)


@torch.no_grad()
def _weights_zero(job: Job, dose: float) -> None:
    """1: of the head, which learns them back. 2: of the first layer, too. 3: of all layers, biases as well."""
    every = [module for _, module in layers(job.model)]
    for layer in {1: every[-1:], 2: [every[0], every[-1]], 3: every}[int(dose)]:
        layer.weight.zero_()
        if dose == 3 and getattr(layer, "bias", None) is not None:
            layer.bias.zero_()


@torch.no_grad()
def _weights_equal(job: Job, dose: float) -> None:
    for weight in weights(job.model):
        weight.fill_(dose)


@torch.no_grad()
def _weights_positive(job: Job, dose: float) -> None:
    for weight in weights(job.model):
        weight.uniform_(0, dose)


@torch.no_grad()
def _biases(job: Job, dose: float) -> None:
    for _, layer in hidden(job.model):
        if getattr(layer, "bias", None) is not None:
            layer.bias.fill_(dose)


@torch.no_grad()
def _one_bias(job: Job, dose: float) -> None:
    """Of the layer in the middle alone."""
    chosen = [layer for _, layer in hidden(job.model) if getattr(layer, "bias", None) is not None]
    chosen[len(chosen) // 2].bias.fill_(dose)


def _deeper(design: Design, dose: float) -> None:
    design.depth = int(dose)


def _shallow(design: Design, dose: float) -> None:
    design.depth, design.norm = 2, False


def _deep_normalised(design: Design, dose: float) -> None:
    design.depth, design.norm, design.lr = int(dose), True, design.lr / 3


def _not_normalised(design: Design, dose: float) -> None:
    design.norm = False


def _relu_deep(design: Design, dose: float) -> None:
    design.activation, design.depth, design.norm = "relu", 5, False


def _narrow(design: Design, dose: float) -> None:
    design.width = int(dose)


def _bottleneck(design: Design, dose: float) -> None:
    design.bottleneck = int(dose)


def _one_sigmoid(design: Design, dose: float) -> None:
    design.activation, design.depth, design.norm = "sigmoid", 1, False


def _curved(design: Design, dose: float) -> None:
    """Data that no linear network can learn."""
    design.data = "spirals" if design.architecture == "mlp" else "rings"
    design.depth = 2


def _linear(design: Design, dose: float) -> None:
    design.activation = "none"


def _relu(design: Design, dose: float) -> None:
    design.activation = "relu"


@torch.no_grad()
def _recurrent(job: Job, dose: float) -> None:
    job.model.again.weight.mul_(dose)


def _normalised_alone(job: Job, dose: float) -> None:
    """Before the head: groups of `dose` units each; of one unit, and what is normalised is 0."""
    path, head = layers(job.model)[-1]
    groups = max(1, round(head.in_features / dose))
    while head.in_features % groups:
        groups -= 1
    norm = nn.GroupNorm(groups, head.in_features)
    job.model.set_submodule(path, nn.Sequential(norm, head))


@torch.no_grad()
def _gate(job: Job, dose: float) -> None:
    job.model.gate.bias.copy_(torch.tensor([dose, dose, 0, 0]))


def _stacked(design: Design) -> bool:
    """Those whose layers in the middle are followed by the activation of the design."""
    return design.architecture in ("mlp", "cnn", "autoencoder", "siamese")


FAULTS = [
    Fault("weights-scaled", ("initial_weights",), (0.7, 1.5, 0.1, 0.01, 5, 30, 300), job=_weights_scaled),
    Fault("head-scaled", ("initial_weights",), (0.1, 10, 1000, 1e5), job=_head_scaled),
    Fault("weights-zero", ("initial_weights",), (1, 2, 3), job=_weights_zero),
    Fault("weights-equal", ("initial_weights",), (0.01, 0.1, 1), job=_weights_equal),
    Fault("weights-positive", ("initial_weights",), (0.1, 1, 10), job=_weights_positive),
    Fault("biases-low", ("initial_bias", "initial_weights"), (-0.2, -3, -20, -200), job=_biases),
    Fault("one-bias-low", ("initial_bias", "initial_weights"), (-0.5, -10, -1000), _stacked, _relu, job=_one_bias),
    Fault("biases-high", ("initial_bias", "initial_weights"), (0.2, 10, 200), job=_biases),
    Fault("deep", ("depth", "initial_weights"), (4, 8, 16, 32), among("mlp"), _shallow, design=_deeper),
    Fault("deep-not-normalised", ("depth", "initial_weights", "normalisation"), (10, 20), among("mlp"),
          _deep_normalised, design=_not_normalised),
    Fault("narrow", ("narrow_layer", "initial_weights", "depth"), (12, 4, 2), among("mlp"), _relu_deep,
          design=_narrow),
    Fault("bottleneck", ("narrow_layer", "initial_weights"), (16, 2, 1), among("mlp", "siamese"),
          _relu_deep, design=_bottleneck),
    Fault("deep-sigmoid", ("depth", "activation", "initial_weights"), (2, 4, 8), among("mlp"), _one_sigmoid,
          design=_deeper),
    Fault("no-activation", ("no_activation",), (1,), among("mlp", "residual"), _curved, design=_linear),
    Fault("recurrent-weights", ("recurrence", "initial_weights"), (0.5, 1.3, 3, 10), among("unrolled"), _relu,
          job=_recurrent),
    Fault("groups-of-one", ("normalisation",), (8, 1), among("mlp", "residual", "experts", "autoencoder", "cnn"),
          job=_normalised_alone),
    Fault("gate-closed", ("selection", "initial_bias"), (1, 10, 1000), among("experts"), job=_gate),
]  # fmt: skip
