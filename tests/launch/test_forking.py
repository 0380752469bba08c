"""Scripts forked from a process that has imported torch: nobody can tell them from those of a new process."""

import contextlib
import json
import os
import signal
import sys
import threading
import time

import pytest

from rectifier.exit_codes import TIMED_OUT
from rectifier.launch import Launch, start
from rectifier.launch.forking.client import CannotFork, Forking, modules_of
from rectifier.records import Manifest
from rectifier.storage import create_run_folder, read_run, write_manifest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="trials are forked on Linux only")

TRAIN = """
import random
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
x = torch.randn(64, 5)
model = nn.Sequential(nn.Linear(5, 11), nn.ReLU(), nn.Dropout(0.5), nn.Linear(11, 1))
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
print(torch.initial_seed(), random.random(), np.random.rand())
for step in range(40):
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), x.sum(1, keepdim=True))
    loss.backward()
    optimizer.step()
    print(loss.item())
"""
FACTS = """
import json, multiprocessing, os, pickle, sys, tempfile
import torch
class Own:
    pass
def add(a, b):
    return a + b
if __name__ == "__main__":
    main = sys.modules["__main__"]
    print(json.dumps([
        sys.argv, sys.orig_argv[1:], sys.path, __file__, main.__spec__ is None, sorted(vars(main)), os.getcwd(),
        sorted(os.environ), type(pickle.loads(pickle.dumps(Own()))) is Own, sys.stdin.read(),
        os.getpgid(0) == os.getpid(),
        tempfile.gettempdir(), sys.stdout.isatty(), sorted(os.listdir("/dev/fd")), add.__code__.co_filename,
    ]))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.starmap(add, [(1, 2)]))
"""


def launch(here, *command, script=None, **settings):
    here.mkdir(parents=True, exist_ok=True)
    if script is not None:
        (here / "train.py").write_text(script)
    folder = create_run_folder(here / "runs", "train")
    write_manifest(folder, Manifest(name="train", command=(), folder="", started="", rectifier="0", python="3"))
    own = {"every": 1, "threads": 1, "own_group": True, **settings}
    return Launch(command or ("train.py",), folder, directory=here, **own)


def anew(asked):
    output = asked.folder / "printed"
    with output.open("wb") as out, open(os.devnull, "rb") as nothing:
        code = start(asked, stdin=nothing, stdout=out, stderr=out)
    return code, output.read_text()


def forked(forking, asked, **how):
    output = asked.folder / "printed"
    code = forking.run(asked, output, **how)
    return code, output.read_text()


@pytest.fixture
def forking(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    one = Forking(launch(tmp_path))
    yield one
    one.close()


def test_a_forked_training_is_that_of_a_new_process_to_the_bit(tmp_path, forking):
    plain = launch(tmp_path, seed=3)
    before = anew(plain)
    for _ in range(2):
        asked = launch(tmp_path, seed=3)
        assert forked(forking, asked) == before
        (one,), (other,) = read_run(plain.folder).processes, read_run(asked.folder).processes
        assert one.series("loss").values.tobytes() == other.series("loss").values.tobytes()
        assert [site.path for site in one.sites] == [site.path for site in other.sites]
        assert len(one.snapshots) == len(other.snapshots)


def test_unseeded_scripts_draw_anew_as_in_new_processes(tmp_path, forking):
    first, second = forked(forking, launch(tmp_path))[1], forked(forking, launch(tmp_path))[1]
    (torch_one, *one), (torch_other, *other) = first.split()[:3], second.split()[:3]
    assert torch_one == torch_other
    assert one[0] != other[0]
    assert one[1] != other[1]


def test_the_script_finds_what_it_finds_in_a_new_process(tmp_path, forking):
    one = launch(tmp_path, "facts/facts.py", "--rate", "1")
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / "facts.py").write_text(FACTS)
    (code, before), (forked_code, after) = anew(one), forked(forking, one)
    assert code == forked_code == 0
    for found, expected in zip(after.splitlines(), before.splitlines(), strict=True):
        for one, other in zip(json.loads(found), json.loads(expected), strict=True):
            assert one == other


