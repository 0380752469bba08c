"""What is recorded of gradients that are kept or cleared, of weights at the start, and of the order of classes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ..watching import Watching


def train(clear, steps=24, optimizers=1, losses=1, labels=lambda step: torch.arange(7) % 3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3))
    parts = [model.parameters()] if optimizers == 1 else [model[0].parameters(), model[2].parameters()]
    steppers = [torch.optim.SGD(part, 1e-3) for part in parts]
    with Watching(model, every=1) as watch:
        for step in range(steps):
            for stepper in steppers:
                clear(stepper, "before", step)
                for _ in range(losses):
                    F.cross_entropy(model(torch.randn(7, 3)), labels(step)).backward()
                clear(stepper, "after", step)
                stepper.step()
                clear(stepper, "at the end", step)
    return watch.process


def counts(process):
    return process.snapshots[-1].parameters


def at(moment, **options):
    return lambda optimizer, now, step: optimizer.zero_grad(**options) if now == moment else None


@pytest.mark.parametrize("moment", ["before", "at the end"])
@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize(("optimizers", "losses"), [(1, 1), (1, 3), (2, 1)])
def test_gradients_that_are_cleared_once_a_step_are_not_kept(moment, to_none, optimizers, losses):
    got = counts(train(at(moment, set_to_none=to_none), optimizers=optimizers, losses=losses))
    assert got.carried == 0
    assert all(one.without_gradients == 0 for one in got.optimizers)


def test_gradients_that_nobody_clears_are_kept():
    got = counts(train(lambda *_: None))
    assert got.carried == got.carried_looks >= 20
    assert got.optimizers[0].without_gradients == 0


@pytest.mark.parametrize(("moment", "to_none", "zeros"), [
    ("after", False, True), ("before", False, False), ("at the end", False, False), ("before", True, False),
])  # fmt: skip
def test_gradients_that_are_zero_when_the_optimizer_uses_them(moment, to_none, zeros):
    (optimizer,) = counts(train(at(moment, set_to_none=to_none))).optimizers
    assert optimizer.used == 8
    assert optimizer.zeros == (8 if zeros else 0)


def test_an_optimizer_whose_training_has_ended_keeps_its_last_gradients_and_is_not_asked():
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3)) for _ in range(3)]
    with Watching(every=1) as watch:
        for model in models:
            optimizer = torch.optim.SGD(model.parameters(), 1e-3)
            model.optimizer = optimizer
            for _ in range(9):
                optimizer.zero_grad()
                model(torch.randn(7, 3)).square().mean().backward()
                optimizer.step()
    assert counts(watch.process).carried == 0
    assert counts(watch.process).carried_looks > 20


def test_gradients_that_are_cleared_now_and_then_are_not_kept_always():
    got = counts(train(lambda optimizer, now, step: optimizer.zero_grad() if step % 5 == 0 else None))
    assert got.carried < got.carried_looks or not got.carried


def test_gradients_that_are_cleared_before_the_step_are_missed_there():
    (optimizer,) = counts(train(at("after"))).optimizers
    assert optimizer.without_gradients == optimizer.steps > 0


def test_the_range_of_each_weight_at_the_start():
    process = train(at("before"))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3))
    got = counts(process)
    for number, parameter in enumerate(model.parameters()):
        assert (got.weight_low[number], got.weight_high[number]) == pytest.approx(
            (parameter.min().item(), parameter.max().item())
        )


def test_classes_of_all_readings_count_together():
    process = train(at("before"), labels=lambda step: torch.full((7,), step % 3))
    windows = [window for shot in process.snapshots for window in shot.outputs]
    pooled = np.concatenate([window.pooled_entropy for window in windows])
    assert np.concatenate([window.class_entropy for window in windows]).max() == 0
    assert pooled[0] == 0
    assert pooled[-1] > 0.8


@pytest.mark.parametrize(("labels", "same"), [(lambda step: step % 3, 0.0), (lambda step: 0, 1.0)])
def test_what_the_classes_of_two_batches_in_a_row_have_in_common(labels, same):
    process = train(at("before"), labels=lambda step: torch.full((7,), labels(step)))
    windows = [window for shot in process.snapshots for window in shot.outputs]
    overlap = np.concatenate([window.class_overlap for window in windows])
    steps = np.concatenate([window.steps for window in windows])
    follows = np.diff(steps, prepend=-9) == 1
    assert follows.sum() >= 3
    assert (overlap[follows] == same).all()
    assert np.isnan(overlap[~follows]).all()


def test_the_cost_of_each_reading_is_kept_beside_the_loss():
    process = train(at("before"))
    windows = [window for shot in process.snapshots for window in shot.outputs]
    loss = process.series("loss")
    for window in windows:
        known = {int(step): value for step, value in zip(loss.steps, loss.values, strict=True)}
        assert window.cost == pytest.approx([known[int(step)] for step in window.steps], rel=1e-5)


@pytest.mark.parametrize("rows", [8, 64])
@pytest.mark.parametrize("grey", [False, True])
def test_what_constant_shares_cost_is_read_for_each_unit(rows, grey):
    """Against the definition, on targets whose units differ; of few rows one share stands for all units."""
    torch.manual_seed(1)
    means = torch.tensor([0.05, 0.5, 0.9])
    noise = torch.rand(rows, 3)
    target = (means * 0.8 + 0.2 * noise).clamp(0, 1) if grey else (noise < means).float()
    layer = nn.Linear(2, 3)
    optimizer = torch.optim.SGD(layer.parameters(), 1e-3)
    with Watching(layer, every=1) as watch:
        for _ in range(4):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(layer(torch.randn(rows, 2)), target).backward()
            optimizer.step()
    windows = [window for shot in watch.process.snapshots for window in shot.outputs]

    def read(name):
        return np.concatenate([getattr(window, name) for window in windows])

    def entropy(share):
        return -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))

    wanted = target.double()
    share = wanted.mean(0)
    error = wanted.var(0) / (2 * rows * (share * (1 - share)).clamp(min=1e-12))
    units = entropy(share) + error
    whole = float(entropy(wanted.mean()))
    assert read("target_entropy") == pytest.approx(np.full(4, float(entropy(wanted).mean())), abs=1e-6)
    if rows < 16:
        assert read("share_entropy") == pytest.approx(np.full(4, whole), rel=1e-6)
        assert read("unit_entropy") == pytest.approx(np.full(4, whole), rel=1e-6)
    else:
        assert read("share_entropy") == pytest.approx(np.full(4, min(float(units.mean()), whole)), rel=1e-6)
        assert read("unit_entropy") == pytest.approx(np.full(4, float(units.max())), rel=1e-6)
        assert float(read("share_entropy")[0]) < whole


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_weight_is_used_once_for_each_position(kind):
    layer = kind(3, 5, batch_first=True)
    head = nn.Linear(5, 2)
    optimizer = torch.optim.SGD([*layer.parameters(), *head.parameters()], 1e-3)
    with Watching(layer, every=1) as watch:
        for _ in range(2):
            optimizer.zero_grad()
            head(layer(torch.randn(4, 17, 3))[0][:, -1]).square().mean().backward()
            optimizer.step()
    known = zip(watch.process.parameters, counts(watch.process).uses, strict=True)
    uses = {one.path.rpartition(".")[2]: int(used) for one, used in known}
    assert uses["weight_hh_l0"] == 17
    assert sorted(uses.values())[-1] == 17


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_scheduler_is_known_by_what_it_leaves_in_the_groups(scheduled):
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.5 if scheduled else 0.0)
    if scheduled:
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step // 100)
    with Watching(layer, every=1) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.randn(4, 3)).square().mean().backward()
            optimizer.step()
    (known,) = counts(watch.process).optimizers
    assert (known.scheduled, known.momentum) == (scheduled, 0.5 if scheduled else None)


@pytest.mark.parametrize("anew", [False, True])
def test_losses_that_lead_to_new_parameters_are_counted(anew):
    first, head = nn.Linear(3, 5), nn.Linear(5, 1)
    optimizer = torch.optim.SGD([*first.parameters(), *head.parameters()], 0.1)
    with Watching(every=1) as watch:
        for _ in range(4):
            optimizer.zero_grad()
            last = nn.Linear(5, 1) if anew else head
            # Inputs that are new each time, and optimised, are no layers.
            x = torch.randn(4, 3, requires_grad=True) + nn.Parameter(torch.zeros(4, 3))
            last(first(x)).square().mean().backward()
            optimizer.step()
    got = counts(watch.process)
    assert (got.losses_read, got.losses_with_new) == (4, 3 if anew else 0)
