"""Ctrl-C, SIGTERM, and a death that nobody could prepare for."""

import os
import signal
import subprocess
import sys

import pytest

from rectifier.errors import UnreadableRun
from rectifier.storage import read_run
from tests.launch.programs import WHOLE
from tests.launch.running import RECTIFIER, Case, differences, environment, lay, observed, python, rectifier

ENDLESS = (
    WHOLE
    + """
import time
torch.manual_seed(7)
model = Functional()
train(model, random_batches(7))
try:
    print("ready", flush=True) or time.sleep(60)
finally:
    evidence(model)
"""
)

TRAINS_ON = (
    WHOLE
    + """
import itertools, os
torch.manual_seed(7)
model = modules()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in itertools.count():
    inputs, target = torch.randn(7, 5), torch.randn(7, 2)
    optimizer.zero_grad()
    F.mse_loss(model(inputs), target).backward()
    optimizer.step()
    if step == 40:
        print("ready", os.getpid(), flush=True)
"""
)


@pytest.mark.parametrize(
    ("number", "codes"),
    # 1: torch imports `tabulate` at exit where that is installed, whose `eval` makes CPython forget the Ctrl-C.
    [(signal.SIGINT, {130, 1}), (signal.SIGTERM, {143})],
)
def test_a_signal_is_the_scripts_own_affair(number, codes, tmp_path):
    # A traceback without columns: the signal may come while `ready` is still being printed.
    case = Case({"train.py": ENDLESS}, interrupt=number, environment={"PYTHONNODEBUGRANGES": "1"})
    lay(case, tmp_path / "here")
    plainly = python(case, tmp_path / "here")
    assert plainly.code in codes
    assert ("KeyboardInterrupt" in plainly.err) == (number == signal.SIGINT)
    ours, (run,) = rectifier(case, tmp_path / "here")
    assert differences(plainly, ours) == []
    assert run.outcome.exit_code == plainly.code
    assert observed(run) > 0
    assert "Next: rectifier report" in ours.err


def test_what_nohup_and_a_background_shell_ignore_stays_ignored(tmp_path):
    program = "import signal, torch\nprint([signal.getsignal(n).name for n in (signal.SIGHUP, signal.SIGINT)])\n"
    (tmp_path / "train.py").write_text(program)
    for command in (f"{sys.executable} train.py", f"{RECTIFIER} run train.py"):
        line = f"trap '' HUP INT; exec {command}"
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout == "['SIG_IGN', 'SIG_IGN']\n", command


@pytest.mark.parametrize("victim", ["script", "rectifier"])
def test_what_was_recorded_survives_a_kill(victim, tmp_path):
    case = Case({"train.py": TRAINS_ON})
    folder = lay(case, tmp_path / "here")
    line = [RECTIFIER, "run", "--every", "1", "--out", str(tmp_path / "runs"), "train.py"]
    with subprocess.Popen(
        line, cwd=folder, env=environment(case, folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        script = int(process.stdout.readline().split()[1])
        os.kill(script if victim == "script" else process.pid, signal.SIGKILL)
        # Both end, and nobody is left who could write.
        _, err = process.communicate(timeout=60)
    (run_folder,) = (tmp_path / "runs").iterdir()
    run = read_run(run_folder)
    assert [site.path for site in run.processes[0].sites] == ["2", "5"]
    assert len(run.processes[0].series("loss").values) > 7
    if victim == "script":
        assert process.returncode == run.outcome.exit_code == 137
        assert "The script ended with exit code 137, as after SIGKILL." in err
        assert "Next: rectifier report" in err
    else:
        assert run.outcome is None


def test_a_run_can_be_read_at_any_cut(tmp_path):
    """Whatever length the file had when the machine went down, it is read, and never holds more than before."""
    case = Case({"train.py": WHOLE + "torch.manual_seed(7)\ntrain(modules(), random_batches(5))\n"})
    lay(case, tmp_path / "here")
    rectifier(case, tmp_path / "here")
    (folder,) = (tmp_path / "runs").iterdir()
    (path,) = folder.glob("process-*.jsonl")
    whole = path.read_bytes()
    found = []
    for length in range(0, len(whole) + 1, 37):
        path.write_bytes(whole[:length])
        found.append(sum(len(process.snapshots) for process in read_run(folder).processes))
    assert found == sorted(found)
    assert found[0] == 0
    middle = whole.index(b"\n", len(whole) // 2)
    path.write_bytes(whole[:middle] + b"\x00garbage\n" + whole[middle + 1 :])
    with pytest.raises(UnreadableRun, match=rf"{path.name}, line \d+ is damaged"):
        read_run(folder)