def test_modules_run_as_modules(tmp_path, forking):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "fit.py").write_text(
        "import sys, torch; print(__name__, __spec__.name, sys.argv, sys.path)"
    )
    one = launch(tmp_path, "-m", "package.fit", "--rate", "1")
    assert forked(forking, one) == anew(one)


@pytest.mark.parametrize(
    ("script", "code"),
    [("raise SystemExit(3)", 3), ("1 / 0", 1), ("import os; os.kill(os.getpid(), 9)", 137), ("not a program", 1)],
)
def test_exit_codes(tmp_path, forking, script, code):
    (tmp_path / "end.py").write_text(script)
    assert forked(forking, launch(tmp_path, "end.py"))[0] == code


def test_exit_handlers_run(tmp_path, forking):
    (tmp_path / "end.py").write_text("import atexit; atexit.register(print, 'the end')")
    assert forked(forking, launch(tmp_path, "end.py")) == (0, "the end\n")


def test_a_timeout_kills_it_and_others_go_on(tmp_path, forking):
    (tmp_path / "long.py").write_text("import time; time.sleep(60)")
    began = time.monotonic()
    assert forked(forking, launch(tmp_path, "long.py"), timeout=0.5)[0] == TIMED_OUT
    assert time.monotonic() - began < 30
    assert forked(forking, launch(tmp_path))[0] == 0


def test_several_run_at_once_and_one_can_be_ended_from_outside(tmp_path, forking):
    (tmp_path / "long.py").write_text("import time; print('there', flush=True); time.sleep(60)")
    codes, begun = {}, threading.Event()

    def one(name, script, **how):
        codes[name] = forked(forking, launch(tmp_path, script), **how)[0]

    pids = []
    long = threading.Thread(
        target=one, args=("long", "long.py"), kwargs={"started": lambda p: (pids.append(p.pid), begun.set())}
    )
    long.start()
    assert begun.wait(60)
    one("short", "train.py")
    assert codes == {"short": 0}
    os.killpg(pids[0], signal.SIGTERM)
    long.join(30)
    assert codes["long"] == 128 + signal.SIGTERM


def test_a_script_with_a_module_named_as_ours_is_refused(tmp_path, forking):
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "rectifier.py").write_text("mine = 1")
    (tmp_path / "aside" / "train.py").write_text("import rectifier; print(rectifier.mine)")
    with pytest.raises(CannotFork, match="named rectifier"):
        forked(forking, launch(tmp_path, "aside/train.py"))
    assert forked(forking, launch(tmp_path))[0] == 0


def test_a_server_that_has_died_is_told(tmp_path, forking):
    forking._process.kill()
    forking._process.wait()
    with pytest.raises(CannotFork):
        forked(forking, launch(tmp_path))


def test_what_imports_torch_itself_waits_for_the_script(tmp_path):
    script = "import os, json\nimport sklearn.datasets\nfrom torchvision import x\nfrom numpy import ones\nimport torch"
    assert modules_of(launch(tmp_path, script=script)) == ["sklearn.datasets", "numpy"]
    assert modules_of(launch(tmp_path, "-m", "package")) == []
    assert modules_of(launch(tmp_path, script="not a program")) == []


def test_nothing_runs_on_after_the_driver(tmp_path, forking):
    (tmp_path / "long.py").write_text("import time; time.sleep(600)")
    pids, begun = [], threading.Event()
    how = {"started": lambda process: (pids.append(process.pid), begun.set())}

    def run():
        with contextlib.suppress(CannotFork):
            forked(forking, launch(tmp_path, "long.py"), **how)

    waiting = threading.Thread(target=run)
    waiting.start()
    assert begun.wait(60)
    # As the system closes it when the driver dies.
    os.close(forking._requests)
    forking._process.wait(60)
    waiting.join(60)
    assert not waiting.is_alive()
    deadline = time.monotonic() + 30
    while alive(pids[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pids[0])


def alive(number):
    try:
        return open(f"/proc/{number}/stat").read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
