"""Learned slopes in an optimizer that is already running."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler, swa_utils

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
    "LambdaLR, one for each group": lambda o: lr_scheduler.LambdaLR(
        o, [lambda step, group=group: 1 / (1 + step + group) for group in range(len(o.param_groups))]
    ),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [3, 4]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, total_iters=4),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 7),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 7),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=11),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, step_size_up=3),
    "CyclicLR, without momentum": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, step_size_up=3, cycle_momentum=False),
    "SWALR": lambda o: swa_utils.SWALR(o, 0.5, anneal_epochs=4),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, total_iters=5),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 7),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda step: 0.9),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, total_iters=3), lr_scheduler.ExponentialLR(o, 0.9)], milestones=[3]
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.ConstantLR(o)], o
    ),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "ReduceLROnPlateau, a floor for each group": lambda o: lr_scheduler.ReduceLROnPlateau(
        o, patience=0, min_lr=[1e-4 * (1 + group) for group in range(len(o.param_groups))]
    ),
}


OPTIMIZERS = {
    "AdamW": lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1),
    "SGD": lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.5, weight_decay=0.1),
    "Adam, tensor as rate": lambda groups: torch.optim.Adam(groups, lr=torch.tensor(0.01), weight_decay=0.1),
}


def group_of(optimizer, parameter):
    return next(group for group in optimizer.param_groups if any(p is parameter for p in group["params"]))


def test_no_scheduler_of_torch_is_missing_here():
    missing = {
        name
        for name, cls in vars(lr_scheduler).items()
        if isinstance(cls, type) and issubclass(cls, lr_scheduler.LRScheduler) and not name.endswith("LRScheduler")
    } - {name.partition(",")[0] for name in SCHEDULERS}
    assert not missing


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "SGD") for name in SCHEDULERS), ("CyclicLR", "AdamW"), ("OneCycleLR", "AdamW"),
     *((name, "Adam, tensor as rate") for name in ("StepLR", "SequentialLR", "ReduceLROnPlateau"))],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_live_scheduler_moves_each_new_group_as_that_of_its_layer(name, kind):
    model = stack()
    # Groups that share one tensor as their rate would be moved twice, by torch itself.
    first = {"params": model[0].parameters(), "lr": torch.tensor(0.02) if "tensor" in kind else 0.02}
    optimizer = OPTIMIZERS[kind]([first, {"params": model[2:].parameters()}])
    scheduler = SCHEDULERS[name](optimizer)
    losses = iter((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0))

    def step():
        train(model, optimizer, steps=1)
        scheduler.step(*([next(losses)] if name.startswith("Reduce") else []))
        return [float(group["lr"]) for group in optimizer.param_groups]

    seen = [step(), step()]
    change = swap(model, "relu", "prelu:0.1", optimizer=optimizer)
    for _ in range(3):
        seen.append(step())
        assert len(optimizer.param_groups) == len(scheduler.get_last_lr()) > 2
        for layer, slope in ((model[0], model[1]), (model[2], model[3])):
            old, new = group_of(optimizer, layer.weight), group_of(optimizer, slope.weight)
            moving = [key for key in ("lr", "momentum", "betas") if key in old]
            assert [old[key] for key in moving] == [new[key] for key in moving]
            assert new["weight_decay"] == 0
    assert len({rates[0] for rates in seen}) > 1, "the scheduler does something here"
    change.undo()
    assert len(step()) == len(scheduler.get_last_lr()) == 2


def test_groups_that_are_alike_now_and_not_later_get_slopes_of_their_own():
    model = stack()
    optimizer = torch.optim.AdamW(
        [{"params": model[0].parameters()}, {"params": model[2:].parameters()}], lr=0.01, weight_decay=0.1
    )
    scheduler = lr_scheduler.LambdaLR(optimizer, [lambda step: 1.0, lambda step: 1 / (1 + step)])
    swap(model, "relu", "prelu:0.1", optimizer=optimizer)
    train(model, optimizer, [scheduler])
    assert group_of(optimizer, model[1].weight)["lr"] == 0.01
    assert group_of(optimizer, model[3].weight)["lr"] == 0.01 / 4


def test_a_training_that_goes_on_from_a_checkpoint_after_the_swap():
    """Optimizer and scheduler are saved with the new group, and load where the swap is made again."""

    def made():
        model = stack()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
        return model, optimizer, lr_scheduler.StepLR(optimizer, 2)

    model, optimizer, scheduler = made()
    train(model, optimizer, [scheduler])
    swap(model, "relu", "prelu:0.1", optimizer=optimizer)
    train(model, optimizer, [scheduler])
    saved = [copy.deepcopy(part.state_dict()) for part in (model, optimizer, scheduler)]
    torch.manual_seed(3)
    train(model, optimizer, [scheduler])
    again = made()
    swap(again[0], "relu", "prelu:0.1", optimizer=again[1])
    for part, state in zip(again, saved, strict=True):
        part.load_state_dict(state)
    torch.manual_seed(3)
    train(again[0], again[1], [again[2]])
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again[0].parameters(), strict=True))


def test_a_scheduler_that_is_not_built_on_torchs_is_refused_by_name():
    class CosineScheduler:
        """As timm and others write them: one number for each group, taken when it was made."""

        def __init__(self, optimizer):
            self.optimizer = optimizer
            self.base_values = [group["lr"] for group in optimizer.param_groups]

    model = stack()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    scheduler = CosineScheduler(optimizer)
    with pytest.raises(CannotSwap, match=r"CosineScheduler keeps one number for each group of AdamW"):
        swap(model, "relu", "prelu", optimizer=optimizer)
    assert isinstance(model[1], nn.ReLU)
    del scheduler


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
