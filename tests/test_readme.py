"""Every block of the README is executed, and prints what it says it prints.

The excerpt of the demonstration is compared in `test_demo.py`, which runs it; `.ci/run` runs the two `make` commands.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def block(language, beginning):
    (found,) = [text for name, text in BLOCKS if name == language and text.startswith(beginning)]
    return found


MAKE = block("sh", "make demo")
EXCERPT = block("text", "What happened under ReLU")
WATCH = block("python", "import rectifier\nfrom my_project")
LOG = block("python", "import rectifier\n\nrectifier.log")
RUN = block("sh", ". .venv/bin/activate")
REPORT = block("sh", "rectifier report")
COMPARE = block("sh", "rectifier compare")
PIP = block("sh", "python3.11 -m venv")


def test_no_block_is_left_out_and_the_first_screen_has_it_all():
    assert sorted(text for _, text in BLOCKS) == sorted([MAKE, EXCERPT, WATCH, LOG, RUN, REPORT, COMPARE, PIP])
    assert README.count("```") == 2 * len(BLOCKS)
    assert len(README.splitlines()) <= 120
    for part in (MAKE, EXCERPT, WATCH):
        assert README.index(part) < README.index("\n## ")


def test_its_picture_is_one_and_small():
    (picture,) = set(re.findall(r"!\[[^]]{20,}\]\(([^)]+)\)", README))
    data = (ROOT / picture).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 250_000
    for target in re.findall(r"\]\((\w[^):]*)\)", README):
        assert (ROOT / target).exists(), target


def test_the_make_commands_are_those_that_ci_runs():
    targets = re.findall(r"^make (\w+)", MAKE, re.MULTILINE)
    assert targets == ["demo", "test"]
    ci = (ROOT / ".ci" / "run").read_text()
    assert [line for line in ci.splitlines() if line in ("make demo", "make test")] == ["make demo", "make test"]


def run_python(text, folder):
    return subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_python_blocks(tmp_path):
    shutil.copy(ROOT / "tests" / "readme" / "my_project.py", tmp_path)
    after = "\nassert 'LeakyReLU(negative_slope=0.1)' in str(model), model\nchange.undo()\nprint(model[1])"
    told = run_python(WATCH + after, tmp_path).splitlines()
    assert told[-1] == "ReLU()"
    assert any("Sequential.1: 1 of 5 units" in line and "|" in line for line in told[:-1]), told
    assert run_python(LOG, tmp_path) == ""


def shell(text, folder):
    """A block as somebody types it, who has the package in .venv; the first command that fails ends it."""
    return subprocess.run(
        ["sh", "-e", "-c", text], cwd=folder, capture_output=True, text=True, check=False, timeout=900,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip


@pytest.mark.timeout(900)
def test_a_script_is_run_reported_treated_and_compared(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("")

    ran = shell(RUN, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 25
    assert all(re.fullmatch(r"epoch \d+: loss .*, test accuracy .*", line) for line in ran.stdout.splitlines())
    assert "rectifier report rectifier-runs/digits-" in ran.stderr

    reported = shell(REPORT, tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert "<title>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(list((tmp_path / "rectifier-runs").iterdir())) == 2
    assert "relu became leaky_relu:0.3" in " ".join(reported.stderr.split())
    assert reported.stdout != ran.stdout

    # The comparison's own 27 trainings shall not take the tests' time: the script's default is 25 epochs.
    script = tmp_path / "examples" / "digits.py"
    script.write_text(script.read_text().replace("default=25", "default=1"))
    compared = shell(COMPARE, tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "27 trainings: 9 seeds" in compared.stderr
    assert re.search(r"leaky_relu:0\.3 (helped|hurt|is undecided)", compared.stdout), compared.stdout


@pytest.mark.timeout(1200)
@pytest.mark.skipif("CI" not in os.environ, reason="NOT IN CI: installing torch again takes minutes and a network")
def test_installing_without_make(tmp_path):
    for name in ("src", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    done = shell(PIP, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "rectifier-demo.html").is_file()
    assert "What happened under ReLU" in done.stdout
