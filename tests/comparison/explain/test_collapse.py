"""Whether a training is at an optimum at which its outputs are constant, of trainings as they are recorded."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rectifier.comparison.explain.trials.collapse import constant_optimum, sorted_by_class
from tests.one_thread import one_thread  # noqa: F401
from tests.watching import Watching


def trained(loss_of, *, steps=150):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 8))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    x = torch.randn(64, 6)
    with Watching(every=1) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model, x).backward()
            optimizer.step()
    return watch.process


def alike(model, x):
    """Nothing says what tells samples apart."""
    return -F.cosine_similarity(model(x), model(x.flip(0)), dim=1).mean()


def apart(model, x):
    z = F.normalize(model(x), dim=1)
    return (z @ z.T - torch.eye(len(x))).square().mean()


def targets(model, x):
    return F.mse_loss(model(x), torch.ones(64, 8))


@pytest.mark.parametrize(("loss_of", "constant"), [(alike, True), (apart, False), (targets, False)])
def test_a_constant_is_the_optimum_of_an_objective_only(loss_of, constant):
    assert constant_optimum(trained(loss_of)) is constant


@pytest.mark.parametrize(("shuffled", "told"), [(False, True), (True, False)])
def test_data_that_come_sorted_are_told_from_shuffled_ones(shuffled, told):
    torch.manual_seed(0)
    x, y = torch.randn(640, 6), torch.arange(640) // 160
    if shuffled:
        y = y[torch.randperm(640)]
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watching(every=1) as watch:
        for step in range(60):
            # Every fifth batch or so lies across a border.
            batch = (torch.arange(24) + 24 * step) % 640
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    assert sorted_by_class(watch.process) is told
