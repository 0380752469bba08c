"""Descriptors: what was given to us reaches the script, and what the script does with its own never meets ours."""

import os
import subprocess
import sys

import pytest

from rectifier.storage import read_run
from tests.launch.running import RECTIFIER

WRITES = 'import os\nos.write(3, b"a metric\\n")\nprint("written")\n'


@pytest.mark.parametrize("runner", [sys.executable, f"{RECTIFIER} run"], ids=["python", "rectifier run"])
def test_a_shells_descriptor_reaches_the_script(runner, tmp_path):
    (tmp_path / "train.py").write_text(WRITES)
    line = f"{runner} train.py 3>metrics.log"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "written\n"
    assert (tmp_path / "metrics.log").read_text() == "a metric\n"


def test_a_shells_process_substitution_can_be_read(tmp_path):
    (tmp_path / "train.py").write_text("import sys\nprint(open(sys.argv[1]).read() + sys.argv[2])\n")
    line = f"{RECTIFIER} run train.py <(echo data) last"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "data\nlast\n"


def test_a_callers_descriptor_reaches_the_script_and_none_of_ours_does(tmp_path):
    program = "import os\nprint(sorted(map(int, os.listdir('/dev/fd')))[:-1], flush=True)\n"
    program += "import sys; os.write(int(sys.argv[1]), b'x')\n"
    (tmp_path / "train.py").write_text(program)
    told = []
    for runner in ([sys.executable], [RECTIFIER, "run"]):
        reading, writing = os.pipe()
        line = [*runner, "train.py", str(writing)]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True, pass_fds=[writing])
        os.close(writing)
        told.append((done.stdout, os.read(reading, 10)))
        # Nobody of ours holds it open either: whoever reads sees the end.
        assert os.read(reading, 10) == b""
        os.close(reading)
    assert told[0] == told[1]
    assert told[0][1] == b"x"


def test_a_training_of_a_comparison_is_given_it_too(tmp_path):
    """It is started from a thread, in a process group of its own."""
    (tmp_path / "train.py").write_text(WRITES)
    (tmp_path / "run").mkdir()
    program = """
import threading
from pathlib import Path
from rectifier.launch import Launch, start
launch = Launch(command=("train.py",), folder=Path("run").absolute(), own_group=True)
thread = threading.Thread(target=start, args=(launch,))
thread.start()
thread.join()
"""
    line = f"{sys.executable} -c '{program}' 3>metrics.log"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "written\n"
    assert (tmp_path / "metrics.log").read_text() == "a metric\n"


TRAIN = """
import os, sys, torch
from pathlib import Path
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(5, 11), torch.nn.ReLU(), torch.nn.Linear(11, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(7, 5)


def train(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()


def fill():
    # The lowest numbers that are free, as of everything that is opened now.
    return [open(f"mine-{number}.txt", "w") for number in range(10)]


train(20)
MISUSE
for file in files:
    file.write("my own line\\n")
    file.close()
for path in Path().glob("mine-*.txt"):
    assert path.read_text() == "my own line\\n", path
print("done")
"""

MISUSES = {
    "all closed": "os.closerange(3, 256)\nfiles = fill()\ntrain(500)\n",
    "the standard ones too": """
out = os.dup(1)
os.closerange(3, out), os.closerange(0, 3)
# The first of them are what Python takes for its standard streams.
files = fill()
train(500)
os.dup2(out, 1), os.dup2(out, 2)
""",
    "copied over": """
files = fill()
own = [file.fileno() for file in files]
for number in range(3, 64):
    if number not in own:
        os.dup2(own[0], number)
train(500)
""",
    "a daemon": """
ready, done = os.pipe()
if os.fork():
    os.close(done)
    os.read(ready, 1)
    os._exit(0)
os.setsid()
out = os.dup(done)
os.closerange(3, out)
files = fill()
train(500)
""",
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_our_records_stay_out_of_the_scripts_files(misuse, tmp_path):
    program = TRAIN.replace("MISUSE", MISUSES[misuse])
    if misuse == "the standard ones too":
        program = program.replace("for file in files", "for file in files[3:]").replace("mine-*", "mine-[3-9]*")
    (tmp_path / "train.py").write_text(program)
    line = [RECTIFIER, "run", "--every", "5", "train.py"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
    assert "rectifier:" not in done.stderr
    assert all("kind" not in path.read_text() for path in tmp_path.glob("mine-*.txt"))
    (folder,) = tmp_path.glob("rectifier-runs/*")
    # A process that was forked does not write its last records as it ends.
    assert max(process.snapshots[-1].step for process in read_run(folder).processes) >= 300


@pytest.mark.parametrize("how", ["file replaced", "folder replaced"])
def test_a_file_that_is_not_ours_any_more_ends_the_record_with_one_warning(how, tmp_path):
    misuse = """
import shutil
(run,) = Path("rectifier-runs").iterdir()
(record,) = run.glob("process-*.jsonl")
name = record.name
if sys.argv[1] == "folder replaced":
    shutil.rmtree(run)
    run.mkdir()
else:
    # The new file may well have the inode of the old one.
    record.unlink()
(run / name).write_text("")
before = sorted(run.iterdir())
files = fill()
train(500)
assert sorted(run.iterdir()) == before
assert (run / name).read_text() == ""
"""
    (tmp_path / "train.py").write_text(TRAIN.replace("MISUSE", misuse))
    line = [RECTIFIER, "run", "--every", "5", "train.py", how]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
    assert done.stderr.count("rectifier: cannot write to") == 1
    assert "the training goes on, unrecorded from here" in done.stderr
