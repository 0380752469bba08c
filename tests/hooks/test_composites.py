"""Activations that are written with others are one site each: the outer one, counted at its output."""

import importlib
import sys

import numpy as np
import pytest
import torch
from torch import nn

import rectifier
from rectifier.activations import functional, relatives
from rectifier.activations import nn as ours
from rectifier.catalogue import parse
from rectifier.hooks.calls import dynamo as compiler

MEMBERS = {
    "relu": nn.ReLU(), "quick_gelu": ours.QuickGELU(), "gelu_10": ours.GELU10(), "laplace": ours.Laplace(),
    "sqrt_softplus": ours.SqrtSoftplus(), "relu_squared": ours.ReLUSquared(), "tanhshrink": nn.Tanhshrink(),
    "softsign": nn.Softsign(), "softshrink:0.2": nn.Softshrink(0.2), "hardshrink:0.3": nn.Hardshrink(0.3),
    "threshold:0.1": nn.Threshold(0.1, 0.0), "gelu_tanh": nn.GELU("tanh"),
}  # fmt: skip


def watched(act, x):
    """A watched step, and the same by hand: z, h, and ∂L/∂z."""
    layer, out = nn.Linear(5, 7), nn.Linear(7, 1)
    model = nn.Sequential(layer, act, out)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with rectifier.watch(model, every=1) as watch:
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
    z = layer(x).detach().requires_grad_()
    h = act(z)
    again = out(h).square().mean()
    again.backward()
    assert loss.item() == again.item()
    return watch.run.processes[0], z, h.detach()


@pytest.mark.parametrize("name", MEMBERS)
def test_the_outer_activation_is_the_site_and_its_output_is_counted(name):
    torch.manual_seed(3)
    process, z, h = watched(MEMBERS[name], 3 * torch.randn(11, 5))
    (site,) = process.sites
    assert (site.activation, site.kind, site.path, site.units) == (name, "module", "1", 7)
    assert process.unseen == ()
    (window,) = [window for snapshot in process.snapshots for window in snapshot.windows]
    assert window.fired.tolist() == (h > parse(name).activation.value_at_zero).sum(0).tolist()
    np.testing.assert_allclose(window.highest, h.amax(0), rtol=1e-6)
    np.testing.assert_allclose(window.pre_mean, z.detach().mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(window.delta[0], (z.grad.square().sum() / 11).sqrt(), rtol=1e-5)


def test_a_threshold_with_another_constant_is_not_taken_for_the_catalogue_s():
    process, _, _ = watched(nn.Threshold(0.1, 9.0), torch.randn(11, 5))
    assert process.sites == ()
    assert [one.what for one in process.unseen] == ["a threshold"]


ACTIVATIONS = """
import torch
from torch import nn

class QuickGELUActivation(nn.Module):
    def forward(self, input):
        return input * torch.sigmoid(1.702 * input)

class GELUActivation(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.functional.gelu
    def forward(self, input):
        return self.act(input)

class ClippedGELUActivation(nn.Module):
    def __init__(self, min, max):
        super().__init__()
        self.min, self.max = min, max
    def forward(self, x):
        return torch.clip(nn.functional.gelu(x), self.min, self.max)

PytorchGELUTanh = GELUTanh = GELUActivation
early = GELUActivation()
"""


@pytest.fixture
def transformers(tmp_path, monkeypatch):
    """A package of that name, with its classes written as there."""
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").touch()
    (tmp_path / "transformers" / "activations.py").write_text(ACTIVATIONS)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("transformers", "transformers.activations"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def imported():
        import transformers.activations

        return transformers.activations

    yield imported
    for name in ("transformers", "transformers.activations"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("early", [False, True])
def test_transformers_modules_are_met_whenever_they_are_imported(transformers, early):
    if early:
        transformers()
    with rectifier.watch():
        module = transformers()
        x = torch.randn(11, 5)
        found = {}
        for act in (
            module.QuickGELUActivation(), module.early, module.ClippedGELUActivation(-10, 10),
            module.ClippedGELUActivation(-1, 1),
        ):  # fmt: skip
            process, _, _ = watched(act, x)
            found[type(act).__name__, getattr(act, "min", 0)] = [(one.activation, one.kind) for one in process.sites]
    assert found == {
        ("QuickGELUActivation", 0): [("quick_gelu", "module")],
        ("GELUActivation", 0): [("gelu", "module")],
        ("ClippedGELUActivation", -10): [("gelu_10", "module")],
        # Clipped elsewhere it is none that has a name: what it calls is told.
        ("ClippedGELUActivation", -1): [("gelu", "module")],
    }
    assert "_rectifier" not in " ".join(module.QuickGELUActivation.forward.__code__.co_names)
    assert not [name for name in vars(module) if name.startswith("_rectifier")]


def test_what_is_replaced_inside_of_a_composite_is_replaced_whether_it_is_observed_or_not():
    torch.manual_seed(3)
    x = torch.randn(11, 5)
    act = ours.QuickGELU()
    model = nn.Sequential(nn.Linear(5, 7), act, nn.Linear(7, 1))
    from rectifier.hooks.calls import functions

    undo = functions.replace("sigmoid", lambda original, z, *rest, **named: original(z) * 2)
    try:
        plain = model(x)
        with rectifier.watch(model, every=1):
            assert torch.equal(model(x), plain)
    finally:
        undo()
    assert not torch.equal(model(x), plain)


OURS = [ours.QuickGELU.forward, ours.SurrogateGradientReLU.forward, functional.leaky_relu, functional.quick_gelu]


def test_ours_are_met_again_after_they_left_the_table_of_modules(monkeypatch):
    """As under `rectifier run`, where a script has a `rectifier.py` of its own."""
    written = [function.__code__ for function in OURS]
    waiting = list(sys.meta_path)
    with rectifier.watch():
        met = [function.__code__ for function in OURS]
        for name in [name for name in sys.modules if name.startswith("rectifier.activations")]:
            monkeypatch.delitem(sys.modules, name)
        torch.jit.script(nn.Linear(5, 7))
        assert [function.__code__ for function in OURS] == met
    assert not {*written} & {*met}
    assert [function.__code__ for function in OURS] == written
    assert sys.meta_path == waiting


@pytest.mark.parametrize("early", [False, True])
def test_a_script_s_module_that_has_the_name_of_one_of_ours_is_left_alone(early, tmp_path, monkeypatch):
    """Only ours has what is looked for there; and the script's import must not hear of it."""
    (tmp_path / "relatives.py").write_text("mine = 5\n")
    monkeypatch.setattr(rectifier.activations, "__path__", [str(tmp_path)])
    monkeypatch.setattr(rectifier.activations, "relatives", relatives)
    monkeypatch.delitem(sys.modules, relatives.__name__)
    heard = []

    def theirs():
        return importlib.import_module(relatives.__name__)

    monkeypatch.setattr(compiler, "_met", {})
    if early:
        theirs()
    undo = compiler.after_import(relatives.__name__, heard.append)
    assert theirs().mine == 5
    undo()
    assert heard == []
