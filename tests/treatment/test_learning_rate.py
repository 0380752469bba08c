"""A scaled learning rate is the same training, to the bit, as one that was asked for."""

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from rectifier.treatment import scale_learning_rates

OPTIMIZERS = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=0.1),
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.1),
    "groups": lambda p, lr: torch.optim.Adam([{"params": [q], "lr": lr * 2**n} for n, q in enumerate(p)], 1.0),
    "tensor": lambda p, lr: torch.optim.Adam(p, torch.tensor(lr)),
}
SCHEDULES = {
    "none": lambda optimizer, factor: None,
    "steps": lambda optimizer, factor: lr_scheduler.StepLR(optimizer, 2, 0.5),
    "one cycle": lambda optimizer, factor: lr_scheduler.OneCycleLR(
        optimizer, [0.5 * factor for _ in optimizer.param_groups], total_steps=7, cycle_momentum=False
    ),
}


def train(make, schedule, factor):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = make(list(model.parameters()), 0.25 * factor)
    scheduler = schedule(optimizer, factor)
    rates = []
    for _ in range(7):
        optimizer.zero_grad()
        model(torch.randn(11, 3)).square().mean().backward()
        optimizer.step()
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        if scheduler is not None:
            scheduler.step()
    return [p.detach().clone() for p in model.parameters()], rates


@pytest.fixture
def halved():
    undo = scale_learning_rates(0.5)
    yield
    undo()
    assert not _global_optimizer_pre_hooks
    assert not _global_optimizer_post_hooks


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_half_the_rate_is_half_the_rate(optimizer, schedule, request):
    asked, _ = train(OPTIMIZERS[optimizer], SCHEDULES[schedule], 0.5)
    plain, rates = train(OPTIMIZERS[optimizer], SCHEDULES[schedule], 1.0)
    request.getfixturevalue("halved")
    scaled, seen = train(OPTIMIZERS[optimizer], SCHEDULES[schedule], 1.0)
    assert all(torch.equal(a, b) for a, b in zip(scaled, asked, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(scaled, plain, strict=True))
    assert seen == rates, "the script sees the rate that it set"


def test_a_step_that_raises_leaves_the_rate_as_it_was_at_the_next(halved):
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], 1.0)

    def fails():
        raise RuntimeError("the closure's own")

    with pytest.raises(RuntimeError, match="the closure's own"):
        optimizer.step(fails)
    weight.grad = torch.ones(3)
    optimizer.step()
    assert weight.tolist() == [0.5] * 3
    assert optimizer.param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_a_factor_that_is_none(factor):
    with pytest.raises(ValueError, match="must be above 0"):
        scale_learning_rates(factor)


class Around(torch.optim.Optimizer):
    """As SAM and Lookahead are made: the groups are those of the optimizer inside."""

    def __init__(self, params, inner):
        super().__init__(params, {"lr": 0.4})
        self.inner = inner(self.param_groups)
        self.param_groups = self.inner.param_groups

    def step(self, closure=None):
        self.inner.step(closure)


def test_an_optimizer_around_another_is_halved_once(halved):
    weight = nn.Parameter(torch.ones(3))
    optimizer = Around([weight], lambda groups: torch.optim.SGD(groups, lr=0.4))
    for count in (1, 2):
        weight.grad = torch.ones(3)
        optimizer.step()
        assert weight.tolist() == pytest.approx([1 - 0.2 * count] * 3)
        assert [group["lr"] for group in optimizer.param_groups] == [0.4]
