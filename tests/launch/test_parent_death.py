"""Nobody goes on training unnoticed: a script ends with a `rectifier run` or a driver that is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.comparison.script.test_kills import TRAIN, trainings_of
from tests.launch.programs import WHOLE
from tests.launch.running import RECTIFIER
from tests.launch.started import WAITS, children, is_gone
from tests.launch.test_environment import BOOTSTRAP

TRAINS_ON = (
    WHOLE
    + """
import itertools, os
torch.manual_seed(7)
model = modules()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in itertools.count():
    optimizer.zero_grad()
    F.mse_loss(model(torch.randn(7, 5)), torch.randn(7, 2)).backward()
    optimizer.step()
    if step == 40:
        print("ready", os.getpid(), flush=True)
"""
)


def wait_until_gone(pid, within=10):
    deadline = time.monotonic() + within
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"{pid} goes on"
        time.sleep(0.01)


def processes_in(folder):
    """Those whose working directory it is."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == str(folder) and not is_gone(int(entry)):
                found.append(int(entry))
        except OSError:
            continue
    return found


def test_a_training_ends_with_a_parent_that_is_killed(start):
    ran = start(TRAINS_ON)
    both = children(ran.process.pid)
    assert ran.script in both
    ran.process.kill()
    assert ran.process.wait(timeout=10) == -signal.SIGKILL
    for pid in both:
        wait_until_gone(pid)


def test_timeout_with_sigkill_leaves_nothing_behind(start, tmp_path):
    ran = start(WAITS, before=("timeout", "--foreground", "-s", "KILL", "2"))
    # Without that option, it kills the whole group.
    assert ran.process.wait(timeout=20) in (-signal.SIGKILL, 128 + signal.SIGKILL)
    wait_until_gone(ran.script)
    assert processes_in(tmp_path) == []


def test_a_kill_at_any_moment_leaves_nothing_behind(start, tmp_path):
    """Before the script's interpreter has begun, too, when its parent is gone before it can be asked for."""
    began = time.monotonic()
    first = start(WAITS)
    seconds = time.monotonic() - began
    first.process.kill()
    wait_until_gone(first.script)
    draw = random.Random(3)
    for _ in range(20):
        process = subprocess.Popen(
            [RECTIFIER, "run", "train.py"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.2, 1.3) * seconds)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while left := processes_in(tmp_path):
            assert time.monotonic() < deadline, left
            time.sleep(0.01)


WITH_WORKERS = """
import multiprocessing, os, subprocess, sys, time


def work(connection):
    connection.send(os.getpid())
    try:
        connection.recv()
    except EOFError:
        # As a worker that loads data: it ends when nobody is left to load for.
        pass


if __name__ == "__main__":
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=work, args=(theirs,), daemon=True)
    worker.start()
    theirs.close()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    print("worker", ours.recv(), flush=True)
    print("other", other.pid, flush=True)
    print("environment", sorted(name for name in os.environ if name.startswith("RECTIFIER_")), flush=True)
    print("ready", os.getpid(), flush=True)
    sys.stdin.readline()
    ours.close()
    worker.join()
    sys.exit(3)
"""


@pytest.mark.parametrize("killed", [False, True], ids=["left alone", "killed"])
def test_what_a_script_has_started_ends_as_it_would_without_us(killed, tmp_path):
    """Only the script itself is tied to its parent; its children see to themselves."""
    (tmp_path / "train.py").write_text(WITH_WORKERS)
    process = subprocess.Popen(
        [RECTIFIER, "run", "train.py"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    told = dict(process.stdout.readline().split(maxsplit=1) for _ in range(4))
    assert told["environment"].strip() == "['RECTIFIER_LAUNCH']"
    worker, other, script = (int(told[name]) for name in ("worker", "other", "ready"))
    try:
        if killed:
            process.kill()
            wait_until_gone(script)
        else:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.wait(timeout=30) == 3
        wait_until_gone(worker)
        assert not is_gone(other)
    finally:
        os.kill(other, signal.SIGKILL)
    _, err = process.communicate()
    assert "Traceback" not in err


def test_a_script_that_replaces_itself_is_still_tied_to_its_parent(start):
    program = """
import os, sys, time
if len(sys.argv) == 1:
    os.execv(sys.executable, [sys.executable, sys.argv[0], "again"])
print("ready", os.getpid(), flush=True)
time.sleep(60)
"""
    ran = start(program)
    ran.process.kill()
    wait_until_gone(ran.script)


def test_the_trainings_of_a_comparison_end_with_a_driver_that_is_killed(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN.replace("range(31)", "range(31_000_000)"))
    line = [RECTIFIER, "compare", "--seeds", "6", "--jobs", "2", "--out", "study", "train.py"]
    driver = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (running := trainings_of(driver.pid)) or not list(Path(tmp_path).glob("study/trials/*/run/process-*")):
        assert time.monotonic() < deadline
        assert driver.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    assert not any(is_gone(pid) for pid, _ in running), "the thread that started it still waits for it"
    driver.kill()
    driver.wait()
    for pid, _ in running:
        wait_until_gone(pid)


def test_a_number_of_somebody_else_in_the_environment_is_no_reason_to_end():
    environment = os.environ | {"PYTHONPATH": str(BOOTSTRAP)}
    tell = "import os, sys; print(os.environ.get('RECTIFIER_PARENT'), 'ctypes' in sys.modules)"
    for number in ("1", "no number", ""):
        done = subprocess.run(
            [sys.executable, "-c", tell],
            env=environment | {"RECTIFIER_PARENT": number},
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("None False\n", "")
