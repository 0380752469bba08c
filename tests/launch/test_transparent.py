"""The same program under `python` and under `rectifier run`: same output, same numbers to the last bit, same end."""

import dataclasses

import pytest

from tests.launch.programs import EVIDENCE, GUARDED, MODELS, PLAIN, SEED, TRAIN
from tests.launch.running import TAIL, Case, Ran, differences, lay, observed, python, rectifier

MAIN = '\nif __name__ == "__main__":\n    main()\n'

CASES = {
    "plain": Case({"train.py": PLAIN}),
    "a script elsewhere, arguments like ours, standard input, another directory, an exception": Case(
        {
            "some where/train.py": """
import atexit, importlib.util, os, sys
atexit.register(print, "first in, last out")
print("torch is there:", importlib.util.find_spec("torch").name)
from neighbour import *
atexit.register(print, "last in, first out")
print(sys.stdin.isatty(), list(sys.stdin))
os.makedirs("down", exist_ok=True)
os.chdir("down")
print(os.listdir())
main()
print("a warning", file=sys.stderr)
[].pop()
"""
            + EVIDENCE,
            "some where/neighbour.py": GUARDED,
        },
        ("some where/train.py", "--swap", "x", "--every", "9", "--help", "-m", "--", "-", ""),
        stdin="one line\nthe other, without an end: λ".encode(),
    ),
    "-m of a package with relative imports, sys.exit(3)": Case(
        {
            "pack/__init__.py": "",
            "pack/deep/__init__.py": "print('the package is imported')\n",
            "pack/deep/models.py": MODELS,
            "pack/deep/train.py": "from .models import *\nfrom ..deep import models\n"
            + SEED
            + TRAIN
            + EVIDENCE
            + "torch.manual_seed(7)\ntrain(Functional(), random_batches(7))\nevidence()\nraise SystemExit(3)\n",
        },
        ("-m", "pack.deep.train", "--swap", "relu", "-m"),
    ),
    "a folder with a __main__, sys.exit of a text": Case(
        {"app/__main__.py": GUARDED + "import sys\nmain()\nsys.exit('out of patience')\n"}, ("app",)
    ),
    "a script that throws Rectifier out of sys.modules": Case(
        {
            "train.py": GUARDED
            + "import sys\nfor name in [n for n in sys.modules if n.partition('.')[0] == 'rectifier']:\n"
            + "    del sys.modules[name]\nmain()\n"
        }
    ),
    "a file of its own called rectifier.py, warnings as errors": Case(
        {
            "train.py": GUARDED + "main()\nimport rectifier\nprint(rectifier.mine)\n",
            "rectifier.py": "print('imported')\nmine = 5\n",
        },
        environment={"PYTHONWARNINGS": "error"},
    ),
    "a script called rectifier.py": Case({"rectifier.py": GUARDED + MAIN}, ("rectifier.py",)),
}


def test_a_plain_script_is_undisturbed_and_seen_to_its_last_step(tmp_path):
    case = CASES["plain"]
    lay(case, tmp_path / "here")
    first, second = python(case, tmp_path / "here"), python(case, tmp_path / "here")
    # Two runs by python are identical, so that any difference is ours.
    assert first == second
    assert (first.code, first.out.count("loss")) == (0, 26)
    ours, (run,) = rectifier(case, tmp_path / "here")
    assert differences(first, ours) == []
    (process,) = run.processes
    assert [(site.model, site.path, site.activation, site.units) for site in process.sites] == [
        ("Functional", "", "relu", 11), ("Functional", "", "tanh", 3), ("Functional", "", "relu", 3),
        ("Sequential", "2", "relu", 11), ("Sequential", "5", "gelu", 3),
    ]  # fmt: skip
    assert run.outcome.exit_code == 0
    assert 0 < process.snapshots[-1].cost.watching_fraction < 1
    losses = process.series("loss")
    assert losses.steps.tolist() == list(range(26))
    assert [f"loss {value.hex()}" for value in losses.values.tolist()] == [
        line for line in first.out.splitlines() if line.startswith("loss")
    ]


def test_the_comparison_objects_to_a_wrong_answer():
    plain = Ran(0, "loss 0x1.1p-1\nstate 0.weight 7f\n", "a warning\n")
    ours = Ran(0, plain.out, plain.err + TAIL + " rectifier ──\n")
    assert differences(plain, ours) == []
    wrong = {
        "exit code 0 became 1": dataclasses.replace(ours, code=1),
        "standard output: expected 'loss 0x1.1p-1', got 'loss 0x1.0p-1'": dataclasses.replace(
            ours, out=plain.out.replace("1p", "0p")
        ),
        "standard output: expected '<end>', got 'more'": dataclasses.replace(ours, out=plain.out + "more\n"),
        "standard output: line ends": dataclasses.replace(ours, out=plain.out[:-1]),
        "standard error: expected '<end>', got 'x'": dataclasses.replace(ours, err=plain.err + "x\n" + TAIL),
        "standard error: expected 'a warning', got '<end>'": dataclasses.replace(ours, err=TAIL),
        "Rectifier said nothing": dataclasses.replace(ours, err=plain.err),
    }
    assert [differences(plain, ran) for ran in wrong.values()] == [[complaint] for complaint in wrong]


@pytest.mark.parametrize("name", [name for name in CASES if name != "plain"])
def test_a_program_cannot_tell_who_runs_it(name, tmp_path):
    case = CASES[name]
    lay(case, tmp_path / "here")
    plainly = python(case, tmp_path / "here")
    ours, runs = rectifier(case, tmp_path / "here")
    assert differences(plainly, ours) == []
    assert "loss" in ours.out
    assert [observed(run) > 0 for run in runs] == [True], ours.err


def test_what_a_swap_puts_there_is_seen_beside_a_rectifier_py_of_the_script_s(tmp_path):
    """Ours has left `sys.modules`; scripting takes the interceptions away once, and puts them back."""
    case = Case(
        {
            # From 64 K elements on, what computes is ours, and calls no function of torch's that would be seen instead.
            "train.py": MODELS
            + TRAIN
            + "model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 2))\n"
            + "torch.jit.script(nn.Linear(5, 7))\n"
            + "train(model, [(torch.randn(1024, 5), torch.randn(1024, 2))])\n",
            "rectifier.py": "mine = 5\n",
        }
    )
    lay(case, tmp_path / "here")
    ours, (run,) = rectifier(case, tmp_path / "here", "--swap", "relu=leaky_relu:0.1", "--swap", "gelu=quick_gelu")
    (process,) = run.processes
    assert [(site.path, site.activation) for site in process.sites] == [("1", "leaky_relu:0.1"), ("3", "quick_gelu")]
    assert observed(run) > 0, ours.err
