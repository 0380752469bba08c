"""Rescaled weights keep the signal's size through the activations in place, and nothing else of the model moves."""

import copy
import random
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.utils import parametrizations

import rectifier
from rectifier.activations import function_for, module_for
from rectifier.catalogue import parse
from rectifier.errors import CannotRescale
from rectifier.treatment import rescale, swap
from tests.treatment.models import Chooser, Inception, Residual, encoder

WIDTH, DEPTH, NETWORKS = 256, 5, 12


def plain(spec, widths=(WIDTH,) * (DEPTH + 1), **options):
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, **options), module_for(parse(spec))]
    return nn.Sequential(*layers[:-1])


# Oracles § 2 ------------------------------------------------------------------------------------------------------


def sizes(model, x):
    """The mean square of each pre-activation and of its gradient, over that of the first and of the last."""
    z, taken = x, []
    for layer in model:
        z = layer(z)
        if isinstance(layer, nn.Linear):
            z.retain_grad()
            taken.append(z)
    (z * torch.randn_like(z)).sum().backward()
    forward = torch.tensor([t.detach().square().mean() for t in taken])
    backward = torch.tensor([t.grad.square().mean() for t in taken])
    return forward / forward[0], backward / backward[-1]


def constant_over_depth(spec, prepare):
    """Assert that both sizes stay what they were, on average over networks, within four standard errors."""
    ratios = []
    for seed in range(NETWORKS):
        torch.manual_seed(seed)
        model, x = plain(spec), torch.randn(64, WIDTH)
        prepare(model, x)
        ratios.append(torch.stack(sizes(model, x)))
    slope = parse(spec).parameter or 0.0
    kappa = 6 * (1 + slope**4) / (1 + slope**2) ** 2 - 1
    # One network's deviation after H layers, for one sample; 64 samples of one network are not independent.
    error = ((1 + kappa / WIDTH) ** DEPTH - 1) ** 0.5 / NETWORKS**0.5
    mean = torch.stack(ratios).mean(0)
    assert (mean - 1).abs().max() < 4 * error, (mean, error)


@pytest.mark.parametrize(
    "spec", ["relu", "leaky_relu:0.01", "leaky_relu:0.2", "leaky_relu:0.7", "surrogate_gradient:0.5"]
)
def test_the_signal_keeps_its_size_over_depth(spec):
    if spec.startswith("surrogate_gradient"):
        with pytest.raises(AssertionError):  # its backward passes more than its gain is for
            constant_over_depth(spec, rescale)
        return
    constant_over_depth(spec, rescale)


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("relu", lambda model, x: None),
        ("relu", lambda model, x: scaled(rescale(model, x), parse("tanh").gain / parse("relu").gain)),
        (
            "leaky_relu:0.7",
            lambda model, x: scaled(rescale(model, x), parse("relu").gain / parse("leaky_relu:0.7").gain),
        ),
    ],
    ids=["untouched", "the gain of tanh for ReLU", "the gain of ReLU for slope .7"],
)
def test_a_wrong_gain_would_be_caught(spec, fault):
    with pytest.raises(AssertionError):
        constant_over_depth(spec, fault)


def scaled(change, factor):
    with torch.no_grad():
        for step in change._steps:
            step.layer.weight.mul_(factor)


def test_thirty_layers_end_with_a_mean_square_of_order_1_and_began_with_none():
    """The default initialisation's factor is 1/6 per layer, which its biases keep from ending at 6^-30."""
    before, after = [], []
    for seed in range(6):
        torch.manual_seed(seed)
        model, x = plain("relu", (128,) * 31), torch.randn(64, 128)
        before.append(model(x).var(0).mean().item())
        change = rescale(model, x)
        assert [round(gain.gain_after, 3) for gain in change.gains] == [1.0, *[1.414] * 29]
        after.append(model(x).square().mean().item())
    assert max(before) < 1e-15
    assert 0.2 < sum(after) / len(after) < 5
    assert min(after) > 0.02


