"""The package is a pure wheel and works from it, outside of the checkout; the command line starts without torch."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import rectifier
from rectifier import records

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_wheel_is_pure_and_whole(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    sources = ROOT / "src"
    expected = {
        path.relative_to(sources).as_posix()
        for path in (sources / "rectifier").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= packed, expected - packed
    assert not any(name.startswith("tests") for name in packed)


def test_works_from_the_wheel_outside_of_the_checkout(wheel, tmp_path):
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(installed)]
    subprocess.run([*pip, str(wheel)], check=True)
    script = tmp_path / "train.py"
    script.write_text(
        "import torch, rectifier\n"
        f"assert rectifier.__file__.startswith({str(installed)!r})\n"
        "model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))\n"
        "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        "for _ in range(7):\n"
        "    optimizer.zero_grad()\n"
        "    model(torch.randn(11, 3)).square().mean().backward()\n"
        "    optimizer.step()\n"
        "print('trained')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", "rectifier", "run", "train.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "trained\n"
    (run,) = (tmp_path / "rectifier-runs").iterdir()
    page = tmp_path / "page.html"
    subprocess.run(
        [sys.executable, "-m", "rectifier", "report", str(run), "--html", str(page)],
        cwd=tmp_path, env=environment, capture_output=True, check=True,
    )  # fmt: skip
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("arguments", ["--help", "--version", "run --help", "report --help", "activations"])
def test_no_command_that_only_reads_loads_torch(arguments):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['rectifier', *{arguments.split()!r}]\n"
        "try:\n    runpy.run_module('rectifier', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_rooms_that_hold_facts_and_rules_never_load_torch():
    folders = (
        "records errors catalogue storage diagnosis report report.text.run report.page.page report.json.documents "
        "comparison.statistics.trials comparison.engine"
    )
    imports = "; ".join(f"import rectifier.{folder}" for folder in folders.split())
    subprocess.run([sys.executable, "-c", f"{imports}; import sys; assert 'torch' not in sys.modules"], check=True)


def test_every_name_that_is_imported_from_the_records_loads():
    """For type checkers the records' names are imported with a star, which would hide one that nothing loads."""
    asked = {
        name.name
        for path in Path(rectifier.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "rectifier.records"
        for name in node.names
    }
    assert len(asked) > 90
    assert [name for name in sorted(asked) if not hasattr(records, name)] == []
