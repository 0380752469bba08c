"""Whether a training is at an optimum at which its outputs are constant, of trainings as they are recorded."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rectifier.comparison.explain.collapse import constant_optimum
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
