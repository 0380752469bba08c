"""The published rules of the benchmark say what their definitions say: at, just below and just above each threshold."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks" / "detection"


@pytest.fixture(scope="module")
def rules():
    sys.path.insert(0, str(FOLDER))
    try:
        import rules

        yield rules
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("rules", "training"):
            sys.modules.pop(name, None)


def shown(output=None, gradients=()):
    outputs = [] if output is None else [(None, output)]
    return SimpleNamespace(outputs=outputs, gradients=lambda: list(gradients))


def layer(active, units=10, samples=200):
    """The first units are active on that many samples, the others on all."""
    output = torch.ones(samples, units)
    for unit, number in enumerate(active):
        output[number:, unit] = 0
    return output


@pytest.mark.parametrize(("active", "said"), [([1] * 6, True), ([2] * 6, False), ([1] * 5, False), ([0] * 10, True)])
def test_dead_relu_is_under_one_percent_of_the_batch_and_more_than_half_of_the_layer(rules, active, said):
    assert rules.sagemaker_dead_relu(shown(layer(active)), 0.5) == said


def test_dead_relu_of_a_convolution_is_asked_by_channel(rules):
    output = torch.zeros(4, 5, 3, 3)
    output[:, 2:] = 1
    assert not rules.sagemaker_dead_relu(shown(output), 0.5)
    output[:, 2] = 0
    assert rules.sagemaker_dead_relu(shown(output), 0.5)


@pytest.mark.parametrize(("size", "said"), [(1.01e-7, False), (0.99e-7, True)])
def test_vanishing_is_any_weight_below(rules, size, said):
    gradients = [torch.ones(3, 3), torch.full((3, 5), size)]
    assert rules.sagemaker_vanishing(shown(gradients=gradients), 0.5) == said


@pytest.mark.parametrize(
    ("zero", "first", "last", "accuracy", "said"),
    [
        (70, 1, 1, 0.7, True), (69, 1, 1, 0.7, False), (70, 1, 1, 0.71, False), (70, 1, 1, None, True),
        (0, 1e-4, 0.11, 0.5, True), (0, 1.1e-4, 1, 0.5, False), (0, 1e-4, 0.09, 0.5, False), (0, 1e-4, 0, 0.5, True),
    ],
)  # fmt: skip
def test_autotrainer(rules, zero, first, last, accuracy, said):
    one, other = torch.full((5, 20), float(first)), torch.full((5, 20), float(last))
    if zero:
        for gradient in (one, other):
            gradient.view(-1)[:zero] = 0
    assert rules.autotrainer(shown(gradients=[one, other]), accuracy) == said


@pytest.mark.parametrize(("share", "dead", "near"), [(0.69, False, True), (0.7, True, True), (0.5, False, False)])
def test_shares_of_elements(rules, share, dead, near):
    output = torch.ones(100, 1)
    output[: round(100 * share)] = 0
    assert rules.deepdiagnosis(shown(output), None) == dead
    assert rules.fastai_near_zero(shown(output), None) == near


@pytest.mark.parametrize(("value", "near"), [(0.05, True), (0.0501, False), (-0.05, True)])
def test_near_zero_is_inclusive(rules, value, near):
    assert rules.fastai_near_zero(shown(torch.full((7, 5), value, dtype=torch.float64)), None) == near
