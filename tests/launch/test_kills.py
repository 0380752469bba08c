"""`kill -9` at any moment: what was recorded opens, and is not far behind what the script says it has done."""

import json
import random

import pytest

from rectifier.storage import read_run
from tests.launch.programs import WHOLE
from tests.launch.running import Case, lay, rectifier

# The trainers are forked, so that torch is loaded once; each reports its steps through a pipe until it is killed.
KILLED = (
    WHOLE
    + """
import itertools, json, os, signal, sys, time


def trains_on(pipe):
    model = modules()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in itertools.count():
        inputs, target = torch.randn(7, 5), torch.randn(7, 2)
        optimizer.zero_grad()
        F.mse_loss(model(inputs), target).backward()
        optimizer.step()
        os.write(pipe, f"{step} {time.monotonic()}\\n".encode())


reports = {}
for seconds in json.loads(sys.argv[1]):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        trains_on(writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        first = pipe.readline()
        # Read on, or the pipe is full and the trainer waits.
        lines, until = [first], time.monotonic() + seconds
        while time.monotonic() < until:
            lines.append(pipe.readline())
        os.kill(child, signal.SIGKILL)
        lines += pipe.readlines()
    os.waitpid(child, 0)
    reports[child] = [float(line.split()[1]) for line in lines if line.endswith(b"\\n")]
print(json.dumps(reports))
"""
)


def kill(times, tmp_path):
    """For each trainer, the moments of the steps that it reported, and how many of them were recorded."""
    case = Case({"train.py": KILLED}, ("train.py", json.dumps(times)))
    lay(case, tmp_path / "here")
    ours, _ = rectifier(case, tmp_path / "here")
    assert ours.code == 0, ours.err
    reports = {int(pid): moments for pid, moments in json.loads(ours.out.splitlines()[-1]).items()}
    (folder,) = (tmp_path / "runs").iterdir()
    recorded = {process.writer.pid: process.snapshots[-1].step + 1 for process in read_run(folder).processes}
    assert reports.keys() == recorded.keys()
    assert len(reports) == len(times)
    return [(moments, recorded[pid]) for pid, moments in reports.items()]


def is_close(moments, recorded):
    """At most 500 steps or 5 seconds behind."""
    behind = moments[recorded - 1 :]
    return len(behind) <= 500 or behind[-1] - behind[0] <= 5


LONG = [pytest.param(seed, 10, 12.0, marks=[pytest.mark.proof, pytest.mark.timeout(600)]) for seed in range(5)]


@pytest.mark.parametrize(("seed", "kills", "longest"), [(5, 5, 1.0), *LONG])
def test_what_was_recorded_opens_and_is_not_far_behind(seed, kills, longest, tmp_path):
    draw = random.Random(seed)
    for moments, recorded in kill([draw.uniform(0, longest) for _ in range(kills)], tmp_path):
        assert is_close(moments, recorded), (len(moments), recorded)


def test_what_is_far_behind_would_be_caught():
    moments = [0.02 * step for step in range(1000)]
    assert is_close(moments, 990)
    assert is_close(moments, 760)
    assert not is_close(moments, 1)
