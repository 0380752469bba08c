"""Swap and undo is the identity: the same objects in the same places, everything else as it was."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rectifier.errors import CannotSwap
from rectifier.treatment import swap
from tests.treatment.models import Inception, pair, stack


class Layer(nn.Module):
    """One layer of a random network; its activation is a module, a function, an attribute or a method's call."""

    def __init__(self, width, kind, shared, residual):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.kind, self.residual = kind, residual
        self.act = {"module": nn.ReLU(), "shared": shared, "attribute": F.relu}.get(kind)
        self.acts = [nn.ReLU(), F.relu] if kind == "list" else []

    def forward(self, x):
        y = self.linear(x)
        if self.act is not None:
            y = self.act(y)
        elif self.kind == "function":
            y = F.relu(y)
        elif self.kind == "method":
            y = y.relu_()
        for act in self.acts:
            y = act(y - 0.1)
        return x + y if self.residual else y


def network(kinds, width, residual, tied):
    shared = nn.ReLU()
    layers = [Layer(width, kind, shared, residual) for kind in kinds]
    if tied:
        layers[-1].linear.weight = layers[0].linear.weight
    return nn.Sequential(*layers, nn.ReLU())


def portrait(model):
    """Every object of a model by identity, with what it is and holds."""
    return [
        (name, id(module), type(module), list(vars(module)), _held(module), list(module._modules))
        for name, module in model.named_modules(remove_duplicate=False)
    ]


def _held(module):
    held = [(name, id(value)) for name, value in vars(module).items() if name != "training"]
    return [*held, [id(act) for act in getattr(module, "acts", [])], module.training]


KINDS = ["module", "shared", "attribute", "function", "method", "list", "none"]


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5),
    width=st.sampled_from([5, 7, 11]),
    residual=st.booleans(),
    tied=st.booleans(),
    new=st.sampled_from(["leaky_relu:0.1", "elu:1.0", "gelu", "relu_squared", "relu", "prelu:0.1"]),
    train=st.booleans(),
)
def test_undo_is_the_identity(kinds, width, residual, tied, new, train):
    model = network(kinds, width, residual, tied).train(train)
    x = torch.randn(7, width)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before, output = portrait(model), model(x)
    try:
        change = swap(model, "relu", new)
    except CannotSwap:
        assert new == "prelu:0.1"
        # A refused swap has changed nothing at all.
        assert portrait(model) == before
        return
    assert portrait(model) != before
    changed = model(x)
    change.undo()
    assert portrait(model) == before
    # A squared ReLU may overflow, and a NaN equals no other.
    torch.testing.assert_close(model(x), output, rtol=0, atol=0, equal_nan=True)
    assert {name: torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items()} == dict.fromkeys(
        weights, True
    )
    change.undo()
    assert portrait(model) == before
    swap(model, "relu", new)
    torch.testing.assert_close(model(x), changed, rtol=0, atol=0, equal_nan=True)


def test_the_portrait_can_tell_a_difference():
    model = network(["module", "function"], 5, False, False)
    before = portrait(model)
    model[0].act = nn.ReLU()
    assert portrait(model) != before


def test_as_a_context_manager():
    model = stack()
    with swap(model, "relu", "elu") as change:
        assert isinstance(model[1], nn.ELU)
    assert isinstance(model[1], nn.ReLU)
    assert change.undone


def test_a_later_change_has_to_be_undone_first():
    model = stack()
    first = swap(model, "relu", "leaky_relu:0.1")
    second = swap(model, "leaky_relu", "elu", where="3")
    with pytest.raises(CannotSwap, match=r"Cannot undo relu → leaky_relu:0.1: 3 has been changed again since\."):
        first.undo()
    assert not first.undone
    assert isinstance(model[1], nn.LeakyReLU)
    second.undo()
    first.undo()
    assert isinstance(model[3], nn.ReLU)


def test_a_later_change_of_the_calls_has_to_be_undone_first():
    model = Inception()
    first = swap(model, "relu", "leaky_relu:0.1")
    second = swap(model, "leaky_relu", "elu")
    with pytest.raises(CannotSwap, match="Undo the later change first"):
        first.undo()
    second.undo()
    first.undo()
    assert type(model) is Inception


def test_mode_and_training_since_the_swap_stay():
    model, _, x = pair("sequential")
    change = swap(model, "relu", "leaky_relu:0.1")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x).sum().backward()
    optimizer.step()
    learned = model[0].weight.clone()
    model.eval()
    change.undo()
    assert torch.equal(model[0].weight, learned)
    assert not model[1].training


def test_what_a_failing_step_leaves_behind_is_nothing(monkeypatch):
    model = Inception()

    def failing(*_):
        raise MemoryError

    model.register_module("last", nn.ReLU())
    before = portrait(model)
    monkeypatch.setattr("rectifier.hooks.replace.scoped.enter", failing)
    with pytest.raises(MemoryError):
        swap(model, "relu", "leaky_relu:0.1")
    assert portrait(model) == before


def test_repr_says_what_was_changed():
    change = swap(stack(), "relu", "prelu:0.1", where="1")
    lines = repr(change).splitlines()
    assert lines[:2] == ["relu → prelu:0.1 in 1 place", "  1"]
    assert "1 parameter is new, 1.weight: make the optimizer after the swap" in lines[2]
    change.undo()
    assert repr(change).startswith("relu → prelu:0.1 in 1 place (undone)")
