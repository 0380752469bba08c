"""One forward and one backward pass: against exact results, on networks of many kinds, without a trace."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import rectifier
from rectifier.errors import CannotProbe
from rectifier.hooks.calls import functions
from rectifier.testing import assert_alive

from .test_census import Careless, Mixed, differences, everything


def plain(inputs, width, depth, outputs, *, gain=None, slope=0.0):
    """`gain` None: torch's own initialisation; else zero biases and weights of variance gain²/fan_in."""
    layers, fan_in = [], inputs
    for _ in range(depth):
        layers += [nn.Linear(fan_in, width), nn.LeakyReLU(slope) if slope else nn.ReLU()]
        fan_in = width
    layers.append(nn.Linear(fan_in, outputs))
    for layer in layers:
        if gain is not None and isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def names(found):
    return {(finding.rule, finding.severity) for finding in found.findings if finding.severity != "info"}


LINE = torch.linspace(-1, 1, 24).unsqueeze(1)
RAY = torch.linspace(0.1, 1, 5).unsqueeze(1)


@pytest.fixture
def _in_place():
    """The interceptions stay where they are between many checks: putting them there is most of what a check costs."""
    forget = functions.observe(SimpleNamespace(armed=False))
    yield
    forget()


@pytest.mark.usefixtures("_in_place")
@pytest.mark.parametrize(
    ("inputs", "width", "depth", "exact"),
    [(LINE, 2, 4, 0.49772), (RAY, 2, 3, 1 - 0.75**3)]
    + [pytest.param(*case, marks=pytest.mark.proof) for case in ((LINE, 3, 5, 0.29424), (LINE, 1, 3, 0.75))],
)
def test_as_many_networks_are_born_dead_as_the_exact_results_say(inputs, width, depth, exact):
    torch.manual_seed(11)
    networks = 100
    found = [rectifier.check(plain(1, width, depth, 1, gain=2**0.5), inputs) for _ in range(networks)]
    dead = sum(("constant-network", "serious") in names(one) for one in found)
    assert abs(dead / networks - exact) <= 4 * math.sqrt(exact * (1 - exact) / networks)
    told = next(one.findings[0] for one in found if one.worst == "serious")
    assert told.numbers["depth"] == depth


def test_no_leaky_network_is_born_dead():
    torch.manual_seed(11)
    found = [rectifier.check(plain(1, 2, 9, 1, gain=2**0.5, slope=0.01), LINE) for _ in range(20)]
    assert not any(name == "constant-network" for one in found for name, _ in names(one))


@pytest.mark.parametrize(("gain", "slope"), [(2**0.5, 0.0), (3**-0.5, 0.0), (3**-0.5, 0.2), (1.0, 0.5)])
def test_gains_are_those_of_the_exact_result(gain, slope):
    """q_{l+1} = σ_w²(1+a²)/2 · q_l forwards, and the same factor for δ backwards."""
    torch.manual_seed(2)
    found = rectifier.check(plain(256, 256, 5, 256, gain=gain, slope=slope), torch.randn(256, 256))
    exact = gain * math.sqrt((1 + slope**2) / 2)
    # A single network of width 256: the squared norm's deviation is about √(5/256) a layer.
    assert [layer.gain for layer in found.layers] == pytest.approx([exact] * 5, rel=0.12)
    deltas = [layer.delta for layer in found.layers]
    assert [low / high for low, high in itertools.pairwise(deltas)] == pytest.approx([exact] * 4, rel=0.12)


def test_the_offset_of_digits_and_a_default_network_that_trains_well():
    images = torch.tensor(load_digits().data / 16, dtype=torch.float32)[:256]
    for seed in range(3):
        torch.manual_seed(seed)
        found = rectifier.check(plain(64, 128, 3, 10), images)
        assert names(found) == set()
        assert found.input_offset == pytest.approx(1.5, abs=0.1)
        assert all(0.19 < layer.gain < 0.7 for layer in found.layers)
        assert_alive(plain(64, 128, 3, 10), images)


class Residual(nn.Module):
    """A branch scaled to zero by design, a head that begins at zero, and a silent layer beside a skip connection."""

    def __init__(self, silent=False):
        super().__init__()
        self.stem, self.branch, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        if silent:
            nn.init.constant_(self.branch.bias, -99.0)
        else:
            nn.init.zeros_(self.branch.weight)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.head(x + F.relu(self.branch(x)))


def ends_in(outputs, *last):
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs), *last)


class Bowl(nn.Module):
    """Embeddings in, a mapping out; indices have no size."""

    def __init__(self):
        super().__init__()
        self.words, self.layer = nn.EmbeddingBag(11, 6), nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, words):
        return {"logits": self.head(self.layer(self.words(words).unsqueeze(1)).squeeze(1)), "count": 3}


@pytest.mark.parametrize(
    ("model", "batch"),
    [
        (Mixed, lambda: torch.randn(7, 2, 5, 5)),
        (Residual, lambda: torch.randn(7, 6)),
        (Bowl, lambda: torch.randint(0, 11, (7, 4))),
        (lambda: nn.LSTM(3, 5), lambda: torch.randn(11, 7, 3)),
        (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(5, 1), nn.Softplus()),
         lambda: torch.randn(7, 6)),
        (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU()).append(nn.Linear(8, 1)).requires_grad_(False),
         lambda: torch.randn(7, 6)),
    ],
)  # fmt: skip
def test_healthy_networks_of_many_kinds_are_not_accused(model, batch):
    torch.manual_seed(4)
    assert names(rectifier.check(model(), batch())) == set()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: Residual(silent=True), {("dead-units", "warning")}),
        (lambda: ends_in(1, nn.Softmax(1)), {("no-gradient", "serious")}),
        (lambda: ends_in(4, nn.ReLU()), {("output-activation", "warning")}),
        (lambda: ends_in(4, nn.ReLU(), nn.Flatten(0), nn.Unflatten(0, (7, 4))), {("output-activation", "warning")}),
        (lambda: plain(6, 32, 20, 3), {("poor-initialisation", "warning")}),
        (lambda: plain(6, 32, 12, 3, gain=4.0), {("poor-initialisation", "warning")}),
    ],
)  # fmt: skip
def test_networks_with_a_fault_are(model, expected):
    torch.manual_seed(4)
    assert names(rectifier.check(model(), torch.randn(7, 6))) == expected


