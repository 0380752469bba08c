"""One rule for what a model gets of a batch, wherever a user hands over both."""

import collections
import functools
import types

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn

import rectifier
from rectifier.errors import CannotProbe, CannotRecycle, CannotRescale
from rectifier.sandbox import Arguments, Pass, describe
from tests.findings import dead_units, gradient_way, ref

X, Y, Z = torch.full((7, 3), 1.0), torch.full((7, 3), 2.0), torch.full((7, 3), 3.0)


class Says(nn.Module):
    """Returns what it was called with."""


def saying(signature):
    names = [part.split("=")[0].strip() for part in signature.split(",")]
    shown = ", ".join("'kwargs': kwargs" if name == "**kwargs" else f"'{name}': {name}" for name in names)
    scope = {}
    exec(f"def forward(self, {signature}): return {{{shown}}}", scope)
    return type("Says", (Says,), {"forward": scope["forward"]})()


def passed(model, batch, forward=None):
    return Pass(model, batch, forward, CannotProbe).run()


Named = collections.namedtuple("Named", ["image", "label"])


@pytest.mark.parametrize(
    ("signature", "batch", "expected"),
    [
        ("x", X, {"x": X}),
        ("x", (X, Y), {"x": X}),
        ("x", [X, Y], {"x": X}),
        ("x", Named(X, Y), {"x": X}),
        ("x, mask=None", (X, Y), {"x": X, "mask": None}),
        ("x, context", (X, Y, Z), {"x": X, "context": Y}),
        ("x, context", ((X, Y), Z), {"x": X, "context": Y}),
        ("pair", ((X, Y), Z), {"pair": (X, Y)}),
        ("x=None, y=None", (X, Y), {"x": X, "y": None}),
        ("x, mask=None", {"x": X, "mask": Y, "label": Z}, {"x": X, "mask": Y}),
        ("x=None, labels=None", {"x": X, "labels": Y}, {"x": X, "labels": Y}),
        ("x, **kwargs", {"x": X, "more": Y}, {"x": X, "kwargs": {"more": Y}}),
        ("batch", {"x": X, "y": Y}, {"batch": {"x": X, "y": Y}}),
        ("batch, **kwargs", {"x": X}, {"batch": {"x": X}, "kwargs": {}}),
        ("x, mask=None", ({"x": X, "mask": Y}, Z), {"x": X, "mask": Y}),
        ("x, context", collections.UserDict(x=X, context=Y), {"x": X, "context": Y}),
        ("graph", 5, {"graph": 5}),
        ("x, *, scale=2", (X, Y), {"x": X, "scale": 2}),
    ],
)
def test_the_model_gets_what_its_forward_takes(signature, batch, expected):
    signature = signature.replace("*, ", "")
    assert describe(passed(saying(signature), batch)) == describe(expected)
    shown = passed(saying(signature), batch)
    assert all(one is other for one, other in zip(_leaves(shown), _leaves(expected), strict=True))


def _leaves(value):
    if isinstance(value, dict):
        return [leaf for entry in value.values() for leaf in _leaves(entry)]
    return [leaf for entry in value for leaf in _leaves(entry)] if isinstance(value, tuple) else [value]


@given(required=st.integers(1, 4), optional=st.integers(0, 3), entries=st.integers(1, 7))
def test_of_a_tuple_as_many_first_entries_as_are_required(required, optional, entries):
    names = [f"a{index}" for index in range(required)] + [f"b{index}=None" for index in range(optional)]
    model, batch = saying(", ".join(names)), tuple(torch.full((2,), float(index)) for index in range(entries))
    if entries < required:
        with pytest.raises(CannotProbe, match=f"requires a0.*and the batch has {entries} of these"):
            passed(model, batch)
    else:
        got = [value for value in passed(model, batch).values() if value is not None]
        assert len(got) == required
        assert all(one is other for one, other in zip(got, batch[:required], strict=True))


def test_what_wraps_a_forward_is_looked_through():
    model = saying("x, context")

    @functools.wraps(model.forward)
    def wrapped(*args, **kwargs):
        return type(model).forward(model, *args, **kwargs)

    model.forward = wrapped
    assert passed(model, (X, Y, Z))["context"] is Y


def test_a_model_whose_calls_were_swapped_still_tells_what_it_takes():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 5)

        def forward(self, x, scale):
            return torch.relu(self.layer(x) * scale)

    model = Net()
    rectifier.swap(model, "relu", "elu")
    assert passed(model, (X, Y[:, :1], Z)).shape == (7, 5)


def test_the_users_own_way_comes_first():
    assert passed(saying("x"), {"a": X, "b": Y}, lambda model, batch: model(batch["b"]))["x"] is Y


