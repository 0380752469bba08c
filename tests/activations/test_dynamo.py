"""Eager forward passes whose backward pass Dynamo or compiled autograd takes: what was wrong here ended the process."""

import os
import subprocess
import sys

import pytest

from tests.activations.conftest import HAS_COMPILER

START = """
import faulthandler, sys, torch, torch.nn.functional as F, rectifier.functional as rf
from rectifier.activations import functional, kernel
faulthandler.enable()
torch.set_num_threads(1)
"""

WAYS = {
    "compiled autograd": """
import torch._dynamo.compiled_autograd as compiled_autograd
def step(forward):
    loss = forward()
    with compiled_autograd._enable(torch.compile(backend="eager", fullgraph=True)):
        loss.backward()
""",
    "a compiled step": """
@torch.compile(backend="eager")
def backward(h):
    l = h.sin().sum()
    l.backward()
def step(forward):
    backward(forward(reduced=False))
""",
    "a compiled step with an eager forward": """
@torch.compile(backend="eager")
def step(forward):
    h = eager(forward)
    l = h.sin().sum()
    l.backward()
eager = torch.compiler.disable(lambda forward: forward(reduced=False))
""",
    "the configuration": """
torch._dynamo.config.compiled_autograd = True
@torch.compile(backend="eager")
def backward(h):
    l = h.sin().sum()
    l.backward()
def step(forward):
    backward(forward(reduced=False))
""",
}

REPEATED = """
def check(name, size, arguments):
    z = torch.randn(*size, requires_grad=True)
    w = z.detach().clone().requires_grad_()
    others = [torch.full((argument,), 0.25, requires_grad=True) for argument in arguments]
    copies = [other.detach().clone().requires_grad_() for other in others]
    def forward(reduced=True):
        h = getattr(rf, name)(z, *others)
        assert h.grad_fn.name().startswith("_"), "not ours: " + h.grad_fn.name()
        return h.sin().sum() if reduced else h
    step(forward)
    getattr(F, name)(w, *copies).sin().sum().backward()
    for ours, theirs in zip((z, *others), (w, *copies)):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)

for repetition in range(50):
    check("prelu", (1 << 17 + repetition % 2,), (1,))
kernel.functions = lambda: None
functional.LEAKY_RELU_FROM = functional.ELU_FROM = functional.PRELU_FROM = 0
for repetition in range(3):
    for name, arguments in ("prelu", (5,)), ("leaky_relu", ()), ("elu", ()), ("celu", ()), ("selu", ()):
        check(name, (67, 5), arguments)
print("right every time")
"""


def run(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", START + program], capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_right_and_the_heap_stays_whole(way):
    done = run(WAYS[way] + REPEATED, RECTIFIER_COMPILE="1" if HAS_COMPILER else "0")
    assert (done.returncode, done.stdout) == (0, "right every time\n"), done.stderr[-3_000:]


COUNTED = """
from torch._dynamo.utils import counters
functional.LEAKY_RELU_FROM = functional.ELU_FROM = functional.PRELU_FROM = 0
graphs = []
def backend(graph, inputs):
    graphs.append(graph.code)
    return graph.forward
@torch.compile(backend=backend)
def backward(h):
    l = h.sin().sum()
    l.backward()
def counted(library):
    torch._dynamo.reset()
    counters.clear()
    graphs.clear()
    for width in range(3, 15):
        z, a = torch.randn(7, width, requires_grad=True), torch.full((1,), 0.25, requires_grad=True)
        for h in (library.prelu(z, a), library.leaky_relu(z, 0.1), library.elu(z)):
            backward(h)
    return {name: dict(each) for name, each in counters.items()}, list(graphs)
theirs, ours = counted(F), counted(rf)
assert theirs[0]["frames"]["ok"] > 0
assert ours == theirs, (ours, theirs)
"""


def test_dynamo_compiles_as_much_as_with_torchs():
    """A frame of ours that it took would cost seconds, and fill its cache until it gives up with a warning."""
    done = run(COUNTED)
    assert (done.returncode, done.stderr) == (0, "")


IN_ONE_GRAPH = """
import torch._dynamo.compiled_autograd as compiled_autograd
functional.PRELU_FROM = 0
found = []
def backend(graph, inputs):
    found.extend(str(node.target) for node in graph.graph.nodes)
    return graph.forward
for shape in (7, 5), (9, 5), (11, 5):
    z, a = torch.randn(*shape, requires_grad=True), torch.full((5,), 0.25, requires_grad=True)
    h = rf.prelu(z, a)
    with compiled_autograd._enable(torch.compile(backend=backend, fullgraph=True, dynamic=True)):
        h.square().sum().backward()
    torch.testing.assert_close(z.grad, torch.where(z > 0, 2 * z, 2 * 0.25**2 * z).detach())
print(found.count("rectifier.prelu_backward.default") >= 1, [name for name in found if "data_ptr" in name])
"""


def test_compiled_autograd_sees_one_operator():
    done = run(IN_ONE_GRAPH)
    assert (done.returncode, done.stdout) == (0, "True []\n"), done.stderr[-3_000:]


CHECKPOINTED = """
from torch.utils.checkpoint import checkpoint
functional.LEAKY_RELU_FROM = functional.ELU_FROM = functional.PRELU_FROM = 0
a = torch.full((5,), 0.25, requires_grad=True)
for function in (lambda z: rf.prelu(z, a), rf.leaky_relu, rf.elu):
    for reentrant in (True, False):
        for backend in ("eager", "aot_eager"):
            torch._dynamo.reset()
            z = torch.randn(7, 5, requires_grad=True)
            @torch.compile(backend=backend)
            def backward(h):
                l = h.square().sum()
                l.backward()
            backward(checkpoint(function, z, use_reentrant=reentrant))
            (right,) = torch.autograd.grad(function(z).square().sum(), z)
            torch.testing.assert_close(z.grad, right)
print("right")
"""


def test_recomputed_forwards_in_a_compiled_step():
    done = run(CHECKPOINTED)
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr[-3_000:]


LOADED = """
z = torch.randn(1 << 17, requires_grad=True)
rf.prelu(z, torch.full((1,), 0.25, requires_grad=True)).sum().backward()
print([name for name in sys.modules if name == "torch._dynamo" or name.startswith("sympy")])
"""


def test_eager_training_does_not_load_dynamo():
    done = run(LOADED)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr[-3_000:]
