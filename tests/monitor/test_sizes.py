"""What is measured of inputs, outputs and clipped gradients, against the same numbers computed by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad, clip_grad_norm_

from rectifier.monitor.training.sites.samples import DistinctSamples
from rectifier.records import NORM_BEFORE_CLIPPING

from ..watching import Watching


def train(model, batches, *, clip=None, every=1):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    norms = []
    with Watching(model, every=every) as watch:
        for x in batches:
            optimizer.zero_grad()
            model(x).square().mean().backward()
            if clip is not None:
                norms.append(float(clip(model.parameters(), 0.01)))
            optimizer.step()
    return watch.process, norms


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))


def test_clipping_is_heard_under_an_alias_at_every_step_and_changes_nothing():
    x = [torch.randn(7, 3) for _ in range(6)]
    original = clip_grad._clip_grads_with_norm_
    model = plain()
    process, norms = train(model, x, clip=clip_grad_norm_, every=4)
    heard = process.series(NORM_BEFORE_CLIPPING)
    assert heard.steps.tolist() == list(range(6))
    assert heard.values == pytest.approx(norms)
    assert min(norms) > 0.01, "something was clipped"
    assert clip_grad._clip_grads_with_norm_ is original
    alone = plain()
    optimizer = torch.optim.SGD(alone.parameters(), 0.1)
    for batch in x:
        optimizer.zero_grad()
        alone(batch).square().mean().backward()
        clip_grad_norm_(alone.parameters(), 0.01)
        optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(alone.parameters(), model.parameters(), strict=True))


def test_of_several_groups_in_one_step_the_largest_norm_counts():
    model = plain()
    said = []

    def in_groups(parameters, largest):
        said.append([float(clip_grad_norm_(part.parameters(), largest)) for part in (model[0], model[2], model[4])])
        return 0.0

    process, _ = train(model, [torch.randn(7, 3) for _ in range(4)], clip=in_groups)
    assert process.series(NORM_BEFORE_CLIPPING).values == pytest.approx([max(norms) for norms in said])


def test_without_clipping_there_is_no_such_series():
    process, _ = train(plain(), [torch.randn(7, 3)] * 3)
    assert not len(process.series(NORM_BEFORE_CLIPPING).steps)


def test_outputs_are_measured_once_everywhere_and_at_each_step_of_the_last_site():
    model, x = plain(), torch.randn(7, 3)
    with torch.no_grad():
        first, last = model[:2](x).double(), model[:4](x).double()
    process, _ = train(model, [x] * 3)
    windows = [[w for shot in process.snapshots for w in shot.windows if w.site == index] for index in (0, 1)]
    square = [np.concatenate([w.square for w in own]) for own in windows]
    spread = [np.concatenate([w.spread for w in own]) for own in windows]
    for at, values in ((0, first), (1, last)):
        assert square[at][0] == pytest.approx(float(values.square().mean()), rel=1e-5)
        assert spread[at][0] == pytest.approx(float(values.var(0, unbiased=False).mean()), rel=1e-5)
    assert np.isnan(square[0][1:]).all()
    assert np.isfinite(square[1]).all()


def test_a_batch_of_one_tells_nothing_of_what_differs():
    process, _ = train(plain(), [torch.randn(1, 3)] * 3)
    windows = [window for shot in process.snapshots for window in shot.windows]
    assert windows
    assert all(np.isnan(window.spread).all() for window in windows)


def test_the_offset_of_the_inputs():
    x = torch.randn(900, 4) * torch.tensor([1.0, 2.0, 3.0, 0.5]) + torch.tensor([5.0, -40.0, 0.0, 9.0])
    process, _ = train(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1)), x.split(300))
    expected = float(x.double().mean(0).norm() / x.double().std(0, unbiased=False).norm())
    assert process.snapshots[-1].input_offset == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "batches", [[torch.ones(7, 3)], [torch.randn(7, 3), torch.randn(7, 5)], [torch.ones(7, 3, dtype=torch.int64)], []]
)
def test_inputs_without_an_offset_to_tell(batches):
    samples = DistinctSamples()
    for batch in batches:
        samples.see([batch], 0, measured=True)
    assert samples.offset is None
