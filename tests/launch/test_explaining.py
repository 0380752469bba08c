"""What `explain` asks of a script's process by the environment: one change, a closer look, an early end."""

import json

import pytest
import torch

from rectifier.diagnosis import diagnose
from rectifier.hooks import training
from rectifier.launch import Launch, start
from rectifier.launch.explaining import OwnClock
from rectifier.records import Manifest
from rectifier.storage import create_run_folder, read_run, write_manifest
from tests.launch.running import Case, Ran, lay, python, rectifier

TRAIN = """
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(64, 5)
y = x.sum(1, keepdim=True)
model = nn.Sequential(nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 1))
optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=50.0)
for step in range(60):
    optimizer.zero_grad()
    loss = (model(x) - y).square().mean()
    loss.backward()
    if STEPS:
        optimizer.step()
    print(loss.item(), optimizer.param_groups[0]["weight_decay"])
print("the end")
"""


def asked(here, *, steps=True, **settings):
    """The script, run as an explanation runs it."""
    here.mkdir(parents=True)
    (here / "train.py").write_text(TRAIN.replace("STEPS", str(steps)))
    folder = create_run_folder(here / "runs", "train")
    write_manifest(folder, Manifest(name="train", command=(), folder="", started="", rectifier="0", python="3"))
    launch = Launch(("train.py",), folder, every=1, directory=here, threads=1, explain=json.dumps(settings))
    with (here / "out").open("wb") as out, (here / "err").open("wb") as err:
        code = start(launch, stdout=out, stderr=err)
    return Ran(code, (here / "out").read_text(), (here / "err").read_text()), read_run(folder)


def losses(text):
    return [float(line.split()[0]) for line in text.splitlines() if line != "the end"]


@pytest.mark.parametrize("settings", [{"intervention": "none"}, {"intervention": "none", "microscope": [2, 3]}])
def test_a_run_in_which_nothing_is_changed_prints_what_the_script_prints(tmp_path, settings):
    case = Case({"train.py": TRAIN.replace("STEPS", "True")})
    plain = python(case, lay(case, tmp_path / "plain"))
    ran, run = asked(tmp_path / "one" / "here", **settings)
    assert plain.code == ran.code == 0
    assert ran.out == plain.out
    (process,) = run.processes
    assert process.applied is None
    assert not process.warnings


def test_a_change_is_applied_and_told_and_the_run_can_be_diagnosed(tmp_path):
    failing, _ = asked(tmp_path / "one" / "here")
    ran, run = asked(tmp_path / "two" / "here", intervention="weight_decay_off")
    (process,) = run.processes
    assert losses(ran.out)[-1] < losses(failing.out)[-1] / 5
    assert ran.out.splitlines()[5].endswith(" 50.0"), "the script sees its own setting"
    assert process.applied.change == "weight_decay_off"
    assert process.applied.times == 60
    assert process.applied.detail == "weight decay of 50 (AdamW, group 0)"
    assert process.series("loss").values.tolist() == pytest.approx(losses(ran.out))
    assert diagnose(process)


def test_it_ends_after_so_many_steps(tmp_path):
    ran, run = asked(tmp_path / "one" / "here", intervention="learning_rate_third", stop_after=7)
    assert ran.code == 0
    assert "the end" not in ran.out
    assert len(losses(ran.out)) == 6
    assert run.notes["stopped"] == "after 7 steps"
    (process,) = run.processes
    assert process.applied.times == 7
    assert len(process.series("loss").values) == 7


def test_it_ends_without_steps_too(tmp_path):
    ran, run = asked(tmp_path / "one" / "here", steps=False, intervention="none", stop_after=7)
    assert ran.code == 0
    assert len(losses(ran.out)) == 7
    assert run.notes["stopped"] == "after 7 steps"


def test_a_change_that_does_not_exist_is_one_warning(tmp_path):
    ran, run = asked(tmp_path / "here", intervention="pray")
    assert ran.code == 0
    assert "pray" in ran.err
    assert all(process.applied is None for process in run.processes)


def test_seeds_are_shifted_beside_a_change(tmp_path):
    plain, _ = asked(tmp_path / "one", intervention="placebo")
    ran, run = asked(tmp_path / "two", intervention="placebo", seed_shift=1)
    assert losses(ran.out)[0] != losses(plain.out)[0]
    (process,) = run.processes
    assert process.applied.change == "placebo"


def test_what_asked_this_process_is_not_meant_for_its_script(tmp_path, monkeypatch):
    monkeypatch.setenv("RECTIFIER_EXPLAIN", json.dumps({"intervention": "learning_rate_tenth"}))
    case = Case({"train.py": TRAIN.replace("STEPS", "True")})
    here = lay(case, tmp_path / "here")
    _, (run,) = rectifier(case, here)
    assert run.processes[0].applied is None


def test_it_ends_soon_where_there_is_nothing_to_change(tmp_path):
    ran, run = asked(tmp_path / "one", intervention="normalisation_off")
    assert ran.code == 0
    assert run.notes["stopped"] == "after 25 steps"
    (process,) = run.processes
    assert process.applied.times == 0
    for number, late in enumerate(("train_mode", "skip_nonfinite", "leaky_activation", "learning_rate_third")):
        ran, run = asked(tmp_path / f"late{number}", intervention=late)
        assert "stopped" not in run.notes, late
        assert len(losses(ran.out)) == 60


def test_the_clock_goes_on_where_watching_stopped():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    clock = OwnClock(lambda: 0)
    undo = training.listen(clock)
    try:
        for _ in range(3):
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    finally:
        undo()
    assert clock.now() == 3
    assert OwnClock(lambda: 7).now() == 7


def test_what_watching_computes_is_none_of_the_trainings(tmp_path):
    """The norms of numbers that grow overflow before the training's own: who watches, not who trains, has made them."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "train.py").write_text(GROWS)
    folder = create_run_folder(here / "runs", "train")
    write_manifest(folder, Manifest(name="train", command=(), folder="", started="", rectifier="0", python="3"))
    asked = json.dumps({"intervention": "none", "microscope": [2, 4], "stop_after": 12})
    assert start(Launch(("train.py",), folder, every=1, directory=here, threads=1, explain=asked)) == 0
    (process,) = read_run(folder).processes
    (first,) = [sight for sight in process.sights if sight.kind == "first_nonfinite"]
    assert "norm" not in first.operation


GROWS = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.01)
for step in range(30):
    x = torch.randn(64, 8)
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), 5000 + 800 * x[:, :1]).backward()
    optimizer.step()
"""


def test_a_step_may_take_many_passes(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    gathered = GROWS.replace("    optimizer.zero_grad()", "")
    gathered = gathered.replace("    optimizer.step()", "    if step == 29: optimizer.step()")
    (here / "train.py").write_text(gathered)
    folder = create_run_folder(here / "runs", "train")
    write_manifest(folder, Manifest(name="train", command=(), folder="", started="", rectifier="0", python="3"))
    asked = json.dumps({"intervention": "learning_rate_third"})
    assert start(Launch(("train.py",), folder, every=1, directory=here, threads=1, explain=asked)) == 0
    (process,) = read_run(folder).processes
    assert process.applied.times == 1
