"""A site is named by what feeds it, no two alike; what programs and users type stays as it was."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import rectifier
from rectifier.diagnosis.suppression import apply_suppressions
from rectifier.records import AxisSource, Diagnosis, Site, UnitAxis, decode, encode, told_apart

from ..findings import dead_units
from ..watching import Watching

AXIS = UnitAxis(axis=-1, ndim=2, source=AxisSource.LAYER, operation="Addmm")


def site(path="", call=0, layer=None, *, model="Net", activation="relu", kind="function", part=()):
    return Site(
        model=model, path=path, call=call, activation=activation, kind=kind, source=None, units=5, unit_axis=AXIS,
        layer=layer, fed_part=part,
    )  # fmt: skip


def names(*sites):
    return [ref.label for ref in told_apart(sites)]


# Names from facts ---------------------------------------------------------------------------------------------------


def test_a_call_is_named_by_the_layer_before_it():
    assert names(site(layer="fc1", activation="leaky_relu:0.1"), site(call=1, layer="body.bn2")) == [
        "fc1 → leaky_relu", "body.bn2 → relu",
    ]  # fmt: skip


def test_a_module_keeps_its_path():
    assert names(site("blocks.3.act", layer="blocks.3.fc", kind="module")) == ["blocks.3.act"]


def test_a_module_that_is_called_several_times_is_named_by_what_feeds_each_call():
    calls = [site("body.act", call, layer, kind="module") for call, layer in enumerate(["body.bn1", "body.bn2"])]
    assert names(*calls) == ["body.bn1 → act", "body.bn2 → act"]
    assert names(*(replace(one, layer="body.fc") for one in calls)) == ["body.fc → act", "body.fc → act (call 2)"]


def test_a_shared_module_of_a_sequential_is_not_called_by_a_number():
    assert names(site("1", 0, "0", kind="module"), site("1", 1, "2", kind="module")) == ["Net.0 → relu", "Net.2 → relu"]


def test_calls_of_one_layer_are_counted():
    assert names(*(site(call=call, layer="fc", activation="tanh") for call in range(3))) == [
        "fc → tanh", "fc → tanh (call 2)", "fc → tanh (call 3)",
    ]  # fmt: skip


def test_experts_in_one_weight_are_told_by_their_part():
    assert names(*(site(call=call, layer="w", part=(call,)) for call in range(2))) == ["w[0] → relu", "w[1] → relu"]


def test_two_models_with_a_layer_of_one_name_are_named_at_all_of_theirs():
    refs = told_apart([site(layer="fc1"), site(call=1, layer="fc2"), site(layer="fc2", model="Critic")])
    assert [ref.label for ref in refs] == ["Net.fc1 → relu", "Net.fc2 → relu", "Critic.fc2 → relu"]
    assert [ref.key for ref in refs] == ["Net", "Net (call 2)", "Critic"], "a program's key is as before"


def test_what_could_not_be_told_names_the_activation_and_its_module():
    assert names(site(layer=""), site(call=1, layer=""), site("body", layer="")) == [
        "relu in Net", "relu in Net (call 2)", "relu in body",
    ]  # fmt: skip


def test_a_record_without_the_fact_keeps_its_label():
    old = encode(site(call=1)).replace(b',"layer":null', b"")
    assert b'"layer":' not in old
    read = decode(old, Site)
    assert names(site(), read, site("body.act", 1, kind="module")) == ["Net", "Net (call 2)", "body.act (call 2)"]


WORDS = st.sampled_from(["", "a", "a.b", "0", "a (call 2)", "input", "a → relu", "relu in a", "Net", "w[0]"])
SITES = st.builds(
    site, WORDS, st.integers(0, 3), st.none() | WORDS, model=st.sampled_from(["Net", "Net#2", "a"]),
    activation=st.sampled_from(["relu", "leaky_relu:0.1", "tanh"]), kind=st.sampled_from(["module", "function"]),
    part=st.sampled_from([(), (0,), (1, 2)]),
)  # fmt: skip


@given(st.lists(SITES, max_size=12))
def test_no_two_names_are_alike(sites):
    refs = told_apart(sites)
    assert len({ref.label for ref in refs}) == len(sites)
    assert list(refs) == [one.ref for one in sites], "a name is for display: sites are the same by path and call"


@given(st.lists(SITES, max_size=8))
def test_a_name_says_the_layer_that_feeds_the_call(sites):
    for one, ref in zip(sites, told_apart(sites), strict=True):
        if one.kind == "function" and one.layer:
            assert one.layer in ref.label.partition(" → ")[0] or "→" in one.layer


# The recorded fact ----------------------------------------------------------------------------------------------------


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.fc2(F.dropout(F.relu(self.fc1(x)), 0.1))))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.bn1, self.bn2, self.relu = nn.BatchNorm2d(width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x
        return self.relu(y)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.layer1, self.last = nn.Conv2d(1, 3, 1), nn.Sequential(Block(3), Block(3)), nn.Linear(3, 2)

    def forward(self, x):
        return self.last(self.layer1(self.stem(x[:, None, None, :])).mean((2, 3)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.TransformerEncoderLayer(4, 2, 7, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.layer(x[:, None, :]).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.last = kind(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.rnn(x[:, None, :].expand(-1, 3, -1))[0][:, -1]))


class Parameters(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(5, 2))

    def forward(self, x):
        return F.relu(F.relu(x) @ self.w1) @ self.w2


class Computed(nn.Module):
    """Weights that are computed from others, one without a bias, after a layer that is not trained."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.fc1, self.fc2 = weight_norm(nn.Linear(4, 5)), spectral_norm(nn.Linear(5, 5, bias=False))
        self.act, self.last = nn.ReLU(), nn.Linear(5, 2)

    def forward(self, x):
        return self.last(self.act(self.fc2(self.act(self.fc1(F.relu(self.frozen(x)))))))


