"""The torch that is claimed, and one that lacks a private name: there torch's own operators answer."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rectifier.activations import paths

ROOT = Path(__file__).parents[2]

LACKING = """
import sys, torch, torch.nn.functional as F
import torch.autograd.forward_ad, torch._C._dynamo.eval_frame, torch._functorch.autograd_function
owner, _, name = sys.argv[1].rpartition(".")
held = getattr(eval(owner), name)
delattr(eval(owner), name)
import rectifier.functional as rf
setattr(eval(owner), name, held)  # torch's own code needs it.
torch.manual_seed(0)
z = torch.randn((1 << 21) + 5, requires_grad=True)
a = torch.tensor([0.25], requires_grad=True)
for act, arguments in ("leaky_relu", (0.1,)), ("elu", ()), ("celu", ()), ("selu", ()), ("prelu", (a,)):
    outputs = [getattr(library, act)(z, *arguments) for library in (rf, F)]
    torch.testing.assert_close(*(torch.autograd.grad(h.sum(), z)[0] for h in outputs))
    print(outputs[0].grad_fn.name())
"""
TORCHS = ["LeakyReluBackward0", "EluBackward0", "CeluBackward0", "EluBackward0", "PreluKernelBackward0"]
OURS = ["_LeakyReLUBackward", "_ELUBackward", "_ELUBackward", "_ELUBackward", "_PReLUBackward"]


def answers(lacking):
    done = subprocess.run([sys.executable, "-c", LACKING, lacking], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout.split()


PRIVATE = [*(f"torch._C.{name}" for name in paths._PRIVATE), "torch.autograd.forward_ad._current_level"]


@pytest.mark.parametrize("name", PRIVATE)
def test_without_a_private_name_it_is_torchs(name):
    assert answers(name) == TORCHS


def test_without_a_cheap_way_to_hide_from_dynamo_there_is_another():
    assert answers("torch._C._dynamo.eval_frame.set_code_exec_strategy") == OURS


def test_the_same_range_is_claimed_everywhere():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (claimed,) = (each.removeprefix("torch>=") for each in dependencies if each.startswith("torch"))
    (developed,) = re.findall(r"^torch==([\d.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    sentence = f"torch {claimed} or newer; it is developed and tested with torch {developed.removesuffix('.0')}"
    for page in ("README.md", "CHANGELOG.md", "docs/pages/index.md"):
        assert sentence in (ROOT / page).read_text(), page
