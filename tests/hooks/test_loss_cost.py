"""What a loss of torch costs by itself is what it computed, whatever is added to it or multiplies it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rectifier.hooks.graph.loss_graph import read_loss


def the_output(loss):
    (output,) = read_loss(loss, {}).outputs
    return output


def layer(units=5):
    torch.manual_seed(0)
    return nn.Linear(3, units)(torch.randn(11, 3))


LABELS = torch.tensor([0, 4, -100, 4, 1, 2, 3, 0, 0, 1, -100])
VALUES = torch.rand(11, 5)
LOSSES = {
    "classes": lambda out: F.cross_entropy(out, LABELS),
    "squares": lambda out: F.mse_loss(out, VALUES),
    "logits": lambda out: F.binary_cross_entropy_with_logits(out, VALUES.round()),
    "shares": lambda out: F.binary_cross_entropy(out.sigmoid(), VALUES),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("around", [lambda x: x, lambda x: 1e-3 * x, lambda x: x + 7, lambda x: -x])
def test_the_cost_is_the_mean_of_the_loss_that_has_the_targets(name, around):
    cost = LOSSES[name](layer())
    read = the_output(around(cost))
    assert read.cost.item() == pytest.approx(cost.item(), rel=1e-5)
    assert read.shares == (name in ("logits", "shares"))


def test_a_sum_over_rows_is_told_as_a_mean():
    out = layer()
    assert the_output(F.mse_loss(out, VALUES, reduction="sum")).cost.item() == pytest.approx(
        F.mse_loss(out, VALUES).item(), rel=1e-5
    )


def test_positions_have_classes_too():
    out = nn.Conv1d(3, 4, 1)(torch.randn(2, 3, 9))
    cost = F.cross_entropy(out, torch.randint(4, (2, 9)))
    assert the_output(cost).cost.item() == pytest.approx(cost.item(), rel=1e-5)


def test_other_losses_have_no_cost():
    assert the_output(F.l1_loss(layer(), VALUES)).cost is None
    assert the_output(layer().square().mean()).cost is None


@pytest.mark.parametrize(
    ("bound", "low", "high"),
    [(lambda x: x.clamp(0, 0.5), 0.0, 0.5), (lambda x: x.clamp(min=-2), -2.0, float("inf")),
     (lambda x: F.hardtanh(x, -3, 4), -3.0, 4.0)],
)  # fmt: skip
def test_a_clamp_bounds_what_comes_through(bound, low, high):
    assert the_output(F.mse_loss(bound(layer()), VALUES)).bounds == (low, high)


def test_rows_that_are_stretched_over_the_constants_of_all_show():
    out = layer(1)
    targets = torch.rand(11, 1)
    distance = out.squeeze(1).abs()
    for loss in (targets * distance, (1 - targets) * F.relu(1 - distance).square(), distance - targets):
        assert "Broadcast" in the_output(loss.mean()).loss
    for loss in (targets[:, 0] * distance, out * targets, distance * 3, distance * distance.detach()):
        assert "Broadcast" not in the_output(loss.mean()).loss


def test_who_compares_all_rows_with_each_other_means_it():
    out = layer(1)[:, 0]
    for pairs in (out.unsqueeze(1) - out.unsqueeze(0), out[:, None] * torch.rand(11)):
        assert "Broadcast" not in the_output(pairs.square().mean()).loss
