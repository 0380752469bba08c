"""Treatments while a script trains: given between its steps, told in the run, and never the end of the training."""

import re
import subprocess

import pytest
import torch
from torch import nn

from rectifier import treatment
from rectifier.hooks.calls import interception
from rectifier.launch import treating
from rectifier.launch.treating import Kept, Treating
from rectifier.monitor import Monitor
from rectifier.report.sentences.treated import treatment_text
from rectifier.storage import RunWriter
from tests.launch.running import RECTIFIER


class Named(nn.Module):
    """Takes named arguments, as other people's trainers call models."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 11), nn.ReLU(), nn.Linear(11, 3))

    def forward(self, x, *, scale):
        return self.body(x) * scale


def trained(model, folder=None, *, steps=12, kill=True, rescale=False, recycle=None, seed=0):
    """The losses of a training, and what was treated in it; without a folder it trains by itself."""
    torch.manual_seed(seed)
    if kill:
        with torch.no_grad():
            model.body[2].bias[:5] = -100
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    x = torch.randn(3500, 5)
    if folder is not None:
        kept = Kept(RunWriter(folder))
        monitor = Monitor(kept, every=1)
        monitor.start()
        treat = Treating(monitor, kept, rescale=rescale, recycle=recycle)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x, scale=1.0) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if folder is None:
        return losses, None, None
    treat.stop()
    monitor.stop()
    assert not interception.switch.observers
    return losses, kept.process(), treat


def fresh(seed=3):
    torch.manual_seed(seed)
    return Named()


def test_dead_units_are_recycled_after_every_so_many_steps_and_the_run_tells(tmp_path):
    plain, _, _ = trained(fresh())
    model = fresh()
    losses, process, treat = trained(model, tmp_path, recycle=5)
    assert losses[:5] == plain[:5]
    # The function is the same at that moment, and what was revived learns from then on.
    assert losses[5] == pytest.approx(plain[5], rel=1e-5)
    assert losses[6:] != plain[6:]
    (first,) = process.treated
    # One more than was killed was born so.
    assert (first.step, first.name, first.units) == (4, "recycle", {"body.3": (0, 1, 2, 3, 4, 5)})
    assert treatment_text(first) == "6 dead units recycled: 6 of body.3"
    assert treat.looked == [9]
    assert not process.warnings
    cost = process.snapshots[-1].cost
    assert 0 < cost.treating_seconds < cost.training_seconds
    assert cost.watching_fraction == cost.watching_seconds / (cost.training_seconds - cost.treating_seconds)
    last = [window for snapshot in process.snapshots for window in snapshot.windows if window.site == 1][-1]
    assert last.last_fired.tolist() == [11] * 11


def test_initial_weights_are_rescaled_before_the_first_step(tmp_path):
    model = fresh()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    losses, process, _ = trained(model, tmp_path, steps=1, kill=False, rescale=True)
    (treated,) = process.treated
    assert (treated.step, treated.name, treated.units) == (-1, "rescale", {})
    assert re.fullmatch(
        r"3 layers of Named rescaled \(gain\), by factors from \d.\d+ to \d.\d+; the first step's gradients, which "
        r"were of the old weights, were set to 0",
        treatment_text(treated),
    )
    for parameter, old in zip(model.parameters(), before, strict=True):
        if parameter.ndim == 2:
            ratio = parameter / old
            assert torch.allclose(ratio, ratio[0, 0]), "only its scale: no gradient of the old weights was applied"
            assert ratio[0, 0] > 1.2
        else:
            assert torch.equal(parameter, old)
    # The monitor does not take it for a step of the optimizer's.
    updates = [window.update.tolist() for snapshot in process.snapshots for window in snapshot.windows]
    assert updates == [[0.0], [0.0]]
    assert losses == trained(fresh(), steps=1, kill=False)[0]


def test_after_a_rescale_it_trains_as_from_those_weights(tmp_path):
    losses, _, _ = trained(fresh(), tmp_path, kill=False, rescale=True)
    model = fresh()
    torch.manual_seed(0)
    treatment.rescale(model, {"x": torch.randn(3500, 5), "scale": 1.0})
    by_hand, _, _ = trained(model, kill=False)
    assert losses[1:] == by_hand[:-1]


@pytest.mark.parametrize("broken", ["recycle", "diagnose", "rescale"])
def test_a_failure_is_one_warning_and_the_training_goes_on_as_without(tmp_path, monkeypatch, capsys, broken):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("planted")

    plain, _, _ = trained(fresh())
    monkeypatch.setattr(treating, broken, fail)
    losses, process, _ = trained(fresh(), tmp_path, recycle=2, rescale=broken == "rescale")
    assert losses == plain
    (warning,) = process.warnings
    step = 0 if broken == "rescale" else 2
    assert warning == f"treating stopped at step {step}: ZeroDivisionError: planted"
    assert capsys.readouterr().err.count("the training goes on") == 1


def test_a_refusal_is_told_once(tmp_path, capsys):
    class Summed(Named):
        """Something besides the next layer reads the units."""

        def forward(self, x, *, scale):
            h = self.body[:4](x)
            return (self.body[4](h) + h.sum(1, keepdim=True)) * scale

    torch.manual_seed(3)
    plain, _, _ = trained(Summed())
    torch.manual_seed(3)
    losses, process, treat = trained(Summed(), tmp_path, recycle=2)
    assert losses == plain
    (warning,) = process.warnings
    assert warning.startswith("not treated after step 1: Nothing was recycled. body.3: ")
    assert capsys.readouterr().err.count("the training goes on") == 1
    assert not treat.looked
    assert not process.treated


def test_a_resumed_training_is_not_rescaled(tmp_path):
    model = fresh()
    x = torch.randn(11, 5)
    optimizer = torch.optim.Adam(model.parameters())
    model(x, scale=1.0).sum().backward()
    optimizer.step()
    kept = Kept(RunWriter(tmp_path))
    monitor = Monitor(kept, every=1)
    monitor.start()
    treat = Treating(monitor, kept, rescale=True, recycle=None)
    model(x, scale=1.0).sum().backward()
    optimizer.step()
    treat.stop()
    monitor.stop()
    assert not kept.process().treated
    (warning,) = kept.process().warnings
    assert warning.startswith("not treated after step 0: Training has begun: Adam remembers 1 step.")


SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 3))
with torch.no_grad():
    model[0].bias[:3] = -100
optimizer = torch.optim.SGD(model.parameters(), 1e-3)
x = torch.randn(3500, 5)
for step in range(9):
    optimizer.zero_grad()
    (model(x) - 1).square().mean().backward()
    optimizer.step()
"""


def test_the_command_line_treats_tells_and_draws(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    line = [RECTIFIER, "run", "--every", "1", "--rescale", "--recycle", "every=4", "--name", "x", "train.py"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert "Before the first step: 2 layers of Sequential rescaled (gain), by factors from" in told
    assert "After step 3: 3 dead units recycled: 3 of Sequential.1. Of the 3 recycled units, 3 fired since." in told
    assert re.search(r"The mean loss was [\d.]+ over the 4 steps before and [\d.]+ over the 5 steps after; what", told)
    assert re.search(r"Watching took .* of the training \(host clock\).* Treatments took another \d", told)
    assert "Found no confirmed dead unit to recycle: searched 1 time, last after step 7." in told
    assert "rectifier compare" not in told, "it has just been treated"
    (folder,) = (tmp_path / "rectifier-runs").iterdir()
    page = tmp_path / "page.html"
    subprocess.run([RECTIFIER, "report", folder, "--html", page], check=True, capture_output=True)
    html = page.read_text()
    assert "Changed while it trained" in html
    assert "Cost of treating" in html
    assert "Dashed: changed while it trained, before the first step (rescale), after step 3 (recycle)." in html
