"""What is told of parameters equals a brute-force count, in whatever way a training is written."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.records import Holder

from ..edge import diagnose
from ..watching import Watching


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(3, 5), nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.second(F.relu(self.first(x)))))


def last(process):
    return process.snapshots[-1].parameters


def by_path(process, name):
    values = getattr(last(process), name)
    return {one.path: value for one, value in zip(process.parameters, values.tolist(), strict=True)}


def train(model, steps=40, *, step=None, rate=0.1, forward=None):
    torch.manual_seed(0)
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], rate)
    losses = []
    for number in range(steps):
        x = torch.randn(7, 3)
        optimizer.zero_grad()
        loss = (forward or model)(x).square().mean()
        loss.backward()
        losses.append(loss.item())
        (step or (lambda number, optimizer: optimizer.step()))(number, optimizer)
    return losses


def test_gradients_and_changes_are_those_of_a_brute_force_count():
    model = Net()
    model.second.bias.requires_grad_(False)
    mask = torch.tensor([1.0, 0.0])
    optimizer = torch.optim.SGD([*model.first.parameters(), *model.second.parameters(), model.out.weight], 0.1)
    gradients, weights = [], []
    with Watching(model, every=1) as watch:
        for _ in range(70):
            weights.append({name: one.detach().clone() for name, one in model.named_parameters()})
            optimizer.zero_grad()
            (model(torch.randn(7, 3)) * mask).square().mean().backward()
            gradients.append({name: one.grad for name, one in model.named_parameters()})
            gradients[-1] = {name: None if one is None else one.clone() for name, one in gradients[-1].items()}
            optimizer.step()
    process = watch.process
    assert [one.path for one in process.parameters] == [name for name, _ in model.named_parameters()]
    assert by_path(process, "looked") == dict.fromkeys(weights[0], 70)
    assert by_path(process, "without_gradient") == {
        name: sum(one[name] is None for one in gradients) for name in weights[0]
    }
    assert by_path(process, "zero_gradient") == {
        name: sum(one[name] is not None and bool((one[name] == 0).all()) for one in gradients) for name in weights[0]
    }
    changed = by_path(process, "last_changed")
    for name, one in model.named_parameters():
        assert (changed[name] >= 0) == (not torch.equal(one, weights[0][name])), name
    assert by_path(process, "weight_first")["first.weight"] == pytest.approx(weights[0]["first.weight"].norm().item())
    assert by_path(process, "optimizer")["out.bias"] == -1
    assert by_path(process, "learning_rate")["first.bias"] == 0.1


def test_what_was_frozen_gets_no_gradient_although_it_keeps_that_of_an_earlier_training():
    model = Net()
    train(model, 3)
    model.first.requires_grad_(False)
    assert all(one.grad is not None for one in model.first.parameters())
    with Watching(model, every=1) as watch:
        train(model)
    assert by_path(watch.process, "zero_gradient")["first.weight"] == 0
    assert by_path(watch.process, "last_nonzero")["first.weight"] == -1
    assert by_path(watch.process, "last_nonzero")["second.weight"] > 0
    assert not diagnose(watch.process).reaches("warning")


def test_a_layer_that_is_put_in_the_place_of_another_is_registered():
    model = Net()
    with Watching(model, every=1) as watch:
        train(model, 3)
        model.out = nn.Linear(4, 2)
        train(model, 3)
    held = [(one.path, one.holder) for one in watch.process.parameters]
    assert held.count(("out.weight", Holder.MODULE)) == 2
    assert all(holder is Holder.MODULE for _, holder in held)


def test_one_bit_of_one_number_is_a_change():
    model = nn.Sequential(nn.Linear(1100, 1000), nn.ReLU(), nn.Linear(1000, 1))
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], 0.01)
    with Watching(every=1) as watch:
        for number in range(40):
            optimizer.zero_grad()
            model(torch.randn(2, 1100)).square().mean().backward()
            optimizer.step()
            if number == 20:
                flat = model[0].weight.data.view(torch.int32)
                flat[-1, -1] ^= 1
    assert by_path(watch.process, "last_changed")["0.weight"] == 32


def test_gradients_that_underflow_as_squares_are_not_zero():
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watching(every=1) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            (model(torch.ones(2, 3)).sum() * 1e-30).backward()
            optimizer.step()
    assert by_path(watch.process, "zero_gradient") == {"weight": 0, "bias": 0}


def test_layers_in_a_plain_list_are_known_by_their_place():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU())]
            self.scale = torch.ones(4, requires_grad=True)
            self.out = nn.Linear(4, 1)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return self.out(x * self.scale)

    with Watching(every=1) as watch:
        train(Listed())
    process = watch.process
    held = {one.path: one.holder for one in process.parameters}
    assert held == {
        "out.weight": Holder.MODULE, "out.bias": Holder.MODULE, "scale": Holder.CONTAINER,
        "layers[0].weight": Holder.CONTAINER, "layers[0].bias": Holder.CONTAINER,
        "layers[1].0.weight": Holder.CONTAINER, "layers[1].0.bias": Holder.CONTAINER,
    }  # fmt: skip
    assert {one.model for one in process.parameters} == {"Listed"}
    changed = by_path(process, "last_changed")
    assert {path for path, step in changed.items() if step >= 0} == {"out.weight", "out.bias"}


def test_a_training_without_any_step_is_told():
    model, kept = Net(), []
    with Watching(every=1) as watch:
        train(model, 130, step=lambda number, optimizer: kept.append(optimizer))
    counts = last(watch.process)
    assert (counts.optimizer_steps, counts.backward_passes) == (0, 130)
    assert set(counts.last_changed.tolist()) == {-1}
    assert [one.name for one in counts.optimizers] == ["SGD"]


def test_steps_that_a_script_makes_by_itself_are_counted():
    model = Net()

    def move(number, optimizer):
        with torch.no_grad():
            for one in model.parameters():
                one.data.add_(one.grad, alpha=-0.1)

    with Watching(every=1) as watch:
        train(model, 40, step=move)
    counts = last(watch.process)
    assert watch.process.snapshots[-1].step == 39
    assert counts.optimizer_steps == 40
    assert (counts.last_changed > 0).all()
    (site, _) = watch.process.sites
    assert site.path == ""
    assert sum(w.visits for s in watch.process.snapshots for w in s.windows if w.site == 0) == 40 * 7


def test_accumulated_gradients_of_many_batches_are_one_step():
    with Watching(every=1) as watch:
        train(Net(), 200, step=lambda number, optimizer: optimizer.step() if number % 100 == 99 else None)
    assert last(watch.process).optimizer_steps == 1 + watch.process.snapshots[-1].step
    assert last(watch.process).optimizers[0].steps >= 1
    assert watch.process.warnings == ()


@pytest.mark.parametrize("way", ["called", "forward", "functional", "bare tensors"])
def test_any_way_of_writing_a_forward(way):
    model = Net()
    bare = [torch.randn(5, 3, requires_grad=True), torch.randn(2, 5, requires_grad=True)]

    def forward(x):
        if way == "bare tensors":
            return torch.tanh(x @ bare[0].t()) @ bare[1].t()
        if way == "functional":
            return torch.func.functional_call(model, dict(model.named_parameters()), (x,))
        return model(x) if way == "called" else model.forward(x)

    optimizer = torch.optim.SGD(bare if way == "bare tensors" else model.parameters(), 0.1)
    losses = []
    for watched in (False, True):
        torch.manual_seed(1)
        start = copy.deepcopy(model.state_dict()), [one.detach().clone() for one in bare]
        with Watching(every=1) as watch:
            if not watched:
                watch.monitor.stop()
            run = []
            for _ in range(40):
                optimizer.zero_grad()
                loss = forward(torch.randn(7, 3)).square().mean()
                loss.backward()
                optimizer.step()
                run.append(loss.item())
        losses.append(run)
        model.load_state_dict(start[0])
        for one, value in zip(bare, start[1], strict=True):
            one.data.copy_(value)
    assert losses[0] == losses[1]
    counts = last(watch.process)
    assert (counts.without_gradient.sum(), counts.zero_gradient.sum()) == (0, 0)
    assert (counts.last_nonzero == 39).all()
    assert len(watch.process.outputs) == 1


def test_a_training_in_eval_mode_is_counted_and_an_evaluation_is_not():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    with Watching(every=1) as watch:
        train(model, 10)
        model.eval()
        model(torch.randn(1000, 3))
        with torch.no_grad():
            model(torch.randn(1000, 3))
        train(model, 20)
    (state,) = watch.process.snapshots[-1].models
    assert 0 < state.eval_steps < state.steps
    visits = sum(w.visits for s in watch.process.snapshots for w in s.windows)
    # The first step in eval mode tells that it is a training.
    assert visits == (10 + 20 - 1) * 7


def test_a_network_without_an_activation_is_followed():
    model = nn.Linear(3, 2)
    with rectifier.watch(every=1) as watch:
        train(model)
    (process,) = watch.run.processes
    assert process.sites == ()
    assert (last(process).last_nonzero == 39).all()
    spreads = np.concatenate([window.spread for snapshot in process.snapshots for window in snapshot.outputs])
    assert len(spreads) > 8
    assert np.isfinite(spreads).all()


def test_steps_that_a_scaler_leaves_out_for_ever_are_counted():
    model = Net()
    optimizer, scaler = torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("cpu")
    with Watching(every=1) as watch:
        for number in range(60):
            optimizer.zero_grad()
            loss = model(torch.randn(7, 3)).square().mean() * (1.0 if number < 5 else float("inf"))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    (state,) = last(watch.process).optimizers
    assert state.skipped == 55
    assert watch.process.snapshots[-1].step > 30


def test_a_window_that_is_read_in_the_middle_of_a_step_takes_nothing_for_granted():
    """A gradient that comes later in the same step is no step without one."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watching(model, every=1) as watch:
        for _ in range(5):
            optimizer.zero_grad()
            (0.0 * model(torch.randn(7, 3))).sum().backward()
            watch.monitor.flush()
            model(torch.randn(7, 3)).square().mean().backward()
            optimizer.step()
    counts = last(watch.process)
    assert (counts.looked == 5).all()
    assert (counts.zero_gradient.sum(), counts.without_gradient.sum()) == (0, 0)


def test_the_norm_of_many_numbers_in_half_precision_is_finite():
    model = nn.Linear(300, 300, dtype=torch.float16)
    nn.init.constant_(model.weight, 300.0)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with Watching(every=1) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            (model(torch.ones(2, 300, dtype=torch.float16) * 1e-3).sum() * 1e-3).backward()
            optimizer.step()
    assert by_path(watch.process, "weight_first")["weight"] == pytest.approx(300.0 * 300.0, rel=1e-3)
    assert by_path(watch.process, "nonfinite_weight_step")["weight"] == -1
