"""The rules on real trainings of a few hundred steps: failures are found, healthy networks are left in peace."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from tests.edge import diagnose, why
from tests.watching import Watching


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images[:1400] / 16, dtype=torch.float32), torch.tensor(labels[:1400])


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plain(inputs, width, depth, outputs, *, he=False):
    layers, fan_in = [], inputs
    for _ in range(depth):
        layers += [nn.Linear(fan_in, width), nn.ReLU()]
        fan_in = width
    model = nn.Sequential(*layers, nn.Linear(fan_in, outputs))
    for layer in model:
        if he and isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


def diagnosis_of(model, optimizer, loss, inputs, targets, *, epochs, batch=64):
    with Watching(model, every=1) as watch:
        for _ in range(epochs):
            order = torch.randperm(len(inputs))
            for chosen in order.split(batch):
                optimizer.zero_grad()
                loss(model(inputs[chosen]), targets[chosen]).backward()
                optimizer.step()
    return diagnose(watch.process)


def of_digits(digits, model, optimizer, *, epochs):
    return diagnosis_of(model, optimizer, F.cross_entropy, *digits, epochs=epochs)


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_default_network_is_not_accused_however_many_units_are_silent(digits, seed):
    torch.manual_seed(seed)
    model = plain(64, 128, 3, 10)
    found = of_digits(digits, model, torch.optim.Adam(model.parameters(), 1e-3), epochs=15)
    assert found.worst == "info"
    assert max(layer.dead / layer.units for layer in found.layers) > 0.1, "there was a temptation"


def test_a_training_that_goes_on_after_it_converged_is_not_accused(digits):
    torch.manual_seed(0)
    model = plain(64, 128, 3, 10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    of_digits(digits, model, optimizer, epochs=20)
    assert of_digits(digits, model, optimizer, epochs=5).worst == "info"


def test_a_dead_branch_beside_a_skip_connection_is_no_constant_network(digits):
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.branch, self.head = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
            nn.init.constant_(self.branch.bias, -50.0)

        def forward(self, x):
            x = F.relu(self.stem(x))
            return self.head(x + F.relu(self.branch(x)))

    torch.manual_seed(0)
    model = Skip()
    found = of_digits(digits, model, torch.optim.Adam(model.parameters(), 3e-3), epochs=8)
    assert [(finding.rule, finding.severity) for finding in found.findings if finding.severity != "info"] == [
        ("dead-units", "warning")
    ]


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_twenty_plain_layers_at_default_initialisation_vanish(digits, kind):
    torch.manual_seed(0)
    model = plain(64, 32, 20, 10)
    optimizer = (
        torch.optim.Adam(model.parameters(), 1e-3) if kind == "adam" else torch.optim.SGD(model.parameters(), 0.05)
    )
    found = of_digits(digits, model, optimizer, epochs=4)
    alarms = [finding for finding in found.findings if finding.severity != "info"]
    assert [finding.rule for finding in alarms] == ["vanishing-gradient"]
    # (1 + a²)/6 of the squared norm per layer, oracles of signal propagation: 0.408.
    assert alarms[0].numbers["factor_per_layer"] == pytest.approx(0.408, abs=0.05)


def test_a_learning_rate_that_is_too_high_is_named_as_what_killed_the_units(digits):
    torch.manual_seed(0)
    model = plain(64, 128, 3, 10)
    found = of_digits(digits, model, torch.optim.Adam(model.parameters(), 1e-1), epochs=8)
    alarms = [finding for finding in found.findings if finding.severity != "info"]
    assert alarms
    assert {why(finding) for finding in alarms} == {"learning_rate"}


def test_raw_pixels_and_a_large_step_end_in_nan_and_nothing_after_it_is_called_dead(digits):
    torch.manual_seed(0)
    model = plain(64, 128, 3, 10)
    images, labels = digits
    found = diagnosis_of(
        model, torch.optim.SGD(model.parameters(), 0.1), F.cross_entropy, images * 255, labels, epochs=3
    )
    assert found.findings[0].rule == "non-finite"
    assert found.findings[0].cause.text.startswith(
        "input scale: the root mean square of the inputs is 123; the weights moved"
    )
    assert all(layer.dead < layer.units for layer in found.layers)


def test_a_single_output_unit_behind_relu_that_never_fires():
    """tfjs#918: y = 2x − 1 on four points; a seed whose output is negative stays at loss 21, which is predicting 0."""
    x, y = torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([[1.0], [3.0], [5.0], [7.0]])
    worst = {}
    for seed in range(6):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
        silent = bool((model(x) <= 0).all())
        found = diagnosis_of(model, torch.optim.SGD(model.parameters(), 0.01), F.mse_loss, x, y, epochs=100, batch=4)
        worst[seed] = (silent, found.worst)
    assert set(worst.values()) == {(True, "serious"), (False, None)}


def test_absolute_value_with_two_units_a_layer_is_born_constant():
    """Lu et al. 2019: |x| with depth 10 and width 2; the loss falls all the same, because the mean is learned."""
    torch.manual_seed(1)
    x = (torch.rand(3000, 1) * 2 - 1) * 3**0.5
    model = plain(1, 2, 9, 1, he=True)
    with torch.no_grad():
        assert model(x).std() == 0, "this seed is born dead"
    found = diagnosis_of(model, torch.optim.Adam(model.parameters(), 1e-3), F.mse_loss, x, x.abs(), epochs=4, batch=128)
    first, second, *others = found.findings
    assert (first.rule, first.severity) == ("constant-network", "serious")
    assert (second.rule, why(second)) == ("dead-units", "born dead")
    assert {finding.severity for finding in others} == {"info"}


FLAWS = {
    "gradient_accumulation": {"clear": "never"},
    "cleared": {"clear": "before the step"},
    "objective": {"loss": lambda out, targets: -F.cross_entropy(out, targets)},
    "output_activation": {"loss": lambda out, targets: F.cross_entropy(out.softmax(1), targets)},
    "loss_term": {"loss": lambda out, targets: F.cross_entropy(out, targets) + 100 * (out - 7).square().mean()},
    "data_order": {"in_order": True},
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_what_is_set_up_wrongly_is_named_in_a_real_training(digits, flaw):
    torch.manual_seed(0)
    images, labels = digits
    model = plain(64, 32, 2, 10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    options = {"clear": "first", "loss": F.cross_entropy, "in_order": False} | FLAWS[flaw]
    with Watching(model, every=1) as watch:
        for _ in range(6):
            order = labels.argsort(stable=True) if options["in_order"] else torch.randperm(len(images))
            for chosen in order.split(64):
                if options["clear"] == "first":
                    optimizer.zero_grad()
                options["loss"](model(images[chosen]), labels[chosen]).backward()
                if options["clear"] == "before the step":
                    optimizer.zero_grad()
                optimizer.step()
    found = diagnose(watch.process)
    kinds = [one.cause.kind for one in found.findings if one.severity != "info"]
    assert kinds[:1] == ["gradient_accumulation" if flaw == "cleared" else flaw]