class Watched(nn.Module):
    """Its own forward does not run: the loop calls its parts."""

    def __init__(self):
        super().__init__()
        self.body = Functional()


NETWORKS = {
    "functional": (Functional, ["fc1 → relu", "fc2 → tanh"]),
    "residual": (Residual, [f"layer1.{block}.bn{bn} → relu" for block in range(2) for bn in (1, 2)]),
    "encoder": (Encoder, ["layer.linear1 → relu"]),
    "lstm": (lambda: Recurrent(nn.LSTM), ["rnn → tanh"]),
    "gru": (lambda: Recurrent(nn.GRU), ["rnn → tanh"]),
    "parameters": (Parameters, ["input → relu", "w1 → relu"]),
    "computed": (Computed, ["relu in Computed", "fc1 → act", "fc2 → act"]),
}


def watched(model, call=None):
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Watching(model, every=1) as watch:
        for _ in range(2):
            optimizer.zero_grad()
            (call or model)(torch.randn(7, 4)).square().mean().backward()
            optimizer.step()
    return watch


@pytest.mark.parametrize("case", NETWORKS)
def test_what_feeds_an_activation_is_recorded(case):
    make, expected = NETWORKS[case]
    torch.manual_seed(0)
    process = watched(make()).process
    assert names(*process.sites) == expected
    assert names(*(decode(encode(one), Site) for one in process.sites)) == expected


def test_a_part_that_runs_by_itself_is_named_from_the_model_that_is_watched():
    model = Watched()
    assert names(*watched(model, model.body).process.sites) == ["body.fc1 → relu", "body.fc2 → tanh"]


def test_a_check_and_a_census_have_the_names_of_a_training():
    torch.manual_seed(0)
    x = torch.randn(7, 4)
    checked = rectifier.check(Functional(), x)
    assert [(row.site, row.name) for row in checked.layers] == [
        ("Functional", "fc1 → relu"), ("Functional (call 2)", "fc2 → tanh"),
    ]  # fmt: skip
    assert [row.name for row in rectifier.census(Residual(), [x]).layers] == NETWORKS["residual"][1]


# What users type ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "fits"),
    [
        ("fc2 → relu", True), ("fc2 -> relu", True), ("fc*", True), ("body.act", True), ("body.act#2", True),
        ("body.act (call 2)", True), ("body.*", True), ("body.act#1", False), ("fc1*", False), ("act", False),
    ],
)  # fmt: skip
def test_a_finding_is_suppressed_by_name_by_path_and_by_call(typed, fits):
    ref = told_apart([site("body.act", call, f"fc{call + 1}", kind="module") for call in range(2)])[1]
    ref = replace(ref, name="fc2 → relu")
    diagnosis = Diagnosis(findings=(dead_units(ref),), layers=())
    assert len(apply_suppressions(diagnosis, {f"dead-units:{typed}": "known"}).suppressed) == fits


def test_a_unit_map_is_found_by_name_path_and_call():
    model = Functional()
    with rectifier.watch(model, every=1) as watch:
        model(torch.randn(7, 4)).square().mean().backward()
        torch.optim.SGD(model.parameters(), 0.01).step()

    def drawn(layer):
        figure = rectifier.plot.units(watch, layer)
        figure.layout.title = None
        return figure.to_json()

    second = drawn("fc2 → tanh")
    assert second != drawn("fc1 → relu")
    assert {drawn(typed) for typed in ("fc2 -> tanh", "#2", "Functional (call 2)")} == {second}
