"""The shell lines of the documentation, typed as they stand.

Each block runs in a folder of its own, in which a script lies wherever a line names one. What takes minutes is a
`proof`; what needs a package of somebody else's is skipped, loudly, where that is not installed.
"""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import BLOCKS, HEALTHY, ROOT
from tests.launch.test_frameworks import LIGHTNING, TRAINER

RANKS = """
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
model = torch.nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(7):
    optimizer.zero_grad()
    model(torch.randn(11, 3)).square().mean().backward()
    optimizer.step()
dist.destroy_process_group()
"""
SCRIPTS = {
    "train.py": (HEALTHY, ()),
    "train_lightning.py": (LIGHTNING, ("lightning",)),
    "my_package/finetune.py": (TRAINER, ("transformers", "accelerate")),
    "train_opt.py": (TRAINER, ("transformers", "accelerate")),
    "train_ddp.py": (RANKS, ()),
}
NAMED = {path: re.compile(rf"(?<![\w/]){re.escape(path.replace('.py', ''))}(\.py)?\b") for path in SCRIPTS} | {
    "my_package/finetune.py": re.compile(r"my_package\.finetune")
}

ELSEWHERE = {
    "rectifier compare --arms leaky_relu:0.3 --seeds 9 ": ("tests/test_readme.py", "shell(COMPARE, tmp_path)"),
    "rectifier run --every 1 examples/digits.py ": ("tests/docs/test_pages.py", 'HERE["tutorial"]'),
    "rectifier run --fail-on serious train.py ": ("tests/docs/test_pages.py", "def test_the_lines_for_ci"),
    # Of one script, which stands on the page.
    "rectifier explain --jobs 2 distill.py": ("tests/docs/test_explain_tutorial.py", "def test_the_first_case"),
    "rectifier report rectifier-runs/explain-distill-": (
        "tests/docs/test_explain_tutorial.py",
        "def test_the_first_case",
    ),
    # Needs a scheduler, which is started there.
    "rectifier compare --scheduler ": ("tests/comparison/script/test_cluster.py", "--scheduler"),
}
"""Blocks that begin so are executed by another test, which has the words."""

LONG = re.compile("rectifier compare |rectifier run .*examples/digits.py")
"""Dozens of trainings, or what the README's test does, too."""


def commands(text):
    """A block without its lines for make: the gate runs those of them that are targets of the README."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("make "))


WHOLE = [(page, commands(text)) for page, language, text in BLOCKS if language == "sh" and commands(text)]
HERE = [
    pytest.param(text, id=f"{page}: {text.splitlines()[0].partition('#')[0].strip()}",
                 marks=[pytest.mark.proof] if LONG.search(text) else [])
    for page, text in WHOLE if not text.startswith(tuple(ELSEWHERE))
]  # fmt: skip


def typed(text, folder):
    """A block as somebody types it; the first command that fails ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return subprocess.run(
        ["sh", "-e", "-c", text], cwd=folder, capture_output=True, text=True, check=False, timeout=1_700,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PET_MASTER_PORT": port},
    )  # fmt: skip


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("text", HERE)
def test_a_block_does_what_it_says(text, tmp_path, a_run):
    lay_scripts(text, tmp_path)
    if "rectifier-runs/" in text and "rectifier run" not in text:
        shutil.copytree(a_run, tmp_path / "rectifier-runs")
        if "digits-" in text:
            next((tmp_path / "rectifier-runs").iterdir()).rename(tmp_path / "rectifier-runs" / "digits-1")
    # No test writes outside of its folder.
    done = typed(text.replace("/shared/", f"{tmp_path}/shared/"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    runs = re.findall(r"^Run: (.+)$", done.stderr, re.MULTILINE)
    assert len(runs) == text.count("rectifier run ")
    assert done.stderr.count("\nSampled ") == len(runs), "each training was seen"
    assert all((tmp_path / run).is_dir() for run in runs)
    assert done.stderr.count(" trainings: ") == text.count("rectifier compare ")
    for page_written in re.findall(r"--html (\S+)", text):
        assert (tmp_path / page_written).read_text(encoding="utf-8").startswith("<!doctype html>")


def lay_scripts(text, folder):
    shutil.copytree(ROOT / "examples", folder / "examples")
    for path, (script, packages) in SCRIPTS.items():
        if not NAMED[path].search(text):
            continue
        missing = [name for name in packages if not importlib.util.find_spec(name)]
        if missing:
            pytest.skip(f"NOT INSTALLED, so the block was not executed: {', '.join(missing)}")
        (folder / path).parent.mkdir(exist_ok=True)
        # A comparison refuses a script that sets its own seed.
        (folder / path).write_text(script.replace("torch.manual_seed(0)\n", "") if "compare" in text else script)


@pytest.fixture(scope="module")
def a_run(tmp_path_factory):
    """The folder `rectifier-runs` after one training."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "train.py").write_text(HEALTHY)
    done = typed("rectifier run train.py", folder)
    assert done.returncode == 0, done.stderr
    return folder / "rectifier-runs"


def test_what_is_executed_elsewhere_is_executed_there():
    for beginning, (path, words) in ELSEWHERE.items():
        assert any(text.startswith(beginning) for _, text in WHOLE), beginning
        assert words in (ROOT / path).read_text(encoding="utf-8")
    assert len(HERE) > 10


def test_a_block_that_fails_is_noticed(tmp_path):
    assert typed("rectifier report rectifier-runs/train-*\ntrue", tmp_path).returncode == 2
