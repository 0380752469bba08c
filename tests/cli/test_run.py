"""`rectifier run` as a user meets it: what it prints, what it leaves behind, and what it says to mistakes."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rectifier.cli import ending, group, main, program
from rectifier.diagnosis import diagnose
from rectifier.records import Run
from rectifier.storage import create_run_folder, read_run, write_manifest
from tests.diagnosis.builders import window
from tests.diagnosis.training.setup.test_setup import STAYS
from tests.diagnosis.training.setup.test_setup import run as trained
from tests.launch.running import RECTIFIER
from tests.storage.test_runs import manifest

TRAIN = """
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.second, self.last = nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 7), nn.Linear(7, 1)

    def forward(self, x):
        return self.last(F.relu(self.second(self.act(self.first(x)))))


torch.manual_seed(7)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(7):
    inputs = torch.randn(7, 5)
    loss = (net(inputs) - inputs.sum(1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item().hex())
print([parameter.sum().item().hex() for parameter in net.parameters()])
"""


def start(line, cwd):
    return subprocess.Popen(line, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def run(*arguments, cwd):
    return end(start([RECTIFIER, "run", *arguments], cwd))


def folder_of(err, cwd):
    return cwd / re.search(r"^Run: (.+?)( \(.*)?$", err, re.M).group(1)


def test_two_runs_at_once_and_the_reports_that_they_name(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    both = [start([RECTIFIER, "run", "train.py"], tmp_path) for _ in range(2)]
    (code, out, err), (_, other_out, other_err) = map(end, both)
    assert code == 0, err
    assert out == other_out
    folder, other = folder_of(err, tmp_path), folder_of(other_err, tmp_path)
    assert folder != other
    assert {folder.parent, other.parent} == {tmp_path / "rectifier-runs"}
    said = err[err.index("\n", err.index("rectifier")) + 1 :]
    assert "7 of 7 steps" in said

    # The same again, without running anything; only where the run lies is not repeated.
    again = subprocess.run(
        [RECTIFIER, "report", folder.relative_to(tmp_path)], cwd=tmp_path, check=True, capture_output=True
    )
    assert again.stdout.decode().splitlines() == [line for line in said.splitlines() if not line.startswith("Run: ")]
    (following,) = [line.removeprefix("Next: ") for line in said.splitlines() if "--html" in line]
    subprocess.run([RECTIFIER, *shlex.split(following)[1:]], cwd=tmp_path, check=True, capture_output=True)
    (page,) = tmp_path.glob("*.html")
    assert folder.name in page.read_text()
    machine = subprocess.run([RECTIFIER, "report", "--json", folder], capture_output=True, check=True)
    document = json.loads(machine.stdout)
    assert [layer["units"] for layer in document["processes"][0]["layers"]] == [11, 7]
    assert document["outcome"]["exit_code"] == 0
    assert document["processes"][0]["loss"]["values"] == [
        float.fromhex(line.split()[1]) for line in out.splitlines()[:7]
    ]


@pytest.mark.parametrize("arguments", [["train.py"], ["train.py", "--seed", "3"]], ids=str)
def test_without_options_it_is_the_run_with_what_they_are_if_they_are_not_given(arguments, tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text("")
    monkeypatch.chdir(tmp_path)
    asked = []

    def instead(launch, base, *, shown_live=False, suppress=None, fail_on=None, allow_unjudged=False):
        asked.append((launch._replace(folder=None), base, shown_live, suppress or {}, fail_on))
        raise SystemExit(0)

    for module in ("running", "commands.run"):
        monkeypatch.setattr(f"rectifier.cli.{module}.run", instead)
    monkeypatch.setattr(sys, "argv", ["rectifier", "run", *arguments])
    for way in (main, group.main):
        with pytest.raises(SystemExit):
            way()
    assert len(asked) == 2
    assert asked[0] == asked[1]


@pytest.mark.skipif(sys.platform == "win32", reason="its arguments are text")
def test_an_argument_that_is_no_utf_8_is_no_reason_not_to_tell(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    code, out, err = run("train.py", os.fsdecode(b"data\xff"), cwd=tmp_path)
    assert (code, len(out.splitlines())) == (0, 8)
    assert read_run(folder_of(err, tmp_path)).manifest.command == ("train.py", "data\ufffd")


def test_ctrl_c_before_the_script_has_begun(monkeypatch):
    def interrupted(command):
        raise KeyboardInterrupt

    monkeypatch.setattr("rectifier.cli.run_as_it_is", interrupted)
    monkeypatch.setattr(sys, "argv", ["rectifier", "run", "train.py"])
    with pytest.raises(SystemExit) as left:
        program()
    assert left.value.code == "Aborted!"


@pytest.mark.parametrize("options", [[], ["--fail-on", "serious"]], ids=str)
def test_a_script_has_started_before_anything_of_ours_can_fail_to_load(options, tmp_path):
    broken = ["numpy", "rich"] + (["click"] if not options else [])
    for name in broken:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is broken')\n")
    (tmp_path / "train.py").write_text("import sys; sys.path.clear(); print('ran'); raise SystemExit(3)\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    process = subprocess.run(
        [RECTIFIER, "run", *options, "train.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stdout) == (3, "ran\n")
    assert re.fullmatch(
        r"rectifier: the diagnosis failed: ImportError: \w+ is broken\nRun: .*rectifier-runs/train-[\d-]+\n",
        process.stderr,
    ), process.stderr


def test_swap_is_the_same_as_editing_the_script(tmp_path):
    edited = TRAIN.replace("nn.ReLU()", "nn.LeakyReLU(0.1)").replace(
        "F.relu(", "F.leaky_relu(negative_slope=0.1, input="
    )
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "edited.py").write_text(edited)
    by_hand = end(start([sys.executable, "edited.py"], tmp_path))
    unchanged = end(start([sys.executable, "train.py"], tmp_path))
    assert by_hand[0] == unchanged[0] == 0, by_hand
    code, out, err = run("--swap", "relu=leaky_relu:0.1", "--swap", "gelu=silu", "train.py", cwd=tmp_path)
    assert (code, out) == (0, by_hand[1])
    assert out != unchanged[1]
    assert "Changed: relu became leaky_relu:0.1 (Net.act and relu at train.py:13)." in err
    assert "Nothing was swapped: the training met no gelu." in err
    (process,) = read_run(folder_of(err, tmp_path)).processes
    assert [site.activation for site in process.sites] == ["leaky_relu:0.1", "leaky_relu:0.1"]
    assert "rectifier compare" not in err, "it has just been treated"


# Mistakes that are noticed before anything starts: (arguments, code, what is said). ---------------------------------

REFUSED = {
    "a script that does not exist": (["nope.py"], "there is no script nope.py. Python files here: other.py."),
    "a module for a script": (["json.tool", "x"], "To run a module, write: rectifier run -m json.tool x"),
    "nothing": ([], "name the script to run: rectifier run train.py"),
    "no such option": (["--evry", "3", "other.py"], "no option --evry here; options of the script come after its name"),
    "half a swap": (["--swap", "relu", "other.py"], "write OLD=NEW, for instance relu=leaky_relu:0.1"),
    "an unknown activation": (["--swap", "relu=lekky_relu", "other.py"], "Did you mean leaky_relu?"),
    "a parameter that is no number": (["--swap", "relu=elu:big", "other.py"], "'big' is not a finite number"),
    "no interval": (["--recycle", "1000", "other.py"], "'1000' does not say when; write every=1000, for after every"),
    "an empty interval": (["--recycle", "every=0", "other.py"], "'every=0' does not say when"),
    "no steps": (["--every", "0", "other.py"], "0 is not in the range x>=1"),
    "too much": (["--budget", "2", "other.py"], "2.0 is not in the range 0<=x<=1"),
}


def call(monkeypatch, capfd, *arguments):
    """`rectifier ...` in this process: exit code and standard error."""
    monkeypatch.setattr(sys, "argv", ["rectifier", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code, capfd.readouterr().err


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_told_before_anything_starts(mistake, tmp_path, monkeypatch, capfd):
    arguments, text = REFUSED[mistake]
    (tmp_path / "other.py").write_text("raise AssertionError('must not run')\n")
    monkeypatch.chdir(tmp_path)
    code, err = call(monkeypatch, capfd, "run", *arguments)
    assert code == 2
    assert text in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["other.py"]


# Scripts without a training: (script, code, what is said). ----------------------------------------------------------

NO_TORCH = {
    "no torch": ("print('done')\n", 0, "The script never imported torch, so there was nothing to observe."),
    "a syntax error": ("def train(:\n", 1, "The script ended before it imported torch"),
    "an early exit": ("raise SystemExit(3)\n", 3, "The script ended before it imported torch"),
    "a folder without a __main__": (None, 1, "The script ended before it imported torch"),
}


@pytest.mark.parametrize("script", NO_TORCH)
def test_scripts_that_never_load_torch(script, tmp_path, monkeypatch, capfd):
    text, code, said = NO_TORCH[script]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app").mkdir() if text is None else (tmp_path / "app").write_text(text)
    plainly = subprocess.run([sys.executable, "app"], cwd=tmp_path, capture_output=True, text=True, check=False)
    left, err = call(monkeypatch, capfd, "run", "app")
    assert left == plainly.returncode == code
    assert err.startswith(plainly.stderr)
    assert said in err
    assert "Next:" not in err
    assert read_run(folder_of(err, tmp_path)).outcome.exit_code == code


LINEAR = """
import torch
model = torch.nn.Linear(5, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def step(loss):
    optimizer.zero_grad(), loss.backward(), optimizer.step()
"""
NO_TRAINING = {
    "no model": (
        "import torch\nw = torch.ones(5, requires_grad=True)\noptimizer = torch.optim.SGD([w])\n"
        "torch.relu(w).sum().backward()\noptimizer.step()\n",
        "no activation was called in the training forward of a model",
    ),
    "no activation": (
        LINEAR + "step(model(torch.ones(7, 5)).sum())\n",
        "No activation was seen; parameters, outputs and the loss were judged.",
    ),
    "everything compiled": (
        TRAIN.replace("for step in", "net.compile(backend='aot_eager')\nfor step in"),
        "Not seen: a compiled region (inside torch.compile, where nothing is observed; rectifier run "
        "--observe-compiled",
    ),
    "no step": (
        TRAIN.replace("    optimizer.step()\n", ""),
        "Activations were called, but no optimizer step and no change of a weight was seen",
    ),
    "an error before the first step": (
        TRAIN.replace("    loss.backward()\n", "    raise RuntimeError('out of memory')\n"),
        "Nothing observed: the script ended before its first training step.",
    ),
}


@pytest.mark.parametrize("script", NO_TRAINING)
def test_scripts_that_do_not_train(script, tmp_path):
    text, said = NO_TRAINING[script]
    (tmp_path / "train.py").write_text(text)
    code, _, err = run("train.py", cwd=tmp_path)
    assert code == (1 if "error" in script else 0)
    assert said in " ".join(err.split())
    assert "rectifier: " not in err


def test_a_full_disk_costs_one_warning(tmp_path):
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))\n"
    (tmp_path / "train.py").write_text(limit + TRAIN.replace("range(7)", "range(97)") + "raise SystemExit(5)\n")
    code, out, err = run("--every", "1", "train.py", cwd=tmp_path)
    assert code == 5
    assert len(out.splitlines()) == 98
    assert err.count("rectifier: ") == err.count("File too large; the training goes on") == 1
    assert "Traceback" not in err
    # What was recorded before is told.
    assert "Run: rectifier-runs" in err
    assert len(read_run(folder_of(err, tmp_path)).processes) == 1


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, capfd):
    (tmp_path / "file").touch()
    (tmp_path / "app.py").write_text("print('done')\nraise SystemExit(4)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, err = call(monkeypatch, capfd, "run", "--out", "file/runs", "app.py")
    assert code == 4
    assert "(file/runs cannot be written)" in err
    assert read_run(folder_of(err, tmp_path)).outcome.exit_code == 4
    # Nowhere at all: said before the script has done anything.
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "file"))
        code, err = call(monkeypatch, capfd, "run", "--out", "file/runs", "app.py")
    assert code == 2
    assert err.startswith("rectifier: neither file/runs nor a temporary folder can be written: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
@pytest.mark.parametrize("nobody", ["2>/dev/full", "2>&1 >/dev/null | true"])
@pytest.mark.parametrize(("bias", "code"), [(-1e3, 10), (0.0, 0)])
def test_a_gate_judges_where_nobody_can_be_told(tmp_path, nobody, bias, code):
    planted = TRAIN.replace("net = Net()", f"net = Net()\nnn.init.constant_(net.second.bias, {bias})")
    (tmp_path / "train.py").write_text(planted.replace("range(7)", "range(60)"))
    line = f"set -o pipefail; {shlex.quote(RECTIFIER)} run --fail-on warning train.py {nobody}"
    assert subprocess.run(["bash", "-c", line], cwd=tmp_path, check=False, timeout=120).returncode == code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
@pytest.mark.parametrize("nobody", ["2>/dev/full", "2>&-", "2>&1 | true", ">&- 2>&-"])
def test_the_exit_code_is_the_scripts_where_nobody_can_be_told(tmp_path, nobody):
    (tmp_path / "train.py").write_text("print = lambda *_: None\n" + TRAIN + "raise SystemExit(7)\n")
    line = f"set -o pipefail; {shlex.quote(RECTIFIER)} run train.py {nobody}"
    assert subprocess.run(["bash", "-c", line], cwd=tmp_path, check=False, timeout=120).returncode == 7
    (folder,) = (tmp_path / "rectifier-runs").iterdir()
    assert read_run(folder).outcome.exit_code == 7


def test_a_folder_that_the_script_throws_away(tmp_path, monkeypatch, capfd):
    (tmp_path / "app.py").write_text(
        "import glob, shutil, time\n"
        "while not glob.glob('rectifier-runs/*/run.json'):\n    time.sleep(0.01)\n"
        "shutil.rmtree('rectifier-runs')\nraise SystemExit(6)\n"
    )
    monkeypatch.chdir(tmp_path)
    code, err = call(monkeypatch, capfd, "run", "app.py")
    assert code == 6
    assert "The run cannot be read back: there is no" in err


# Folders that are no runs. -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "garbage", "newer"])
def test_a_report_of_what_is_no_run(kind, tmp_path, monkeypatch, capfd):
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("not a folder")
    elif kind != "missing":
        target.mkdir()
    if kind == "garbage":
        (target / "run.json").write_text("}{")
    if kind == "newer":
        write_manifest(target, manifest(target, format_version=99))
    code, err = call(monkeypatch, capfd, "report", target)
    assert code == 2
    assert err.startswith("rectifier: ")
    assert str(target) in err
    assert err.count("\n") == 1


def test_a_report_of_a_run_that_goes_on(tmp_path, monkeypatch, capsys):
    folder = create_run_folder(tmp_path, "train")
    write_manifest(folder, manifest(folder))
    monkeypatch.setattr(sys, "argv", ["rectifier", "report", str(folder)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert "has not imported torch so far" in capsys.readouterr().out


def test_help_names_every_option_and_loads_no_torch():
    tell = (
        "import sys; sys.argv = ['rectifier', 'run', '--help']\n"
        "import atexit; atexit.register(lambda: print([m for m in ('torch', 'numpy', 'rich') if m in sys.modules]))\n"
        "from rectifier.cli import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True, timeout=60)
    for option in ("-m", "--swap OLD=NEW", "--budget", "--every", "--out", "--name"):
        assert option in ran.stdout
    assert ran.stdout.endswith("[]\n")
    assert Path(RECTIFIER).exists()


@pytest.mark.parametrize(
    ("given", "compared"),
    [
        ("train.py --seed 4 --lr 0.1", "train.py --seed {seed} --lr 0.1"),
        ("-m pkg.train --random-seed=17", "-m pkg.train --random-seed={seed}"),
        ("train.py seed=3 data.seed=5", "train.py seed={seed} data.seed={seed}"),
        ("train.py --seed later --reseed 4 --steps 4", "train.py --seed later --reseed 4 --steps 4"),
    ],
)
def test_the_comparison_to_type_next_varies_the_seed_that_was_given(given, compared):
    assert ending.with_seeds(given.split()) == compared.split()


@pytest.mark.parametrize(
    ("options", "dead", "commands"),
    [
        ({}, False, ["report"]),
        ({"loss": ("Mean", "Mul", "Broadcast", "Pow")}, False, ["report", "explain"]),
        ({"cost": STAYS}, True, ["report", "explain", "compare"]),
    ],
)
def test_a_comparison_of_activations_is_proposed_only_where_one_may_help(options, dead, commands, tmp_path):
    """It mends no loss that broadcasts its targets."""
    training = trained(**options)
    if dead:
        (end,) = training.snapshots
        silent = window(0, steps=range(0, 200, 4), fired=(0,) * 5, visits=5000, distinct=5000, delta=0.0)
        training = replace(training, snapshots=(replace(end, windows=(silent,)),))
    run = Run(manifest=manifest(tmp_path), processes=(training,))
    found = ending.next_commands(run, [diagnose(training)], "rectifier-runs/train", {})
    assert [line.split()[1] for line in found] == commands