@pytest.mark.parametrize("spec", ["tanh", "gelu", "selu", "silu", "elu", "relu_squared", "softplus"])
def test_other_activations_keep_a_mean_square_of_1(spec):
    torch.manual_seed(0)
    model, x = plain(spec, (600,) * 4), torch.randn(211, 600)
    rescale(model, x)
    z = x
    for layer in model:
        z = layer(z)
        if isinstance(layer, nn.Linear):
            assert z.square().mean().item() == pytest.approx(1, rel=0.2)


def test_what_a_layer_reads_decides_not_what_follows():
    """With another activation in every layer only the one before it keeps the size."""
    torch.manual_seed(0)
    specs = ["tanh", "relu", "leaky_relu:0.3", "sigmoid", "gelu"]
    layers = [part for spec in specs for part in (nn.Linear(600, 600), module_for(parse(spec)))]
    model, x = nn.Sequential(*layers, nn.Linear(600, 600)), torch.randn(211, 600)
    change = rescale(model, x)
    assert [gain.reads for gain in change.gains] == ["the input", *(parse(spec).spec for spec in specs)]
    z = x
    for layer in model:
        z = layer(z)
        if isinstance(layer, nn.Linear):
            assert z.square().mean().item() == pytest.approx(1, rel=0.25)


# Laws -------------------------------------------------------------------------------------------------------------

SPECS = [
    "relu",
    "tanh",
    "leaky_relu:0.3",
    "prelu:0.25",
    "gelu",
    "gelu_tanh",
    "silu",
    "elu:0.5",
    "relu6",
    "surrogate_gradient",
]


class Functional(nn.Module):
    def __init__(self, widths, specs, bias):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairwise(widths))
        self.functions = [function_for(parse(spec)) for spec in specs]

    def forward(self, x):
        for layer, function in zip(self.layers, [lambda x: x, *self.functions], strict=True):
            x = layer(function(x))
        return x


def everything(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@settings(max_examples=25, deadline=None)
@given(
    specs=st.lists(st.sampled_from(SPECS), min_size=1, max_size=5), data=st.data(), bias=st.booleans(),
    functional=st.booleans(), start=st.floats(0.01, 30),
)  # fmt: skip
def test_gains_are_the_catalogues_and_a_second_time_changes_nothing(specs, data, bias, functional, start):
    count = len(specs) + 2
    widths = data.draw(st.lists(st.integers(11, 23), min_size=count, max_size=count))
    if functional:
        # A builtin that was taken before anybody observed is out of reach, and a slope needs a module.
        specs = [spec for spec in specs if not spec.startswith(("prelu", "gelu"))]
        widths = widths[: len(specs) + 2]
        model = Functional(widths, specs, bias)
    else:
        parts = [part for a, b, spec in zip(widths, widths[1:], specs, strict=False)
                 for part in (nn.Linear(a, b, bias=bias), module_for(parse(spec)))]  # fmt: skip
        model = nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1], bias=bias))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(start)
    x, before = torch.randn(7, widths[0]), everything(model)
    change = rescale(model, x)
    assert change.mode == "gain"
    assert [gain.gain_after for gain in change.gains] == pytest.approx([1, *(parse(spec).gain for spec in specs)])
    after = everything(model)
    again = rescale(model, x)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, after[name])
    again.undo()
    assert equal(everything(model), after)
    change.undo()
    assert equal(everything(model), before)


@settings(max_examples=15, deadline=None)
@given(width=st.integers(2, 9), depth=st.integers(1, 4), seed=st.integers(0, 99), scale=st.floats(1e-3, 1e3))
def test_measured_layers_vary_by_1_and_undo_is_the_identity(width, depth, seed, scale):
    torch.manual_seed(seed)
    model = nn.Sequential(*(Block(width) for _ in range(depth)), nn.Linear(width, 3))
    with torch.no_grad():
        model[0].second.weight.mul_(scale)
    x, before = torch.randn(53, width), everything(model)
    change = rescale(model, x)
    assert change.mode == "lsuv"
    seen = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda m, a, out, path=path: seen.update({path: out.std(correction=0)}))
    model(x)
    for gain in change.gains:
        assert seen[gain.layer].item() == pytest.approx(1, abs=0.11), gain
        assert gain.deviation_after == pytest.approx(seen[gain.layer].item(), rel=1e-4)
    assert len(change.gains) + len(change.left) == 2 * depth + 1
    change.undo()
    assert equal(everything(model), before)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, width + 2), nn.Linear(width + 2, width)

    def forward(self, x):
        return x + self.second(torch.relu(self.first(x)))


