"""Dead units revived: the function stays, the units learn at once, everything else is as it was."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import rectifier
from rectifier.errors import CannotRecycle
from rectifier.records import Diagnosis
from rectifier.treatment import recycle
from tests.findings import ref
from tests.treatment.recycling.recycle_models import DEEPLY, Block, Net, dead, kill, label, loss, picture, same, train

UNITS = (0, 1, 3)


def prepared(net, *, number=0, units=UNITS, optimizer=torch.optim.Adam, steps=3, seed=0):
    torch.manual_seed(seed)
    model = net()
    batch = torch.randn(7, 4, 4, 4)
    trainer = optimizer(model.parameters(), lr=1e-3)
    model.blocks[number].kill(units)
    train(model, trainer, batch, steps)
    return model, trainer, batch, dead(label(*model.label(number)), units)


def relative(new, old):
    pairs = zip(new, old, strict=True)
    return max(float(((a - b).abs().max() / b.abs().max()).detach()) for a, b in pairs)


def values_at(model, number, batch):
    block = model.blocks[number]
    seen = []
    handle = (block.after if block.call in ("function", "method") else block.act).register_forward_hook(
        lambda module, args, out: seen.append((args[0] if module is block.after else out).clone())
    )
    model(batch)
    handle.remove()
    return seen[-1]


def mlp(width=6, norm=None, bias=True):
    middle = [] if norm is None else [norm(width)]
    return nn.Sequential(nn.Linear(5, width, bias=bias), *middle, nn.ReLU(), nn.Linear(width, 3))


POSSIBLE = {
    "convolutions": lambda: Net([Block(4, 6), Block(6, 6)]),
    "grouped": lambda: Net([Block(4, 6, "grouped"), Block(6, 6)]),
    "read by a grouped one": lambda: Net([Block(4, 6), Block(6, 6, "grouped")]),
    "transposed": lambda: Net([Block(4, 6, "transposed"), Block(6, 5)]),
    "read by a transposed one": lambda: Net([Block(4, 6), Block(6, 5, "transposed")]),
    "transposed in groups": lambda: Net([Block(4, 6, "transposed grouped"), Block(6, 6, "transposed grouped")]),
    "circular padding": lambda: Net([Block(4, 6), Block(6, 5, "circular")]),
    "batch norm": lambda: Net([Block(4, 6, norm="batch"), Block(6, 5, norm="batch")]),
    "max pooling": lambda: Net([Block(4, 6, after="max")], end="flat"),
    "mean pooling": lambda: Net([Block(4, 6, after="avg")]),
    "flattened": lambda: Net([Block(4, 6)], end="flat"),
    "in place": lambda: Net([Block(4, 6, call="inplace"), Block(6, 5, call="inplace")]),
    "a function": lambda: Net([Block(4, 6, call="function")]),
    "a method": lambda: Net([Block(4, 6, call="method")]),
    "three heads": lambda: Net([Block(4, 6)], heads=3, end="flat"),
    "a residual behind": lambda: Net([Block(4, 6), Block(6, 5), Block(5, 5, residual="after")]),
}
IMPOSSIBLE = {
    "depthwise": (lambda: Net([Block(4, 4, "depthwise")]), "depthwise convolution each has its own"),
    "read depthwise": (lambda: Net([Block(4, 6), Block(6, 6, "depthwise")]), "depthwise"),
    "group norm before": (lambda: Net([Block(4, 6, norm="group")]), "group_norm before it normalises over units"),
    "instance norm": (lambda: Net([Block(4, 6, norm="instance")]), "instance_norm"),
    "layer norm after": (lambda: Net([Block(4, 6, after="layer")]), "normalises after the activation"),
    "batch norm after": (lambda: Net([Block(4, 6, after="batch")]), "normalises after the activation"),
    "sum before": (lambda: Net([Block(4, 4, residual="before")]), "terms of a sum"),
    "sum after": (lambda: Net([Block(4, 4, residual="after")]), "terms of a sum"),
    "read past": (lambda: Net([Block(4, 4, residual="past")]), "reads its pre-activation past the activation"),
    "returned": (lambda: Net([Block(4, 6)], leak=True), "something besides heads.0.weight reads it"),
    "used twice": (lambda: Net([Block(4, 4)], twice=True), "used more than once in a forward"),
    "tied": (lambda: Net([Block(4, 4), Block(4, 4)], tied=True), "are one parameter"),
}


@pytest.mark.parametrize("method", ["exact", "redo", "continual"])
@pytest.mark.parametrize("name", POSSIBLE)
def test_the_function_stays_in_training_and_evaluation_and_undo_is_bit_for_bit(name, method):
    model, optimizer, batch, finding = prepared(POSSIBLE[name])
    before = picture(model, optimizer)
    outputs = {}
    for mode in (True, False):
        outputs[mode] = [out.detach() for out in model.train(mode)(batch)]
    model.train()
    model.load_state_dict(before[0])
    change = recycle(model, optimizer, finding, batch=batch, method=method)
    assert change.units == {finding.site.key: UNITS}
    assert not same(picture(model, optimizer)[0], before[0])
    unasked = [i for i in (1, 3, 4, 5) if not same(picture(model, optimizer)[i], before[i])]
    assert unasked == []
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for mode in (True, False):
        assert relative(model.train(mode)(batch), outputs[mode]) < 1e-5
    model.train()
    model.load_state_dict(state)
    change.undo()
    assert same(picture(model, optimizer), before)
    assert change.undone


@pytest.mark.parametrize("name", POSSIBLE)
def test_every_revived_unit_fires_on_a_part_and_has_gradients_on_both_sides(name):
    model, optimizer, batch, finding = prepared(POSSIBLE[name])
    recycle(model, optimizer, finding, batch=batch)
    fired = (values_at(model, 0, batch) > 0).movedim(1, -1).flatten(0, -2).float().mean(0)
    assert ((fired[list(UNITS)] > 0.02) & (fired[list(UNITS)] < 0.98)).all()
    handle, kept = None, []
    block = model.blocks[0]
    place = block.after if block.call in ("function", "method") else block.act
    handle = place.register_forward_hook(lambda m, a, out: kept.append(out if m is block.act else a[0]))
    optimizer.zero_grad()
    loss(model(batch)).backward()
    handle.remove()
    rows = block.layer.weight.grad
    if not isinstance(block.layer, nn.ConvTranspose2d):
        assert (rows[list(UNITS)].flatten(1).norm(dim=1) > 0).all()
    assert kept[0].grad_fn is not None
    if len(model.blocks) == 1 and model.end == "mean":
        assert all((head.weight.grad[:, list(UNITS)].norm(dim=0) > 0).all() for head in model.heads)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_proved_is_refused_by_its_reason_and_nothing_changes(name):
    net, reason = IMPOSSIBLE[name]
    model, optimizer, batch, finding = prepared(net)
    before = picture(model, optimizer)
    with pytest.raises(CannotRecycle, match=reason):
        recycle(model, optimizer, finding, batch=batch)
    assert same(picture(model, optimizer), before)


def test_what_can_be_done_is_done_and_the_rest_is_told():
    model, optimizer, batch, finding = prepared(lambda: Net([Block(4, 6), Block(6, 6), Block(6, 6, residual="after")]))
    model.blocks[2].kill(UNITS)
    change = recycle(model, optimizer, [finding, dead("blocks.2.act", UNITS)], batch=batch)
    assert change.replaced == ("blocks.0.act: 3 of 6 units, 2 in pairs and 1 split off a live unit",)
    assert len(change.refused) == 1
    assert change.refused[0].startswith("blocks.2.act: its units are terms of a sum")
    assert any("Left as it was: blocks.2.act" in note for note in change.notes)


def test_what_reads_a_unit_behind_torchs_back_is_found_by_the_numbers():
    class Leaking(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x):
            h = F.relu(self.first(x))
            return self.second(h) + max(max(row) for row in h.tolist())

    torch.manual_seed(0)
    model, x = Leaking(), torch.randn(11, 5)
    kill(model.first, UNITS)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(CannotRecycle, match=r"something besides second.weight reads it"):
        recycle(model, optimizer, dead("Leaking", UNITS), batch=x)


def test_a_concatenation_is_followed_to_the_right_columns():
    class Cat(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.head = nn.Linear(5, 6), nn.Linear(5, 4), nn.Linear(16, 3)

        def forward(self, x):
            h = F.relu(self.b(x))
            return self.head(torch.cat([h, F.relu(self.a(x)), h.flip(1)[:, :2], h], 1)[..., :16])

    torch.manual_seed(0)
    model, x = Cat(), torch.randn(11, 5)
    kill(model.b, (1, 2))
    before, weight = model(x), model.head.weight.detach().clone()
    change = recycle(model, torch.optim.SGD(model.parameters(), 0.1), dead("Cat", (1, 2)), batch=x)
    assert torch.allclose(model(x), before, atol=1e-6)
    moved = (model.head.weight != weight).any(0).nonzero().flatten().tolist()
    # Unit 1 is read twice and unit 2 three times: each shares the work of the live unit that is read as often.
    assert change.units == {"Cat": (1, 2)}
    assert moved == [0, 1, 2, 3, 10, 11, 12, 13, 14, 15]


def test_a_unit_read_at_different_places_by_two_units_of_a_pair_is_left_alone_or_right():
    """Unit 2 is read three times and unit 1 twice: they are not interchangeable."""

    class Uneven(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.head = nn.Linear(5, 4), nn.Linear(5, 3)

        def forward(self, x):
            h = F.relu(self.b(x))
            return self.head(torch.cat([h, h[:, 2:3]], 1))

    torch.manual_seed(0)
    model, x = Uneven(), torch.randn(11, 5)
    kill(model.b, (1, 2))
    before = model(x)
    change = recycle(model, torch.optim.SGD(model.parameters(), 0.1), dead("Uneven", (1, 2)), batch=x)
    assert change.units == {"Uneven": (1,)}
    assert any("unit 2 stays dead" in note for note in change.notes)
    assert torch.allclose(model(x), before, atol=1e-6)


@pytest.mark.parametrize("wrap", ["parametrised", "pruned", "frozen", "left out", "computed"])
def test_weights_that_are_not_trained_as_they_are_are_refused(wrap):
    torch.manual_seed(0)
    model, x = mlp(), torch.randn(11, 5)
    kill(model[0], UNITS)
    reason = "is computed in the forward"
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    if wrap == "parametrised":
        nn.utils.parametrizations.weight_norm(model[0])
    elif wrap == "pruned":
        prune.l1_unstructured(model[2], "weight", 0.2)
    elif wrap == "computed":
        model[2].forward = lambda x: F.linear(x, model[2].weight * 1.0)
    elif wrap == "frozen":
        model[0].weight.requires_grad_(False)
        reason = r"0.weight is frozen"
    else:
        optimizer = torch.optim.SGD(model[0].parameters(), 0.1)
        reason = r"2.weight is not among the parameters"
    with pytest.raises(CannotRecycle, match=reason):
        recycle(model, optimizer, dead("Sequential.1", UNITS), batch=x)


def test_an_input_that_is_overwritten_later_is_still_seen_as_it_was():
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x):
            x = x * 1
            z = self.first(x)
            x.zero_()
            return self.second(F.relu(z))

    torch.manual_seed(0)
    model, x = Overwriting(), torch.randn(11, 5)
    kill(model.first, UNITS)
    recycle(model, torch.optim.SGD(model.parameters(), 0.1), dead("Overwriting", UNITS), batch=x)
    share = (model.first(x) > 0).float().mean(0)[:2]
    assert ((share > 0.3) & (share < 0.7)).all()


def test_without_a_bias_rows_are_chosen_that_fire_on_a_part():
    torch.manual_seed(0)
    model, x = mlp(bias=False), torch.rand(101, 5)
    with torch.no_grad():
        model[0].weight[[0, 1]] = -1.0
    before = model(x)
    recycle(model, torch.optim.SGD(model.parameters(), 0.1), dead("Sequential.1", (0, 1)), batch=x)
    share = float((model[0](x) > 0).float().mean(0)[0])
    assert 0.02 < share < 0.98
    assert torch.allclose(model(x), before, atol=1e-6)


def test_whole_dead_layers_come_back_and_let_the_gradient_through():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    x = torch.randn(101, 5)
    kill(model[0], range(7))
    kill(model[2], range(4))
    before = model(x)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    change = recycle(model, optimizer, [dead("Sequential.3", range(4)), dead("Sequential.1", range(7))], batch=x)
    assert change.replaced == (
        "Sequential.1: 7 of 7 units, 4 in pairs and 3 as a triple",
        "Sequential.3: 4 of 4 units, 4 in pairs",
    )
    assert torch.allclose(model(x), before, atol=1e-6)
    # The outputs do not depend on the first layer, and must not at first; one step behind it is enough.
    assert any("They get one when that has learned" in note for note in change.notes)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    for layer in model[::2]:
        assert (layer.weight.grad.norm(dim=1) > 0).all()


def test_when_the_layer_behind_is_silent_the_change_says_that_no_gradient_comes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    x = torch.randn(101, 5)
    kill(model[0], (0, 1))
    kill(model[2], range(4))
    change = recycle(model, torch.optim.SGD(model.parameters(), 0.1), dead("Sequential.1", (0, 1)), batch=x)
    assert any("what lies behind them was silent, too" in note for note in change.notes)


def test_dropout_between_is_told_and_evaluation_is_exact():
    model, optimizer, batch, finding = prepared(lambda: Net([Block(4, 6, after="dropout")]))
    before = [out.detach() for out in model.eval()(batch)]
    model.train()
    change = recycle(model, optimizer, finding, batch=batch)
    assert any("dropout hits the units of a pair separately" in note for note in change.notes)
    assert relative(model.eval()(batch), before) < 1e-5


def test_suspected_units_units_that_fire_and_other_findings_stay():
    torch.manual_seed(0)
    model, x = mlp(), torch.randn(101, 5)
    kill(model[0], (0, 1))
    optimizer = torch.optim.Adam(model.parameters())
    before = picture(model, optimizer)
    change = recycle(model, optimizer, [dead("Sequential.1", (0, 1), confirmed=False)], batch=x)
    assert change.units == {}
    assert change.notes == (
        "Sequential.1: 2 units are only suspected dead, and stay.",
        "There is no confirmed dead unit among the findings; nothing was changed.",
    )
    assert same(picture(model, optimizer), before)
    change = recycle(model, optimizer, [dead("Sequential.1", (0, 1, 4), suspected=2)], batch=x)
    assert change.units == {"Sequential.1": (0, 1)}
    assert "Sequential.1: unit 4 put out something on this batch, so not dead, and stay." in change.notes
    with pytest.raises(CannotRecycle, match="not dead"):
        recycle(model, optimizer, [dead("Sequential.1", (4,))], batch=x)


def test_a_watch_its_diagnosis_and_its_findings_say_the_same():
    torch.manual_seed(0)
    model, x = mlp(), torch.randn(4001, 5)
    kill(model[0], (0, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with rectifier.watch(model) as watch:
        model(x).square().mean().backward()
        optimizer.step()
        during = watch.diagnose()
        for findings in (watch, watch.diagnose(), list(watch.diagnose().findings), watch.diagnose().findings[0]):
            change = recycle(model, optimizer, findings, batch=x[:101])
            assert change.units == {"Sequential.1": (0, 1)}
            change.undo()
        # Our own forwards are not the training's.
        assert watch.diagnose() == during
    assert isinstance(during, Diagnosis)
    with pytest.raises(CannotRecycle, match="watch of another Sequential"):
        recycle(mlp(), optimizer, watch, batch=x)


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        ("Sequential#2.1", "was met as number 2"),
        ("MLP.1", "has no place called MLP.1"),
        (ref("1", model="Sequential", call=1), r"did not pass through it; this forward has 1"),
        ("Sequential.0", "did not pass through it"),
    ],
)
def test_a_site_that_cannot_be_told_is_refused_by_name(site, reason):
    torch.manual_seed(0)
    model, x = mlp(), torch.randn(11, 5)
    kill(model[0], (0, 1))
    with pytest.raises(CannotRecycle, match=reason):
        recycle(model, torch.optim.SGD(model.parameters(), 0.1), dead(site, (0, 1)), batch=x)


def test_a_site_whose_label_could_mean_another_is_the_one_that_was_meant():
    class Outer(nn.Sequential):
        pass

    torch.manual_seed(0)
    model = Outer(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    model.add_module("Outer", nn.Sequential(nn.Identity(), nn.ReLU()))
    kill(model[0], (0, 1))
    before, x = model[0].weight.detach().clone(), torch.randn(101, 5)
    change = recycle(model, torch.optim.SGD(model.parameters(), 0.1), dead("Outer.1", (0, 1)), batch=x)
    assert change.units == {"Outer.1": (0, 1)}
    assert (model[0].weight != before).any(1).tolist() == [True, True, False, False, False, False]


def test_no_random_stream_moves_and_the_same_call_draws_the_same():
    drawn = []
    for user_seed in (1, 2):
        model, optimizer, batch, finding = prepared(POSSIBLE["batch norm"])
        torch.manual_seed(user_seed)
        random.seed(user_seed)
        np.random.seed(user_seed)
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()
        recycle(model, optimizer, finding, batch=batch)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert random.getstate() == states[1]
        assert str(np.random.get_state()) == str(states[2])
        drawn.append({name: value.clone() for name, value in model.state_dict().items()})
    assert same(*drawn)


def test_after_training_undo_puts_nothing_back_and_says_so():
    model, optimizer, batch, finding = prepared(POSSIBLE["convolutions"])
    change = recycle(model, optimizer, finding, batch=batch)
    train(model, optimizer, batch, 1)
    before = picture(model, optimizer)
    with pytest.raises(CannotRecycle, match=r"blocks.0.layer.weight has moved since.*nothing was put back"):
        change.undo()
    assert same(picture(model, optimizer), before)
    assert not change.undone


def test_a_batch_that_the_model_does_not_take_is_explained():
    model, optimizer, batch, finding = prepared(POSSIBLE["convolutions"])
    before = picture(model, optimizer)
    with pytest.raises(CannotRecycle, match=r"(?s)could not be run on .*If it is to be called in another way"):
        recycle(model, optimizer, finding, batch=torch.zeros(7, 1, 1, 1, 1, 1))
    with pytest.raises(CannotRecycle, match="not known; there are 'exact'"):
        recycle(model, optimizer, finding, batch=batch, method="magic")
    assert same(picture(model, optimizer), before)


def test_named_arguments_a_compiled_model_and_a_model_in_evaluation_work():
    torch.manual_seed(0)
    model, x = mlp(norm=nn.BatchNorm1d), torch.randn(101, 5)
    kill(model[1], (0, 1))
    compiled = torch.compile(model.eval(), backend="eager")
    before = compiled(x)
    change = recycle(
        compiled, torch.optim.SGD(model.parameters(), 0.1), dead("Sequential.2", (0, 1)), batch={"input": x}
    )
    assert change.units == {"Sequential.2": (0, 1)}
    assert not model.training
    assert torch.allclose(compiled(x), before, atol=1e-6)


def test_a_transformers_feed_forward_is_found():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 11, dropout=0.0, batch_first=True)
    x = torch.randn(7, 5, 8)
    kill(model.linear1, (2, 5))
    before = model(x)
    change = recycle(model, torch.optim.AdamW(model.parameters()), dead("TransformerEncoderLayer", (2, 5)), batch=x)
    assert change.units == {"TransformerEncoderLayer": (2, 5)}
    assert torch.allclose(model(x), before, atol=1e-5)


def test_published_methods_say_what_they_do_to_steps():
    for method, word in (("redo", "3.2 with Adam"), ("continual", "utility at every step")):
        model, optimizer, batch, finding = prepared(POSSIBLE["flattened"])
        change = recycle(model, optimizer, finding, batch=batch, method=method)
        assert any(word in note for note in change.notes)
        columns = model.heads[0].weight.detach().unflatten(1, (6, 16))[:, list(UNITS)]
        assert (columns == 0).all()
        optimizer.zero_grad()
        loss(model(batch)).backward()
        assert (model.blocks[0].layer.weight.grad[list(UNITS)] == 0).all()


def test_the_helper_that_kills_kills():
    model = mlp()
    kill(model[0], (0,))
    assert model[0].bias[0].item() == -DEEPLY
    assert (model[:2](torch.randn(101, 5))[:, 0] == 0).all()


def test_ranks_are_told_to_do_the_same():
    torch.manual_seed(0)
    sharded = type("FSDPModule", (nn.Sequential,), {"__module__": "torch.distributed.fsdp"})
    model = sharded(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(CannotRecycle, match=r"ranks would draw and place differently. Recycle before fully_shard"):
        recycle(model, optimizer, dead("FSDPModule.1", (0, 1)), batch=torch.randn(11, 5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_keep_the_function_to_their_own_rounding(dtype):
    torch.manual_seed(0)
    model, x = mlp(width=11).to(dtype), torch.randn(101, 5, dtype=dtype)
    kill(model[0], (0, 1, 2))
    before = model(x).detach()
    recycle(model, torch.optim.SGD(model.parameters(), 0.1), dead("Sequential.1", (0, 1, 2)), batch=x)
    allowed = 1e-12 if dtype == torch.float64 else 4 * torch.finfo(dtype).eps
    assert relative([model(x)], [before]) <= allowed
