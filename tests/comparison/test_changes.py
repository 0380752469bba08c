"""Changes of `explain` as arms: each does what it says, in a script and in a function, and tells if it did nothing."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import rectifier
from rectifier.comparison.archive import read_comparison
from rectifier.errors import NothingToCompare, UnknownActivation
from rectifier.storage import read_run
from tests.one_thread import one_thread  # noqa: F401

SCRIPT = """
import sys
import torch
x = torch.randn(64, 5)
model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=float(sys.argv[1]))
for step in range(40):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True) + 3).backward()
    optimizer.step()
"""


def compare(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "rectifier", "compare", "--threads", "1", "--jobs", "2", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def losses(study, arm, seed):
    (folder,) = study.glob(f"trials/{arm}-seed-{seed}")
    return read_run(folder / "run").processes[0].series("loss").values.tobytes()


@pytest.mark.timeout(600)
def test_an_arm_trains_as_the_edited_script_does_to_the_bit(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    done = compare(
        tmp_path, "--arms", "weight_decay_off,normalisation_off", "--seeds", "2", "--out", "a", "train.py", "0.5"
    )
    assert done.returncode == 0, done.stderr
    edited = compare(tmp_path, "--arms", "half-lr", "--seeds", "2", "--out", "b", "train.py", "0.0")
    assert edited.returncode == 0, edited.stderr
    for seed in (0, 1):
        own = losses(tmp_path / "a", "weight-decay-off", seed)
        assert own == losses(tmp_path / "b", "baseline", seed)
        assert own != losses(tmp_path / "a", "baseline", seed)
    found = read_comparison(tmp_path / "a")
    assert {arm.arm: arm.verdict for arm in found.arms}["normalisation_off"] == "identical"
    changed = {(trial.arm, trial.seed): trial.changed for trial in found.trials}
    assert changed["baseline", 0] is None
    assert changed["weight_decay_off", 0] == 40
    assert changed["normalisation_off", 1] == 0
    notes = " ".join(found.notes)
    assert "normalisation_off found nothing to change in 2 of 2 trainings." in notes
    assert "weight_decay_off found nothing" not in notes
    assert "weight_decay_off is the script with one change: no weight decay." in notes


def test_a_comparison_whose_arms_find_nothing_to_change_is_ended(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    done = compare(tmp_path, "--arms", "weight_decay_off", "--seeds", "9", "train.py", "0.0")
    assert done.returncode == 2
    assert "no arm changes anything: with weight_decay_off the training is the same to the bit" in done.stderr


def trains(decay, seen):
    def train(seed):
        x = torch.randn(64, 5)
        model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=decay)
        own = []
        for _ in range(20):
            loss = nn.functional.mse_loss(model(x), x.sum(1, keepdim=True) + 3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            own.append(loss.item())
        seen.append(own)

    return train


def test_an_arm_of_a_function_trains_as_the_edited_function_does_to_the_bit():
    seen, edited = [], []
    found = rectifier.compare(trains(0.5, seen), arms=["weight_decay_off", "train_mode"], seeds=2)
    rectifier.compare(trains(0.0, edited), arms=["half-lr"], seeds=2)
    # Baseline, two arms and the placebo; of the edited one, baseline, one arm and the placebo.
    assert [seen[1], seen[5]] == [edited[0], edited[3]]
    assert seen[0] != seen[1]
    assert seen[0] == seen[2], "nothing was in eval mode"
    assert {trial.arm: trial.changed for trial in found.trials} == {
        "baseline": None, "weight_decay_off": 20, "train_mode": 0, "placebo": None,
    }  # fmt: skip
    assert "train_mode found nothing to change in 2 of 2 trainings." in found.notes


def test_an_arm_of_a_function_is_gone_afterwards():
    before, after = [], []
    torch.manual_seed(0)
    trains(0.5, before)(0)
    rectifier.compare(trains(0.5, []), arms=["weight_decay_off", "standardise_inputs", "weights_he"], seeds=1)
    torch.manual_seed(0)
    trains(0.5, after)(0)
    assert before == after


def test_an_unknown_change_is_refused():
    with pytest.raises((NothingToCompare, UnknownActivation), match="weight_decay"):
        rectifier.compare(trains(0.5, []), arms=["weight_decay"], seeds=1)
