"""`kill -9` of the driver or of a training, at random moments, while a comparison of a real script runs."""

import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rectifier.comparison.archive import read_comparison
from rectifier.comparison.script.driver import run_comparison
from rectifier.records import Failure, FailureKind, Trial, decode
from tests.comparison.script.test_driver import QUESTION, Trainings

TRAIN = """
import sys
import torch

inputs = torch.randn(75, 5)
target = inputs.abs().sum(1, keepdim=True)
model = torch.nn.Sequential(torch.nn.Linear(5, 11), torch.nn.ReLU(), torch.nn.Linear(11, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(31):
    loss = torch.nn.functional.mse_loss(model(inputs), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def trainings_of(driver):
    """Process id and folder of each training that runs below a driver; those of a dead one are nobody's."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent != driver:
                continue
            environment = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        launch = [line.partition(b"=")[2] for line in environment if line.startswith(b"RECTIFIER_LAUNCH=")]
        if launch:
            found.append((int(entry.name), Path(json.loads(launch[0])["folder"]).parent.name))
    return found


def what(folder_name):
    """A training's name, without the number of the attempt."""
    return re.match(r".*-seed-\d+", folder_name)[0]


def recorded(folder):
    """What is kept, by name of the training: the row, and the folders of its attempts."""
    if not (folder / "comparison.sqlite").exists():
        return {}
    connection = sqlite3.connect(folder / "comparison.sqlite", timeout=30)
    try:
        rows = [decode(row, Trial) for (row,) in connection.execute("SELECT trial FROM trials")]
    except sqlite3.OperationalError:
        # Killed before the tables were made.
        rows = []
    finally:
        connection.close()
    attempts = os.listdir(folder / "trials") if (folder / "trials").is_dir() else []
    found = {}
    for trial in rows:
        name = what(Path(trial.run).parts[1])
        found[name] = (replace(trial, run=None), sorted(attempt for attempt in attempts if what(attempt) == name))
    return found


@dataclass
class Kills:
    driver: int = 0
    training: int = 0

    @property
    def total(self):
        return self.driver + self.training


def disturbed(folder, line, draw, kills, *, most, longest):
    """Run a comparison to its end while it is killed again and again; a finished training stays as it is.

    Args:
        most: Kills, over all studies.
        longest: Seconds from one to the next.
    """
    while True:
        with (folder.parent / "log").open("ab") as log:
            driver = subprocess.Popen(line, cwd=folder.parent, stdout=log, stderr=log)
        before = recorded(folder)
        hit = set()
        while driver.poll() is None:
            time.sleep(draw.uniform(0, longest))
            if kills.total >= most:
                driver.wait(300)
            elif draw.random() < 0.5:
                left = trainings_of(driver.pid)
                driver.kill()
                driver.wait()
                kills.driver += 1
                # Half of the time as when a machine goes down; otherwise the system ends its trainings.
                for pid, _ in left if draw.random() < 0.5 else ():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            else:
                # Twice within one driver's life would be an outcome: out of memory looks like that.
                running = [(pid, name) for pid, name in trainings_of(driver.pid) if what(name) not in hit]
                if running:
                    pid, name = draw.choice(running)
                    hit.add(what(name))
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        kills.training += 1
        now = recorded(folder)
        assert before.items() <= now.items(), "a finished training was lost, changed or repeated"
        if driver.returncode == 0:
            return
        assert driver.returncode == -signal.SIGKILL, (folder.parent / "log").read_text()[-3000:]


def rows(comparison):
    return comparison.arms, comparison.headline, [replace(t, seconds=0.0, run=None) for t in comparison.trials]


@pytest.mark.proof
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", [7, 8])
def test_a_hundred_kills_lose_and_repeat_nothing(seed, tmp_path):
    """Fifty for each seed."""
    (tmp_path / "train.py").write_text(TRAIN)
    line = [sys.executable, "-m", "rectifier", "compare", "--arms", "leaky_relu:0.1,elu", "--seeds", "4"]
    line += ["--jobs", "2", "--threads", "1", "--out"]
    assert subprocess.run([*line, "calm", "train.py"], cwd=tmp_path, check=False).returncode == 0
    undisturbed = read_comparison(tmp_path / "calm")
    # Long enough that something ends between two kills, also on a busy machine.
    longest = 2 + sum(trial.seconds for trial in undisturbed.trials) / len(undisturbed.trials)
    draw = random.Random(seed)
    kills = Kills()
    studies = 0
    while kills.total < 50:
        name = f"study-{studies}"
        disturbed(tmp_path / name, [*line, name, "train.py"], draw, kills, most=50, longest=longest)
        assert rows(read_comparison(tmp_path / name)) == rows(undisturbed)
        studies += 1
    assert kills.driver >= 15
    assert kills.training >= 15


def test_a_training_that_is_killed_is_run_once_more_and_then_that_is_its_outcome(tmp_path):
    calm = run_comparison(QUESTION, tmp_path / "calm", Trainings())
    kills = {("baseline", 0): 1, ("elu:1.0", 3): 1, ("placebo", 2): 2}

    def special(spec):
        place = spec.arm, spec.seed
        if not kills.get(place):
            return None
        kills[place] -= 1
        return Trial(arm=spec.arm, seed=spec.seed, metric=None, failed=Failure(FailureKind.KILLED, "137"))

    trainings = Trainings(special)
    found = run_comparison(QUESTION, tmp_path / "s", trainings, jobs=2)
    assert set(kills.values()) == {0}
    assert len(trainings.launched) == 28 + 3
    out_of_memory = ("placebo", 2)
    for one, other in zip(found.trials, calm.trials, strict=True):
        if (one.arm, one.seed) == out_of_memory:
            assert (one.failed, one.metric) == (Failure(FailureKind.KILLED, "137"), None)
        else:
            assert replace(one, run=None) == replace(other, run=None)
    assert [arm.failures for arm in found.arms] == [0, 0, 0, 1]
