"""Learned slopes in an optimizer that is already running."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from rectifier.errors import CannotSwap
from rectifier.treatment import swap
from tests.treatment.models import stack


def train(model, optimizer, schedulers=(), steps=3):
    x = torch.randn(11, 5)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


def frozen_picture(optimizer):
    groups = [
        {key: [id(p) for p in value] if key == "params" else copy.copy(value) for key, value in group.items()}
        for group in optimizer.param_groups
    ]
    return groups, {id(p): {k: v.clone() for k, v in s.items()} for p, s in optimizer.state.items()}


def test_slopes_join_the_group_of_their_layer_where_it_has_no_weight_decay():
    model = stack()
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.5}, {"params": [*model[2].parameters(), *model[4].parameters()]}],
        lr=0.1,
    )
    swap(model, "relu", "prelu:0.1", optimizer=optimizer)
    assert len(optimizer.param_groups) == 2
    assert optimizer.param_groups[0]["params"][-1] is model[1].weight
    assert optimizer.param_groups[1]["params"][-1] is model[3].weight


def test_slopes_get_a_group_without_weight_decay_in_the_middle_of_training():
    model = stack()
    optimizer = torch.optim.AdamW(
        [{"params": model[:2].parameters(), "lr": 0.01}, {"params": model[2:].parameters(), "betas": (0.8, 0.9)}],
        weight_decay=0.5,
    )
    train(model, optimizer)
    before = frozen_picture(optimizer)
    change = swap(model, "relu", "prelu:0.1", optimizer=optimizer)
    first, second = optimizer.param_groups[2:]
    assert [first["params"], second["params"]] == [[model[1].weight], [model[3].weight]]
    assert (first["weight_decay"], first["lr"], second["betas"]) == (0.0, 0.01, (0.8, 0.9))
    train(model, optimizer)
    assert model[1].weight.item() != pytest.approx(0.1, abs=1e-6)
    change.undo()
    assert frozen_picture(optimizer)[0] == before[0]
    assert {id(p) for p in optimizer.state} == before[1].keys()


def test_undo_right_away_leaves_the_optimizer_bit_for_bit():
    model = stack()
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=0.1)
    train(model, optimizer)
    groups, state = frozen_picture(optimizer)
    swap(model, "relu", "prelu", optimizer=optimizer).undo()
    again, after = frozen_picture(optimizer)
    assert groups == again
    assert state.keys() == after.keys()
    for parameter, values in state.items():
        assert all(torch.equal(values[key], after[parameter][key]) for key in values)


def test_the_usual_group_without_decay_is_taken():
    model = stack()
    weights = [p for p in model.parameters() if p.dim() > 1]
    biases = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": weights}, {"params": biases, "weight_decay": 0.0}], weight_decay=0.1)
    swap(model, "relu", "prelu", optimizer=optimizer)
    assert len(optimizer.param_groups) == 2
    assert len(optimizer.param_groups[1]["params"]) == 5


SCHEDULERS = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 7),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 7),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=11),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, step_size_up=3, cycle_momentum=False),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, total_iters=5),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 7),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda step: 0.9),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, total_iters=3), lr_scheduler.ExponentialLR(o, 0.9)], milestones=[3]
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.ConstantLR(o)], o
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_live_scheduler_moves_the_new_group_as_that_of_its_layer(name):
    model = stack()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    scheduler = SCHEDULERS[name](optimizer)
    train(model, optimizer, [scheduler], steps=2)
    change = swap(model, "relu", "prelu:0.1", optimizer=optimizer)
    for _ in range(3):
        train(model, optimizer, [scheduler], steps=1)
        old, new = optimizer.param_groups
        assert new["lr"] == old["lr"]
    assert len(scheduler.get_last_lr()) == 2
    change.undo()
    train(model, optimizer, [scheduler], steps=2)
    assert len(scheduler.get_last_lr()) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_reduce_on_plateau_moves_the_new_group_too():
    model = stack()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    swap(model, "relu", "prelu:0.1", optimizer=optimizer)
    train(model, optimizer)
    for loss in (1.0, 2.0, 3.0):
        scheduler.step(loss)
    assert optimizer.param_groups[1]["lr"] == optimizer.param_groups[0]["lr"] < 0.01


def test_an_unknown_scheduler_is_refused_by_name():
    class Mine(lr_scheduler.LRScheduler):
        def get_lr(self):
            return [group["lr"] for group in self.optimizer.param_groups]

    model = stack()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    scheduler = Mine(optimizer)
    with pytest.raises(CannotSwap, match=r"Mine keeps one number for each group of AdamW"):
        swap(model, "relu", "prelu", optimizer=optimizer)
    assert isinstance(model[1], nn.ReLU)
    assert len(optimizer.param_groups) == 1
    del scheduler


def test_lbfgs_is_refused_by_name():
    model = stack()
    optimizer = torch.optim.LBFGS(model.parameters())
    with pytest.raises(CannotSwap, match=r"LBFGS cannot take new parameters: it keeps one flat vector"):
        swap(model, "relu", "prelu", optimizer=optimizer)
    assert isinstance(model[1], nn.ReLU)
    swap(model, "relu", "leaky_relu:0.1", optimizer=optimizer)


def test_without_an_optimizer_the_note_says_what_to_do():
    change = swap(stack(), "relu", "prelu:0.1")
    assert change.notes[0] == (
        "2 parameters are new, 1.weight, 3.weight: make the optimizer after the swap, or pass it as optimizer=; "
        "in an optimizer that was made before they are missing, and stay at 0.1."
    )
    assert "strict=False" in change.notes[1]


def test_a_checkpoint_from_before_the_swap_loads_as_the_note_says():
    model = stack()
    checkpoint = copy.deepcopy(model.state_dict())
    change = swap(model, "relu", "prelu:0.1")
    result = model.load_state_dict(checkpoint, strict=False)
    assert result.missing_keys == ["1.weight", "3.weight"]
    assert model[1].weight.item() == pytest.approx(0.1)
    assert change.replaced == ("1", "3")
