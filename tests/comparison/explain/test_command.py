"""`rectifier explain` on scripts of its own, as processes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DECAYED = """
import sys
import torch
torch.manual_seed(int(sys.argv[1].partition("=")[2]))
x = torch.randn(64, 5)
y = x.sum(1, keepdim=True) + 3
model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=DECAY)
for step in range(150):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
"""


HEALTHY = DECAYED.replace("DECAY", "0.0")


def rectifier(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "rectifier", *arguments], cwd=folder, capture_output=True, text=True, timeout=280,
        check=False,
    )  # fmt: skip


def explain(folder, *arguments):
    return rectifier(folder, "explain", *arguments)


def test_a_healthy_script_has_nothing_to_explain(tmp_path):
    (tmp_path / "fit.py").write_text(DECAYED.replace("DECAY", "0.0"))
    done = explain(tmp_path, "--json", "fit.py", "--seed=3")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["conclusion"], document["cause"]) == ("nothing_to_explain", None)
    assert document["control"]["reads_input"] is False


@pytest.mark.timeout(600)
def test_weight_decay_is_established_and_the_same_command_runs_nothing_again(tmp_path):
    (tmp_path / "fit.py").write_text(DECAYED.replace("DECAY", "5.0"))
    before = (tmp_path / "fit.py").read_bytes()
    assert rectifier(tmp_path, "run", "fit.py", "--seed=3").returncode == 0
    (run,) = Path(tmp_path, "rectifier-runs").iterdir()
    done = explain(tmp_path, "--json", "--because", "loss stays at 7", "fit.py", "--seed=3")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["cause"]["kind"], document["established"]) == ("weight_decay", True)
    assert document["remedies"][0] == "lower_weight_decay"
    assert document["control"]["deterministic"] is True
    assert (tmp_path / "fit.py").read_bytes() == before
    (folder,) = Path(tmp_path, "rectifier-runs").glob("explain-*")
    trials = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/run/run.json")}
    again = explain(tmp_path, "--json", "--because", "loss stays at 7", "fit.py", "--seed=3")
    assert json.loads(again.stdout) == document
    assert {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/run/run.json")} == trials
    # It is found again: by its own folder, and from the run of the same command.
    assert json.loads(rectifier(tmp_path, "report", folder, "--json").stdout) == document
    assert json.loads(rectifier(tmp_path, "report", run, "--json").stdout)["explanation"] == document
    # Named by its run, it is kept with that run, too.
    (folder / "explanation.json").unlink()
    named = explain(tmp_path, "--json", "--because", "loss stays at 7", run)
    assert json.loads(named.stdout) == document
    assert (run / "explanation.json").read_bytes() == (folder / "explanation.json").read_bytes()


@pytest.mark.parametrize(
    ("script", "said"),
    [("raise SystemExit(3)", "exit code 3"), ("x = 1", "no loss was seen"), ("import torch", "no loss was seen")],
)
def test_what_cannot_be_explained_is_told(tmp_path, script, said):
    (tmp_path / "fit.py").write_text(script)
    done = explain(tmp_path, "fit.py")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(600)
def test_a_script_that_cannot_run_twice_is_no_evidence(tmp_path):
    """It writes into a folder that must not exist: so every trial after the first ends by an error."""
    makes = "import os, sys\nout = sys.argv[2] if len(sys.argv) > 2 else 'out'\nos.mkdir(out + '/own')\n"
    (tmp_path / "fit.py").write_text(makes + DECAYED.replace("DECAY", "5.0"))
    (tmp_path / "out").mkdir()
    asked = ("--because", "loss stays at 7", "fit.py", "--seed=3")
    done = explain(tmp_path, *asked)
    assert done.returncode == 2, done.stdout
    assert "FileExistsError: [Errno 17] File exists: 'out/own'" in done.stderr
    assert "before its first step" in done.stderr
    assert "rectifier explain fit.py '--seed={seed}' --out '{trial_dir}'" in done.stderr
    assert len(done.stderr.splitlines()) <= 24
    assert "Traceback" not in done.stderr
    # What was in the way has gone: the same command tries it again.
    (tmp_path / "out" / "own").rmdir()
    again = explain(tmp_path, *asked)
    assert "[2] unchanged: loss" in again.stderr
    mended = explain(tmp_path, "--json", *asked, "{trial_dir}")
    assert json.loads(mended.stdout)["cause"]["kind"] == "weight_decay"


@pytest.mark.parametrize("read", ["sys.stdin.read()", "next(iter(sys.stdin), '')"])
def test_what_reads_standard_input_is_told_that_trials_get_none(tmp_path, read):
    (tmp_path / "fit.py").write_text(f"import sys\ngiven = {read}\nassert sys.stdin.name == '<stdin>'\n" + HEALTHY)
    done = explain(tmp_path, "--json", "fit.py", "--seed=3")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["control"]["reads_input"] is True
    assert "The script reads standard input; trials get none" in explain(tmp_path, "fit.py", "--seed=3").stdout


def test_what_ends_because_standard_input_is_empty_is_told_why(tmp_path):
    (tmp_path / "fit.py").write_text("rate = float(input())\n" + HEALTHY)
    done = explain(tmp_path, "fit.py", "--seed=3")
    assert done.returncode == 2
    assert "EOFError" in done.stderr
    assert "The script reads standard input, and trials get none" in done.stderr


def test_ctrl_c_ends_the_trial_and_keeps_what_had_ended(tmp_path):
    # As a user's interrupt arrives: in the middle of a trial, with others behind it.
    (tmp_path / "fit.py").write_text(DECAYED.replace("DECAY", "5.0") + "\nimport time; time.sleep(600)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "rectifier", "explain", "fit.py", "--seed=3"], cwd=tmp_path, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("rectifier-runs/*/trials/*/run/process-*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command continues from there" in said