@pytest.mark.parametrize("train", [True, False])
def test_nothing_else_is_touched(train):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.drop = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(0.3)
            self.last, self.frozen = nn.Linear(5, 7), nn.Linear(7, 2)
            self.frozen.requires_grad_(False)

        def forward(self, x):
            random.random(), np.random.rand()
            x = F.dropout(self.drop(self.norm(self.conv(x)).relu_()).mean((2, 3)), 0.2, True)
            return self.frozen(F.relu(self.last(x)))

    torch.manual_seed(0)
    model = Net().train(train)
    model.conv.eval()
    model.last.weight.grad = torch.ones_like(model.last.weight)
    optimizer = torch.optim.Adam(model.parameters())
    hooks = {name: (len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in model.named_modules()}
    x, before = torch.randn(7, 3, 9, 9), everything(model)
    kept = x.clone()
    streams = torch.get_rng_state(), random.getstate(), np.random.get_state()
    modes = {name: m.training for name, m in model.named_modules()}
    identities = {name: id(p) for name, p in [*model.named_parameters(), *model.named_buffers()]}
    change = rescale(model, x, optimizer=optimizer)
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert random.getstate() == streams[1]
    assert str(np.random.get_state()) == str(streams[2])
    assert {name: m.training for name, m in model.named_modules()} == modes
    assert {n: id(p) for n, p in [*model.named_parameters(), *model.named_buffers()]} == identities
    assert hooks == {n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.named_modules()}
    assert torch.equal(x, kept)
    assert not x.requires_grad
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["frozen.weight", "frozen.bias"]
    assert [n for n, p in model.named_parameters() if p.grad is not None] == ["last.weight"]
    assert model.last.weight.grad.eq(1).all()
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {"last.weight"}
    assert ("conv", "a normalisation behind it takes its scale out again") in change.left
    assert ("frozen", "it is frozen") in change.left
    assert F.relu is torch.nn.functional.relu
    assert not optimizer.state
    change.undo()
    assert equal(everything(model), before)


def test_a_watch_beside_it_counts_no_training():
    model = plain("relu", (5, 7, 3))
    with rectifier.watch(model, every=1) as watch:
        rescale(model, torch.randn(11, 5))
        (process,) = watch.run.processes
        assert (process.sites, process.snapshots) == ((), ())
        model(torch.randn(11, 5)).sum().backward()
        assert watch.run.processes[0].sites, "it looks again"


def test_a_failing_forward_leaves_no_trace():
    model = plain("relu", (5, 7, 3))
    before = everything(model)
    with pytest.raises(CannotRescale, match=r"Sequential could not be run on float32 11 × 6: RuntimeError: "):
        rescale(model, torch.randn(11, 6))
    assert equal(everything(model), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()


# Which layers ------------------------------------------------------------------------------------------------------


class Everything(nn.Module):
    """One of each reason to leave a layer alone."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(13, 8)
        self.before_norm, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.before_relu, self.batch = nn.Linear(8, 8), nn.BatchNorm1d(8)
        self.before_own, self.own = nn.Linear(8, 8), OwnNorm()
        self.inside, self.zero = nn.Linear(8, 8), nn.Linear(8, 8)
        self.gated, self.gate = nn.Linear(8, 8), nn.Parameter(torch.zeros(1))
        self.normed, self.zero_norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.frozen, self.parametrised = nn.Linear(8, 8), parametrizations.weight_norm(nn.Linear(8, 8))
        self.twin, self.other_twin, self.unused = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.detached, self.live, self.tied = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 13)
        self.head = nn.Linear(13, 2)
        for module in (self.zero, self.zero_norm, self.head):
            nn.init.zeros_(module.weight)
        self.frozen.requires_grad_(False)
        self.other_twin.weight = self.twin.weight
        self.tied.weight = self.embed.weight

    def forward(self, x):
        x = self.norm(self.before_norm(self.embed(x)))
        x = self.batch(F.relu(self.before_relu(x)))
        x = x + self.own(self.before_own(x))
        x = x + self.zero(F.relu(self.inside(x)))
        x = x + self.gate * self.gated(x)
        x = x + self.zero_norm(self.normed(x))
        x = self.parametrised(F.relu(self.frozen(x)))
        x = self.other_twin(F.relu(self.twin(x)))
        with torch.no_grad():
            y = self.detached(x)
        return self.head(F.relu(self.tied(self.live(x + y))))


class OwnNorm(nn.Module):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def test_what_is_left_alone_and_why():
    torch.manual_seed(0)
    model = Everything()
    before = everything(model)
    change = rescale(model, torch.randint(0, 13, (11,)))
    normalised = "a normalisation behind it takes its scale out again"
    branch = "nothing of it reaches the outputs on this batch: its branch begins at 0, or is silent"
    assert dict(change.left) == {
        "before_norm": normalised,
        "before_relu": normalised,
        "before_own": normalised,
        "inside": branch,
        "gated": branch,
        "normed": branch,
        "zero": "its weights are all 0, which looks deliberate",
        "head": "its weights are all 0, which looks deliberate",
        "frozen": "it is frozen",
        "parametrised": "its weight is computed by a parametrisation, which has a scale of its own",
        "other_twin": "it shares its weight with twin",
        "unused": "the batch did not lead through it",
        "detached": "no gradient leads from the outputs to it",
        "tied": "its weight is tied to embed, which is no layer",
    }
    assert [gain.layer for gain in change.gains] == ["twin", "live"]
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"twin.weight", "other_twin.weight", "live.weight"}
    assert "Not looked at: 1 × Embedding, 1 × ParametrizationList." in change.notes


def test_a_skip_beside_a_normalisation_keeps_the_scale_meaningful():
    class PreNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm, self.inner = nn.Linear(5, 7), OwnNorm(), nn.Linear(7, 7)

        def forward(self, x):
            x = self.stem(x)
            return x + self.inner(F.relu(self.norm(x)))

    change = rescale(PreNorm(), torch.randn(11, 5))
    assert [gain.layer for gain in change.gains] == ["stem", "inner"]


def test_a_head_that_begins_at_0_does_not_hide_the_rest():
    model = plain("relu", (5, 7, 11, 3))
    nn.init.zeros_(model[4].weight)
    change = rescale(model, torch.randn(13, 5))
    assert [gain.layer for gain in change.gains] == ["0", "2"]
    assert change.left == (("4", "its weights are all 0, which looks deliberate"),)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(6, 10, 5, groups=2), nn.Conv2d(6, 6, 3, groups=6), nn.ConvTranspose2d(6, 10, 4, stride=2, groups=2),
        nn.ConvTranspose1d(6, 10, 3), nn.Conv3d(6, 8, 3),
    ],
    ids=lambda layer: type(layer).__name__ + str(layer.groups),
)  # fmt: skip
def test_fan_in_is_what_one_output_sums_over(layer):
    torch.manual_seed(0)
    spatial = layer.weight.ndim - 2
    x = torch.randn(7, 6, *(13,) * spatial)
    nn.init.normal_(layer.weight)
    model = nn.Sequential(layer)
    assert rescale(model, x).gains[0].gain_after == pytest.approx(1)
    inside = (slice(None), slice(None), *(slice(4, -4),) * spatial)
    assert model(x)[inside].square().mean().item() == pytest.approx(1, rel=0.35)


def test_what_is_no_chain_is_measured_and_gains_are_refused_there():
    torch.manual_seed(0)
    pooled = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(5, 2))

    class AddsInPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(7, 7), nn.Linear(7, 7)

        def forward(self, x):
            h = self.a(x)
            h += x
            return self.b(h.relu_())

    for model, shape in ((Residual(), (11, 7)), (pooled, (7, 3, 4, 4)), (AddsInPlace(), (11, 7))):
        x, before = torch.randn(shape), everything(model)
        with pytest.raises(CannotRescale, match=r'reads neither the input nor an activation of a layer.*mode="lsuv"'):
            rescale(model, x, mode="gain")
        assert equal(everything(model), before)
        with rescale(model, x) as change:
            assert change.mode == "lsuv"
            assert [gain.deviation_after for gain in change.gains] == pytest.approx([1.0] * len(change.gains), rel=0.01)
            assert len(change.gains) == sum(isinstance(m, nn.Linear | nn.Conv2d) for m in model.modules())


def test_flattened_and_in_place_chains_are_chains():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(20, 7), nn.Tanh())
    change = rescale(model, torch.randn(7, 3, 4, 4))
    assert [(gain.layer, gain.reads) for gain in change.gains] == [("0", "the input"), ("3", "relu")]
    assert change.mode == "gain"


@pytest.mark.parametrize(
    ("model", "shape"),
    [(Inception, (7, 3, 5, 5)), (Chooser, (11, 5)), (encoder, (7, 11, 8))],
    ids=lambda x: str(x)[:18],
)
def test_functional_networks(model, shape):
    torch.manual_seed(0)
    built, x = model(), torch.randn(shape)
    change = rescale(built, x)
    assert change.gains
    assert any("relu" in gain.reads for gain in rescale(built, x).gains) == (model is not Chooser)
    swap(built, "relu", "leaky_relu:0.3")
    reads = " ".join(gain.reads for gain in rescale(built, x).gains)
    assert ("leaky_relu:0.3" in reads) == (model is not Chooser)
    assert "relu " not in reads.replace("leaky_relu", "")


def test_what_the_model_takes():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 7), nn.Linear(5, 7)

        def forward(self, x, y):
            return {"sum": (self.a(x), self.b(y))}

    for batch in ((torch.randn(3, 5), torch.randn(3, 5)), {"x": torch.randn(3, 5), "y": torch.randn(3, 5)}):
        assert len(rescale(Two(), batch).gains) == 2


@pytest.mark.parametrize("way", ["wrapped", "in place", "DataParallel"])
def test_wrapped_models(way):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, x = plain("relu", (5, 7, 3)), torch.randn(11, 5)
    right = copy.deepcopy(model)
    rescale(right, x)
    if way == "wrapped":
        given = torch.compile(model, backend="eager")
    elif way == "in place":
        given = model
        given.compile(backend="eager")
    else:
        given = nn.DataParallel(model)
    given(x)
    assert [gain.layer for gain in rescale(given, x).gains] == ["0", "2"]
    assert torch.equal(given(x), right(x))


def test_half_and_double_precision():
    for dtype in (torch.bfloat16, torch.float64):
        model = plain("relu", (50, 70, 30)).to(dtype)
        change = rescale(model, torch.randn(11, 50, dtype=dtype))
        assert [g.gain_after for g in change.gains] == pytest.approx([1, 2**0.5], rel=0.01)
        assert all(p.dtype == dtype for p in model.parameters())


# Refusals, undo, words ---------------------------------------------------------------------------------------------


def refusal(*args, **options):
    with pytest.raises(CannotRescale) as caught:
        rescale(*args, **options)
    return str(caught.value)


@pytest.mark.parametrize("make", [torch.optim.Adam, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)])
def test_after_training_has_begun(make):
    model, x = plain("relu", (5, 7, 3)), torch.randn(11, 5)
    optimizer = make(model.parameters())
    model(x).square().mean().backward()
    optimizer.step()
    before = everything(model)
    text = refusal(model, x, optimizer=optimizer)
    assert re.match(
        r"Training has begun: (Adam remembers 1 step|SGD remembers momentum)\. Rescaling would destroy", text
    )
    assert equal(everything(model), before)


@pytest.fixture
def one_process():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_divided_models(one_process):
    x = torch.randn(11, 5)
    text = refusal(nn.parallel.DistributedDataParallel(plain("relu", (5, 7, 3))), x)
    assert text.endswith("Write rectifier.rescale(model, batch) before DistributedDataParallel(model).")
    model = plain("relu", (5, 7, 3))
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    assert refusal(model, x).endswith("before fully_shard(model).")


def test_what_has_no_values_to_scale():
    x = torch.randn(11, 5)
    assert "Run it on a batch first" in refusal(nn.Sequential(nn.LazyLinear(7)), x)
    with torch.device("meta"):
        assert "is on the meta device" in refusal(plain("relu", (5, 7)), x)
    with pytest.warns(DeprecationWarning, match="jit.script"):
        scripted = torch.jit.script(plain("relu", (5, 7)))
    assert "before torch.jit.script(model)" in refusal(scripted, x)
    assert "ReLU has no linear layer or convolution to rescale." in refusal(nn.ReLU(), x)
    assert refusal(nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 7))), x).startswith(
        "Sequential has no linear layer or convolution to rescale (0: its weight is computed by a parametrisation"
    )


def test_wrong_arguments():
    model, x = plain("relu", (5, 7)), torch.randn(11, 5)
    assert "and got a list" in refusal([model], x)
    assert refusal(model, x, mode="he") == 'mode=\'he\' is none of "auto", "gain", "lsuv".'
    assert "optimizer= takes a torch.optim.Optimizer; this is a float" in refusal(model, x, optimizer=0.1)


def test_a_constant_or_infinite_output_is_left_and_said():
    model = Block(5)
    nn.init.constant_(model.first.bias, -99.0)
    change = rescale(model, torch.randn(11, 5), mode="lsuv")
    assert (
        "second",
        "its output is one constant on this batch",
    ) not in change.left  # its biases differ from unit to unit
    nn.init.zeros_(model.second.bias)
    change = rescale(model, torch.randn(11, 5), mode="lsuv")
    assert ("second", "its output is one constant on this batch") in change.left
    change = rescale(Block(5), torch.full((11, 5), float("inf")), mode="lsuv")
    assert ("first", "its output is not finite on this batch") in change.left


def test_a_bias_that_drowns_everything_is_said():
    model = Block(5)
    nn.init.normal_(model.second.bias, std=50)
    change = rescale(model, torch.randn(11, 5), mode="lsuv")
    (reason,) = [reason for layer, reason in change.left if layer == "second"]
    assert reason.startswith("its bias alone varies so much that no factor makes the deviation 1 (it stays at ")


def test_undo_after_training_puts_nothing_back_and_says_so():
    model, x = plain("relu", (5, 7, 3)), torch.randn(11, 5)
    change = rescale(model, x)
    with torch.no_grad():
        model[2].weight.add_(0.1)
    before = everything(model)
    with pytest.raises(CannotRescale, match=r"Cannot undo the rescaling: 2.weight has moved since"):
        change.undo()
    assert equal(everything(model), before)
    model.to(torch.float64)
    with pytest.raises(CannotRescale, match=r"0\.weight has moved since"):
        change.undo()


def test_repr_says_what_was_done():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3), nn.LayerNorm(3))
    with rescale(model, torch.ones(11, 5)) as change:
        lines = repr(change).splitlines()
    assert lines == [
        "initial weights → rescaled (gain) in 1 layer",
        lines[1],
        "  left alone: 2, a normalisation behind it takes its scale out again",
        "  note: The mean square of the input is 1 on this batch; the gains keep it through the layers.",
    ]
    assert repr(change).startswith("initial weights → rescaled (gain) in 1 layer (undone)")
    measured = rescale(nn.Sequential(Block(5), Block(5)), torch.randn(11, 5))
    assert re.search(r"0.first: gain 0.\d+ → \d.\d+, reads the input, output's deviation 0.\d+ → 1\n", repr(measured))
    assert re.search(r"1.first: gain 0.\d+ → 0.\d+, reads something else", repr(measured))


# What it is for ----------------------------------------------------------------------------------------------------


def test_twenty_default_layers_learn_after_it_and_not_before():
    """Oracles § 6.5: the default initialisation gives 0.41 per ReLU layer."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32)[:499], torch.tensor(digits)[:499]

    def loss_after(treat):
        torch.manual_seed(0)
        widths = [64, *[32] * 20, 10]
        model = nn.Sequential(*[p for a, b in pairwise(widths) for p in (nn.Linear(a, b), nn.ReLU())][:-1])
        if treat:
            rescale(model, x)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(100):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return loss.item()

    assert loss_after(False) > 2.25  # the best constant's is 2.30
    assert loss_after(True) < 2.0