def test_a_network_with_nan_in_it():
    model = plain(6, 8, 2, 3)
    with torch.no_grad():
        model[2].weight[1, 1] = float("nan")
    (found,) = rectifier.check(model, torch.randn(7, 6)).findings
    assert found.title == "the output of Sequential.3 contains NaN or infinity before any training"


@pytest.mark.parametrize("raising", [False, True])
def test_everything_is_as_it_was(raising):
    torch.manual_seed(5)
    model = Careless()
    model.norm.eval()
    model.linear.bias.requires_grad_(False)
    F.relu(model.linear(torch.ones(2, 3))).sum().backward()
    heard = []
    model.linear.weight.register_post_accumulate_grad_hook(heard.append)
    before = everything(model)
    if raising:
        with pytest.raises(CannotProbe):
            rectifier.check(model, torch.ones(4, 3), loss=lambda output, batch: 1 / 0)
    else:
        rectifier.check(model, torch.randn(4, 3, generator=torch.Generator().manual_seed(1)))
    after = everything(model)
    after["versions"] = before["versions"]
    assert differences(before, after) == []
    assert heard == []


def test_a_watch_that_goes_on_is_not_told():
    torch.manual_seed(0)
    model = plain(3, 5, 2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with rectifier.watch(model, every=1) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(7, 3)).square().mean().backward()
            rectifier.check(model, torch.randn(11, 3))
            optimizer.step()
    process = watch.run.processes[0]
    assert sum(window.visits for s in process.snapshots for window in s.windows if window.site == 0) == 21
    assert len(process.series("loss").values) == 3


def test_the_loss_that_is_given_is_the_one_that_is_followed():
    torch.manual_seed(0)
    model, batch = plain(3, 5, 2, 2), (torch.randn(7, 3), torch.arange(7) % 2)
    one = rectifier.check(model, batch, loss=lambda output, batch: F.cross_entropy(output, batch[1]))
    two = rectifier.check(model, batch, loss=lambda output, batch: 3 * F.cross_entropy(output, batch[1]))
    assert one.loss == "the loss given"
    assert [b.delta / a.delta for a, b in zip(one.layers, two.layers, strict=True)] == pytest.approx([3, 3])


@pytest.mark.parametrize(
    ("model", "batch", "more", "told"),
    [
        (3, torch.ones(7, 3), {}, "this takes a torch.nn.Module first, and got a int."),
        (nn.Linear(3, 5), torch.ones(7, 4), {}, "Linear could not be run on float32 7 × 4: RuntimeError: mat"),
        (nn.ReLU(), torch.ones(7, 4), {}, "nothing in the output depends on a parameter"),
        (nn.Linear(3, 5), torch.ones(7, 3), {"loss": lambda o, b: o}, "the loss must be a tensor with one element."),
        (nn.Linear(3, 5), torch.ones(7, 3), {"loss": lambda o, b: o[9, 9]}, "the loss could not be computed: Index"),
        (nn.Linear(3, 5), torch.ones(7, 3), {"forward": lambda m, b: None}, "Linear returned no floating tensor"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_told_in_one_message(model, batch, more, told):
    with pytest.raises(CannotProbe) as error:
        rectifier.check(model, batch, **more)
    assert str(error.value).startswith(told)


def test_assert_alive_says_what_why_and_what_to_do():
    torch.manual_seed(4)
    model, batch = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU()), torch.randn(7, 6)
    with pytest.raises(AssertionError) as failure:
        assert_alive(model, batch)
    first, second = str(failure.value).splitlines()
    assert first == "Sequential is not ready to be trained:"
    assert second.startswith("the network ends in relu. ")
    assert "Why: Sequential.3 is the last operation. What to do: Leave the output linear" in second
    assert_alive(model, batch, fail_on="serious")
    assert_alive(model, batch, suppress={"output-activation": "targets are counts"})


def test_a_batch_of_equal_samples_is_one_sample():
    """Ones are the usual smoke test: they say nothing of what tells samples apart, and bound nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    found = rectifier.check(model, torch.ones(4_000, 3))
    assert found.samples == 1
    assert {layer.samples for layer in found.layers} == {1}
    assert [finding.rule for finding in found.findings if finding.severity != "info"] == []
    twice = rectifier.check(model, torch.randn(7, 3).repeat(2, 1))
    assert (twice.samples, {layer.samples for layer in twice.layers}) == (7, {7})


class Spectrum(nn.Module):
    """Behind a Fourier transform which axis counts as units is not known."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1)

    def forward(self, x):
        return self.last(self.act(torch.fft.fft(self.first(x)).real))


@pytest.mark.parametrize(
    ("model", "what"), [(Spectrum, "the units of act could not be"), (lambda: nn.Linear(3, 1), "no activation was")]
)
def test_what_could_not_be_judged_does_not_pass_a_test(model, what):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=rf"could not be judged: {what}.*allow_unjudged=True"):
        assert_alive(model(), torch.randn(11, 3))
    assert_alive(model(), torch.randn(11, 3), allow_unjudged=True)
