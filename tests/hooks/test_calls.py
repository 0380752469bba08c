"""The reader of source finds the calls that a forward makes, and no others."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rectifier.hooks.modules import activation_of, neighbour, places
from rectifier.hooks.replace.source_calls import find_calls

ACTIVATIONS = {"relu": F.relu, "tanh": torch.tanh}
RELU = nn.ReLU()


def through_a_default(x, act=F.relu):
    return act(x)


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@decorated
def through_a_decorator(x):
    return x.relu()


@functools.lru_cache
def through_a_cache(x):
    return torch.relu(x)


class Applies:
    def __call__(self, x):
        return F.relu(x)


def enclosed():
    local = F.relu

    def forward(x):
        return local(x)

    return forward


through_a_closure = enclosed()
applies = Applies()

FOUND = {
    "F.relu": lambda self, x: F.relu(x),
    "torch.relu": lambda self, x: torch.relu(x),
    "a method": lambda self, x: (x + 1).relu(),
    "in place": lambda self, x: x.relu_(),
    "a chain": lambda self, x: torch.nn.functional.relu(x),
    "a table": lambda self, x: ACTIVATIONS[self.kind](x),
    "a global module": lambda self, x: RELU(x),
    "a module made there": lambda self, x: nn.ReLU()(x),
    "a default argument": lambda self, x: through_a_default(x),
    "a decorator": lambda self, x: through_a_decorator(x),
    "a cache": lambda self, x: through_a_cache(x),
    "a closure": lambda self, x: through_a_closure(x),
    "an object": lambda self, x: applies(x),
    "a lambda": lambda self, x: sorted(x, key=lambda y: F.relu(y) + 1),
    "a comprehension": lambda self, x: [F.relu(y) for y in x],
    "a partial": lambda self, x: functools.partial(F.relu, inplace=True)(x),
    "a parameter": lambda self, x: self.weight.relu() + x,
    "a property": lambda self, x: self.activated(x),
}
NOT_FOUND = {
    "a child": lambda self, x: self.relu(x),
    "a child's child": lambda self, x: self.inner.relu(x),
    "another function": lambda self, x: F.leaky_relu(x) + torch.tanh(x),
    "an attribute of its own": lambda self, x: self.act(x),
    "a string": lambda self, x: x if self.kind == "relu" else -x,
    "torch's inside": lambda self, x: nn.functional.threshold(x, 0, 0),
}


def module_with(forward):
    class Net(nn.Module):
        kind = "relu"

        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()
            self.inner = nn.Module()
            self.inner.relu = nn.ReLU()
            self.act = F.relu
            self.weight = nn.Parameter(torch.ones(5))

        @property
        def activated(self):
            return lambda x: F.relu(x) + 1

    Net.forward = forward
    return Net()


@pytest.mark.parametrize("how", FOUND)
def test_found(how):
    reach = find_calls(module_with(FOUND[how]), "relu")
    assert reach.calls
    assert all("test_calls.py:" in call.source for call in reach.calls)
    assert reach.methods == {"forward"}


@pytest.mark.parametrize("how", NOT_FOUND)
def test_not_found(how):
    assert find_calls(module_with(NOT_FOUND[how]), "relu").calls == ()


def test_what_a_subclass_puts_in_place_of_torchs():
    class Mine(nn.TransformerEncoderLayer):
        def _ff_block(self, x):
            return self.linear2(F.relu(self.linear1(x)))

    assert find_calls(Mine(8, 2, 11), "relu").methods == {"forward", "_ff_block"}
    assert find_calls(nn.TransformerEncoderLayer(8, 2, 11), "relu").calls == ()


def test_a_scripted_function_is_told_apart():
    with pytest.warns(DeprecationWarning, match="jit.script"):
        scripted = torch.jit.script(through_a_method)
    globals()["scripted"] = scripted
    (call,) = find_calls(module_with(lambda self, x: scripted(x)), "relu").calls
    assert call.scripted


def through_a_method(x: torch.Tensor) -> torch.Tensor:
    return x.relu()


def test_activation_of():
    class Mine(nn.ReLU):
        def forward(self, x):
            return x

    class Named(nn.ReLU):
        pass

    modules = [nn.ReLU6(), nn.Hardtanh(), nn.GELU(), nn.GELU("tanh"), nn.PReLU(init=0.1), nn.Threshold(0.5, 0)]
    assert [activation_of(m).spec for m in modules] == [
        "relu6", "hardtanh", "gelu", "gelu_tanh", "prelu:0.1", "threshold:0.5",
    ]  # fmt: skip
    assert activation_of(Named()).spec == "relu"
    assert [activation_of(m) for m in (Mine(), nn.Threshold(0, 7), nn.Softmax(), nn.Dropout())] == [None] * 4


def test_places_and_neighbours():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(5, 7), shared, nn.Sequential(nn.BatchNorm1d(7), shared), nn.Linear(7, 3))
    assert [place.path for place in places(model) if place.child is shared] == ["1", "2.1"]
    assert neighbour(model, "1") is model[0].weight
    assert neighbour(model[2], "1") is model[2][0].weight
    assert neighbour(nn.Sequential(nn.ReLU()), "0", model) is not None
    assert neighbour(nn.Sequential(nn.ReLU()), "0") is None