class Encoding(collections.UserDict):
    """Its entries are attributes, too, as of what a tokenizer returns."""

    def __getattr__(self, name):
        if name == "data":
            raise AttributeError(name)
        return self.data[name]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_mapping_stays_of_its_kind(device, nested):
    model, batch = nn.Linear(3, 2, device=device), Encoding(input_ids=X, label="a")
    batch.extra = 5
    given = (batch, Y) if nested else batch

    def forward(model, batch):
        batch = batch[0] if nested else batch
        assert batch.extra == 5
        return model(batch.input_ids)

    assert passed(model, given, forward).device.type == device
    assert batch.input_ids is X, "the user's own is left as it is"
    if device == "cpu":
        assert Pass(model, given, forward, CannotProbe).batch is given


def test_a_mapping_whose_entries_cannot_be_set_is_moved_as_a_dictionary():
    batch = types.MappingProxyType({"input": X, "label": "a"})
    assert passed(nn.Linear(3, 2, device="meta"), batch).is_meta


def test_arguments_that_were_seen_are_passed_as_they_are():
    got = passed(saying("x, mask=None"), Arguments((X,), {"mask": Y}))
    assert got["x"] is X
    assert got["mask"] is Y


@pytest.mark.parametrize(
    ("signature", "batch", "told"),
    [
        ("x, context", X, "Says could not be run on float32 7 × 3: TypeError: "),
        ("x, context", {"x": X, "y": Y}, "its forward requires x, context, and context is not among these names"),
        ("x, context", (X,), "its forward requires x, context, and the batch has 1 of these"),
    ],
)
def test_what_does_not_fit_is_told_with_what_to_write(signature, batch, told):
    with pytest.raises(CannotProbe) as caught:
        passed(saying(signature), batch)
    assert told in str(caught.value)
    assert str(caught.value).endswith("forward=lambda model, batch: model(...)")


# Every verb takes the batch in the same way. --------------------------------------------------------------------------


class Weighted(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)

    def forward(self, x, weight=None):
        assert weight is None or weight.shape == x.shape
        return self.last(self.act(self.first(x if weight is None else x * weight)))


BATCHES = {
    "a tensor": lambda x: x,
    "as a loader yields it": lambda x: (x, torch.zeros(len(x))),
    "a list": lambda x: [x, torch.zeros(len(x))],
    "a mapping": lambda x: {"x": x, "label": torch.zeros(len(x))},
    "the mapping first": lambda x: ({"x": x}, torch.zeros(len(x))),
}


@pytest.mark.parametrize("shape", BATCHES)
def test_every_verb_takes_the_same_batch(shape):
    torch.manual_seed(0)
    model, x = Weighted(), torch.randn(3100, 3)
    model.first.bias.data.fill_(-100)
    batch = BATCHES[shape](x)
    assert rectifier.check(model, batch).layers[0].samples == 3100
    counted = rectifier.census(model, [batch])
    assert counted.samples == counted.distinct_samples == 3100
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with rectifier.watch(model) as watch:
        model(x).sum().backward()
        optimizer.step()
    assert rectifier.recycle(model, optimizer, watch, batch=batch).units == {"act": (0, 1, 2, 3, 4, 5)}
    assert len(rectifier.rescale(Weighted(), batch).gains) == 2
    assert len(rectifier.prescribe(gradient_way())["rescale"].apply(Weighted(), None, batch).gains) == 2


def test_every_verb_takes_the_users_own_way():
    torch.manual_seed(0)
    model, x = Weighted(), torch.randn(3100, 3)
    model.first.bias.data.fill_(-100)
    batch, calls = {"inputs": x}, []

    def forward(model, batch):
        calls.append(1)
        return model(batch["inputs"], torch.ones_like(x))

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with rectifier.watch(model) as watch:
        model(x).sum().backward()
        optimizer.step()
    ladder, weights = rectifier.prescribe(watch), rectifier.prescribe(gradient_way())
    for verb in (
        lambda: rectifier.check(model, batch, forward=forward),
        lambda: rectifier.census(model, [batch], forward=forward),
        lambda: rectifier.rescale(Weighted(), batch, forward=forward),
        lambda: weights["rescale"].apply(Weighted(), None, batch, forward=forward),
        lambda: rectifier.recycle(model, optimizer, watch, batch=batch, forward=forward).undo(),
        lambda: ladder["recycle"].apply(model, optimizer, batch, forward=forward),
    ):
        calls.clear()
        verb()
        assert calls


def test_every_verb_says_the_same_of_what_does_not_fit():
    model, optimizer = Weighted(), torch.optim.SGD(Weighted().parameters(), 0.1)
    told = "Weighted could not be run on float32 7 × 4: RuntimeError: mat1 and mat2"
    x, finding = torch.ones(7, 4), dead_units(ref("act", model="Weighted"), dead=1, indices=(0,))
    with pytest.raises(CannotProbe, match=told):
        rectifier.check(model, x)
    with pytest.raises(CannotProbe, match=told):
        rectifier.census(model, [x])
    with pytest.raises(CannotRescale, match=told):
        rectifier.rescale(model, x)
    with pytest.raises(CannotRecycle, match=told):
        rectifier.recycle(model, optimizer, finding, batch=x)
