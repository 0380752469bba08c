"""What is counted for starved and saturated units equals a brute-force count, on real trainings, step by step."""

import math

import pytest
import torch
from torch import nn

from rectifier.monitor.training.sites.samples import DistinctSamples
from rectifier.records import told_apart
from tests.edge import diagnose, where

from ..watching import Watching


class Masked(nn.Module):
    """Two units of the hidden layer are masked, a branch is scaled to zero, tanh above."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 1)
        self.branch = nn.Linear(3, 4)
        self.register_buffer("mask", torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0]))

    def forward(self, x):
        self.hidden = torch.relu(self.one(x)) * self.mask
        self.inner = torch.tanh(6 * self.two(self.hidden))
        return self.three(self.inner + 0.0 * torch.relu(self.branch(x)))


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(3)
    model = Masked()
    nn.init.constant_(model.one.bias, 1.0)
    groups = [{"params": model.one.parameters(), "lr": 0.02}, {"params": model.two.parameters(), "lr": 0.03},
              {"params": [*model.three.parameters(), *model.branch.parameters()]}]  # fmt: skip
    optimizer = torch.optim.SGD(groups, lr=0.05)
    gradients, saturated = [], torch.zeros(4, dtype=torch.int64)
    with Watching(model, every=1) as watch:
        for _ in range(150):
            x = torch.randn(7, 3)
            optimizer.zero_grad()
            (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
            gradients.append([layer.bias.grad.clone() for layer in (model.one, model.two, model.branch)])
            saturated += (model.inner.detach().abs() >= math.tanh(3.0)).sum(0)
            optimizer.step()
    return watch.process, gradients, saturated


def test_the_last_gradient_of_each_bias(trained):
    process, gradients, _ = trained
    for index in range(3):
        (*_, end) = [w for s in process.snapshots for w in s.windows if w.site == index]
        brute = [max((step for step, one in enumerate(gradients) if one[index][unit] != 0), default=-1)
                 for unit in range(len(end.last_gradient))]  # fmt: skip
        assert end.last_gradient.tolist() == brute
    assert brute == [-1] * 4


def test_the_saturated_samples_of_each_unit(trained):
    process, _, saturated = trained
    counts = [w.saturated for s in process.snapshots for w in s.windows if w.site == 1]
    assert sum(counts).tolist() == saturated.tolist()
    assert 0 < int(saturated.sum()) < 4 * 150 * 7
    assert all(w.saturated is None for s in process.snapshots for w in s.windows if w.site != 1)


def test_each_sites_own_learning_rate(trained):
    process, _, _ = trained
    rates = [{*w.learning_rate.tolist()} for s in process.snapshots for w in s.windows for _ in [0]]
    assert {frozenset(one) for one in rates} == {frozenset({0.02}), frozenset({0.03}), frozenset({0.05})}


def test_masked_units_and_a_branch_scaled_to_zero_are_named(trained):
    diagnosis = diagnose(trained[0])
    told = {(where(finding), finding.units) for finding in diagnosis.findings if finding.rule == "starved"}
    labels = [site.label for site in told_apart(trained[0].sites)]
    assert told == {(labels[0], (1, 3)), (labels[2], ())}
    assert diagnosis.worst == "info"


def test_a_conv_counts_a_sample_as_saturated_when_every_position_is():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Sigmoid(), nn.Flatten(), nn.Linear(12, 1))
    nn.init.constant_(model[0].weight, 0.0)
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([6.01, 5.99, 0.0]))
        model[0].weight[2] = 20.0
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    x = torch.randn(11, 1, 2, 2)
    with Watching(model, every=1) as watch:
        model(x).sum().backward()
        optimizer.step()
    (window,) = watch.process.snapshots[0].windows
    brute = ((20 * x[:, 0]).abs() >= 6).flatten(1).all(1).sum()
    assert window.saturated.tolist() == [11, 0, int(brute)]


def test_a_frozen_backbone_and_a_learning_rate_of_zero_are_labelled():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)
    )
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([{"params": model[2].parameters(), "lr": 0.0}, {"params": model[4:].parameters()}], 0.1)
    with Watching(model, every=1) as watch:
        for _ in range(9):
            optimizer.zero_grad()
            model(torch.randn(7, 3)).square().mean().backward()
            optimizer.step()
    (frozen,) = [finding for finding in diagnose(watch.process).findings if finding.rule == "frozen"]
    assert frozen.title == "2 layers are frozen: Sequential.1, Sequential.3"
    assert frozen.severity == "info"


def test_the_size_of_the_inputs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    inputs = [300 * torch.randn(7, 3) for _ in range(5)]
    with Watching(model, every=2) as watch:
        for x in inputs:
            model(x).sum().backward()
            optimizer.step()
    seen = torch.cat(inputs[::2]).double()
    assert watch.process.snapshots[-1].input_rms == pytest.approx(float(seen.square().mean().sqrt()), rel=1e-5)
    samples = DistinctSamples()
    samples.see(
        [torch.full((7, 3), 60_000.0, dtype=torch.float16), torch.ones(7, 9, dtype=torch.int64)], 0, measured=True
    )
    assert samples.rms == pytest.approx(60_000, rel=1e-3)
    assert DistinctSamples().rms is None


def test_only_a_bias_that_is_added_as_it_is_counts_as_part_of_the_input_of_its_units(trained):
    process, _, _ = trained
    first, scaled, _ = next(snapshot.windows for snapshot in process.snapshots if snapshot.windows)
    assert first.bias is not None
    assert scaled.bias is None, "it enters six times"
    assert scaled.last_gradient is not None, "that units are taught shows all the same"
