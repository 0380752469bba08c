"""`rectifier compare` on real scripts in real processes; few, because each of them imports torch."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from rectifier.cli.commands.compare import _Display, command
from rectifier.comparison.archive import read_comparison
from rectifier.comparison.question import Question, script_digest
from rectifier.comparison.script.driver import Progress
from rectifier.comparison.script.trial import ScriptLauncher
from rectifier.errors import NothingToCompare, UnknownActivation
from rectifier.records import ArmVerdict, Failure, FailureKind, Trial

TRAIN = """
import argparse, os, sys
import torch
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--keep")
options = parser.parse_args()
inputs = torch.randn(75, 5)
target = inputs.abs().sum(1, keepdim=True)
model = torch.nn.Sequential(
    torch.nn.Linear(5, 11), torch.nn.ReLU(), torch.nn.Linear(11, 7), torch.nn.ReLU(), torch.nn.Linear(7, 1)
)
print("begins with", model[0].weight.sum().item(), inputs.sum().item(), torch.get_num_threads())
optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
for step in range(31):
    loss = torch.nn.functional.mse_loss(model(inputs), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
assert os.listdir(options.keep) == [], "another training was here"
torch.save(model.state_dict(), options.keep + "/model.pt")
"""


def rectifier(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, "-m", "rectifier", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


def begins_with(folder, name):
    return (folder / "trials" / name / "output.txt").read_text().splitlines()[0]


def test_arms_and_seeds_of_an_unmodified_script(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    line = [
        "compare",
        "--arms",
        "leaky_relu:0.1,half-lr,rescale,restart",
        "--seeds",
        "2",
        "--jobs",
        "2",
        "--threads",
        "1",
        "--out",
        "study",
    ]
    script = ["train.py", "--lr", "0.01", "--keep={trial_dir}"]
    first = rectifier(*line, *script, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "10 trainings: 2 seeds × (baseline, 3 arms, placebo), 1 thread each." in first.stderr
    assert "9 more, 2 at a time: about" in first.stderr
    assert "rectifier report study" in first.stdout
    comparison = read_comparison(tmp_path / "study")
    assert {arm.arm: (arm.n, arm.failures, arm.verdict) for arm in comparison.arms[1:]} == {
        "leaky_relu:0.1": (2, 0, "undecided"),
        "half-lr": (2, 0, "undecided"),
        "rescale": (2, 0, "undecided"),
        "restart": (2, 0, "identical"),
        "placebo": (2, 0, "undecided"),
    }
    assert "from 9 seeds on one could" in comparison.arms[1].sentence
    # Paired: the arm draws what the script draws as it is, the placebo draws something else, and so does each seed.
    study = tmp_path / "study"
    starts = {name: begins_with(study, name) for name in os.listdir(study / "trials")}
    assert (
        starts["baseline-seed-0"]
        == starts["leaky-relu-0.1-seed-0"]
        == starts["half-lr-seed-0"]
        == starts["rescale-seed-0"]
    )
    assert starts["baseline-seed-1"] == starts["leaky-relu-0.1-seed-1"]
    assert len(set(starts.values())) == 4
    assert all(text.endswith(" 1") for text in starts.values()), "one thread each"
    losses = {(trial.arm, trial.seed): trial.metric for trial in comparison.trials}
    assert all(losses["restart", seed] == losses["baseline", seed] for seed in (0, 1)), "nothing failed"
    assert len(set(losses.values())) == 10
    assert all(trial.dead_fraction is not None for trial in comparison.trials)
    # Another metric, from what was printed: nothing is trained again.
    asked = [*line, "--pattern", r"begins with (\S+)", "--maximize", *script]
    printed = rectifier(*asked, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert "10 of them have ended earlier" in printed.stderr
    starts = {name: float(text.split()[2]) for name, text in starts.items()}
    comparison = read_comparison(tmp_path / "study")
    assert {trial.run.split("/")[1]: trial.metric for trial in comparison.trials} == starts
    assert comparison.metric == "begins with"
    # The first command again.
    again = rectifier(*line, *script, cwd=tmp_path)
    assert again.returncode == 0
    assert "10 of them have ended earlier" in again.stderr
    assert again.stdout == first.stdout


def test_a_script_that_sets_its_own_seed_is_found_out(tmp_path):
    (tmp_path / "train.py").write_text(
        TRAIN.replace("inputs = torch.randn", "torch.manual_seed(3)\ninputs = torch.randn")
    )
    found = rectifier(
        "compare", "--arms", "elu", "--seeds", "2", "train.py", "--lr", "0.01", "--keep={trial_dir}", cwd=tmp_path
    )
    assert found.returncode == 2
    assert "different seeds gave identical results" in found.stderr
    assert "--seed {seed}" in found.stderr
    assert "Traceback" not in found.stderr


def test_trainings_that_go_on_from_each_others_checkpoint_are_found_out(tmp_path):
    resumes = 'if os.path.exists("best.pt"): model.load_state_dict(torch.load("best.pt"))\noptimizer ='
    (tmp_path / "train.py").write_text(
        TRAIN.replace("optimizer =", resumes).replace('options.keep + "/model.pt"', '"best.pt"')
    )
    found = rectifier(
        "compare", "--arms", "elu", "--seeds", "2", "--jobs", "1", "train.py", "--lr", "0.01", "--keep={trial_dir}",
        cwd=tmp_path,
    )  # fmt: skip
    assert found.returncode == 2
    text = " ".join(found.stderr.split())
    assert f"baseline, seed 1 read {tmp_path / 'best.pt'} after baseline, seed 0 had written it" in text
    assert "Traceback" not in found.stderr


SLEEPER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open("pids", "a") as file:
    file.write(f"{os.getpid()}\\n{child.pid}\\n")
time.sleep(60)
"""


def gone(pid):
    """Ended, or a zombie that only waits for its parent to analysis."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_trainings_and_says_how_to_go_on(tmp_path, number):
    (tmp_path / "sleep.py").write_text(SLEEPER)
    driver = subprocess.Popen(
        [sys.executable, "-m", "rectifier", "compare", "--out", "my study", "sleep.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pids = tmp_path / "pids"
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    driver.send_signal(number)
    # It takes a second or two; a minute is for a machine that stands still.
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "rectifier compare --out 'my study' sleep.py" in errors
    assert "Traceback" not in errors
    wait_for(lambda: all(gone(pid) for pid in pids.read_text().split()))


QUESTION = Question(
    command=("script.py",),
    script=None,
    arms=("elu:1.0",),
    seeds=1,
    metric="loss",
    summary="final",
    higher_is_better=False,
    margin=None,
    threads=1,
)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("import sys; print('on its way'); sys.exit(3)", Failure(FailureKind.EXIT_CODE, "3")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Failure(FailureKind.KILLED, "137")),
        ("1 +", Failure(FailureKind.EXIT_CODE, "1")),
        ("print('no training')", None),
    ],
)
def test_however_a_training_ends_it_is_an_outcome(tmp_path, monkeypatch, text, failed):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(text)
    (tmp_path / "trial").mkdir()
    trial = ScriptLauncher()(next(QUESTION.plan()), QUESTION, tmp_path / "trial")
    assert (trial.failed, trial.metric, trial.fingerprint) == (failed, None, None)
    assert (tmp_path / "trial" / "output.txt").exists()


@pytest.mark.parametrize(("rate", "failed"), [("1e-7", Failure(FailureKind.NO_PROGRESS)), ("0.01", None)])
def test_a_training_that_gets_nowhere_is_a_failure_with_a_metric(tmp_path, monkeypatch, rate, failed):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(TRAIN)
    (tmp_path / "trial").mkdir()
    question = replace(QUESTION, command=("script.py", "--lr", rate, "--keep={trial_dir}"))
    trial = ScriptLauncher()(next(question.plan()), question, tmp_path / "trial")
    assert trial.failed == failed
    assert trial.metric > 0


def test_a_timeout_ends_the_training_with_all_its_children(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(SLEEPER)
    (tmp_path / "trial").mkdir()
    trial = ScriptLauncher(timeout=1.5)(next(QUESTION.plan()), QUESTION, tmp_path / "trial")
    assert trial.failed == Failure(FailureKind.TIMED_OUT, "1.5")
    assert 1.5 <= trial.seconds < 10
    wait_for(lambda: all(gone(pid) for pid in (tmp_path / "pids").read_text().split()))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["absent.py"], NothingToCompare, "absent.py cannot be read"),
        ([], NothingToCompare, "no script was given"),
        (["--arms", "leaky_rleu", "here.py"], UnknownActivation, "leaky_relu"),
        (["--metric", "quality", "here.py"], NothingToCompare, "--maximize or --minimize"),
    ],
)
def test_misuse_is_told_before_anything_runs(tmp_path, monkeypatch, arguments, error, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.py").write_text("")
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, error)
    assert text in str(result.exception)
    assert os.listdir(tmp_path) == ["here.py"]


def test_the_scripts_own_options_are_not_ours(tmp_path, monkeypatch):
    """Everything behind the script belongs to it, also what looks like ours; before it, `-m` names a module."""
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr("rectifier.cli.commands.compare._run", lambda question, *rest: asked.append(question))
    monkeypatch.setattr("rectifier.cli.commands.compare._print", lambda *rest: None)
    (tmp_path / "train.py").write_text("")
    for arguments in (["--seeds", "5", "train.py", "--seeds", "9", "--help"], ["-m", "package.module", "--jobs", "x"]):
        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert asked[0].command == ("train.py", "--seeds", "9", "--help")
    assert asked[0].seeds == 5
    assert asked[0].script == script_digest(["train.py"])
    assert asked[0].summary == "last-tenth"
    assert asked[1].command == ("-m", "package.module", "--jobs", "x")


def test_help_is_quick_and_needs_no_torch():
    code = (
        "import sys; from click.testing import CliRunner; from rectifier.cli.commands.compare import command;"
        "r = CliRunner().invoke(command, ['--help']); assert 'paired by seed' in r.output;"
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "seeds", "interim"),
    [
        ([], 12, (12,)),
        (["--seeds", "48"], 48, (13, 24, 48)),
        (["--interim", "14,28"], 28, (14, 28)),
        (["--interim", "48", "--seeds", "48"], 48, (48,)),
        (["--arms", "elu", "--interim", "12,24", "--seeds", "48"], 48, (12, 24, 48)),
    ],
)
def test_seeds_and_interim_as_typed(tmp_path, monkeypatch, options, seeds, interim):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr("rectifier.cli.commands.compare._run", lambda question, *rest: asked.append(question))
    monkeypatch.setattr("rectifier.cli.commands.compare._print", lambda *rest: None)
    (tmp_path / "train.py").write_text("")
    assert CliRunner().invoke(command, [*options, "train.py"], catch_exceptions=False).exit_code == 0
    assert (asked[0].seeds, asked[0].interim) == (seeds, interim)


def test_the_cost_is_foretold_as_a_range_and_each_analysis_is_told(capsys):
    row = ArmVerdict(
        arm="elu:1.0", n=12, failures=0, failure_low=0.0, failure_high=0.3, median=None, failure=None, metric=None,
        survivors=None, verdict="helped", sentence="", stopped_at=12,
    )  # fmt: skip
    trial = Trial(arm="baseline", seed=0, metric=0.5, seconds=2.0)
    display = _Display(replace(QUESTION, seeds=48, interim=(12, 24, 48)), 2)
    display.update(Progress(None, 0, 144, 36, None, None, None))
    display.update(Progress(trial, 1, 144, 36, 2.0, 144.0, 36.0))
    display.update(Progress(None, 36, 36, 36, 2.0, 0.0, 0.0, analysis=12, decided=(row,)))
    display.update(Progress(None, 72, 144, 144, 2.0, 72.0, 72.0, analysis=24))
    told = capsys.readouterr().err
    assert "Interim analyses at 12 and 24 seeds; arms with a verdict stop early." in told
    assert "One training takes about 2.0 s; 35 to 143 more, 2 at a time: 36 s to 2 min, as arms stop early" in told
    assert "Analysis at 12 of 48 seeds: elu:1.0, helped." in told
    assert "Analysis at 24 of 48 seeds: no arm has a verdict yet." in told
    assert told.count("144 trainings") == 1
