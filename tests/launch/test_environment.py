"""What a user's environment does to the start of Python still happens, once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import rectifier as package
from tests.launch.programs import GUARDED
from tests.launch.running import Case, differences, lay, observed, python, rectifier

BOOTSTRAP = Path(package.__file__).parent / "launch" / "bootstrap"


def test_the_environments_own_sitecustomize_and_an_empty_path_entry(tmp_path):
    case = Case(
        {
            "work/train.py": GUARDED
            + "main()\nimport sitecustomize as its, library\n"
            + "print(its.__file__, its.__name__, its.times, its.path, library.name)\n",
            # It says nothing: `rectifier` itself is a Python of this environment, and loads it, too.
            "lib/sitecustomize.py": "import sys\n"
            + "times = sys.times = getattr(sys, 'times', 0) + 1\n"
            + "path = [*sys.path]\n",
            "lib/library.py": "name = 'from PYTHONPATH'\n",
        },
        folder="work",
        environment={"PYTHONPATH": os.pathsep.join(["", "{here}/lib", "", "{here}/nowhere"])},
    )
    lay(case, tmp_path / "here")
    plainly = python(case, tmp_path / "here")
    assert "/lib/sitecustomize.py sitecustomize 1 [" in plainly.out
    ours, (run,) = rectifier(case, tmp_path / "here")
    assert differences(plainly, ours) == []
    assert observed(run) > 0


def start_python(*arguments, environment):
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_outside_of_a_launch_the_bootstrap_does_nothing():
    environment = {k: v for k, v in os.environ.items() if k not in ("RECTIFIER_LAUNCH", "PYTHONPATH")}
    tell = "import sys; print(sys.path, [repr(f)[:40] for f in sys.meta_path], 'rectifier' in sys.modules)"
    without = start_python("-c", tell, environment=environment)
    with_it = start_python("-c", tell, environment=environment | {"PYTHONPATH": str(BOOTSTRAP)})
    assert with_it == without


def test_a_failing_sitecustomize_fails_as_always(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('broken')\n")

    def start(path):
        line = [sys.executable, "-c", "print('goes on')"]
        ran = subprocess.run(
            line, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=60
        )
        return ran.returncode, ran.stdout, ran.stderr

    plainly = start(str(tmp_path))
    assert "broken" in plainly[2]
    assert start(os.pathsep.join([str(BOOTSTRAP), str(tmp_path)])) == plainly


def test_the_package_is_found_where_the_launcher_is_even_if_nothing_else_finds_it(tmp_path):
    """As when `rectifier` was started from a source tree: the path of the script stays the script's."""
    copy = tmp_path / "elsewhere" / "rectifier"
    copy.parent.mkdir()
    copy.symlink_to(Path(package.__file__).parent)
    settings = {"folder": str(tmp_path), "swap": [], "budget": 0.01, "every": None, "seed": None}
    settings["package"] = str(copy.parent)
    (tmp_path / "torch.py").write_text("name = 'a stand-in: any import of torch begins to observe'\n")
    tell = (
        "import sys, torch\n"
        "print([entry for entry in sys.path if 'elsewhere' in entry], 'rectifier.launch' in sys.modules)"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(BOOTSTRAP), str(tmp_path)]),
        "RECTIFIER_LAUNCH": json.dumps(settings),
    }
    ran = subprocess.run(
        [sys.executable, "-c", tell], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == "[] True\n", ran.stderr
    # The stand-in has nothing to observe: one line says so, and the script goes on.
    assert ran.stderr.startswith("rectifier: not watching: ")
    assert ran.stderr.count("\n") == 1
