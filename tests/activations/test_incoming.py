"""The gradient that arrives belongs to whoever computed it: it is read, however large it is and whoever holds it."""

import subprocess
import sys

import pytest

# Above 32 MiB a fresh result costs page faults, so that a result in the place of what arrives would pay.
START = """
import torch, torch.nn.functional as F, rectifier.functional as rf
torch.set_num_threads(1)
COUNT = (1 << 23) + 1
FUNCTIONS = {
    "leaky_relu": lambda z, library: library.leaky_relu(z, 0.1),
    "elu": lambda z, library: library.elu(z),
    "selu": lambda z, library: library.selu(z),
    "prelu": lambda z, library: library.prelu(z, torch.full((1,), 0.25, requires_grad=True)),
}
"""

KEPT_BY_ITS_STORAGE = """
for name, function in FUNCTIONS.items():
    z, kept = -torch.ones(COUNT, requires_grad=True), []
    h = function(z, rf)
    h.register_hook(lambda delta: kept.append(delta.untyped_storage()))
    (h * torch.full((COUNT,), 3.0)).sum().backward()
    assert torch.equal(torch.empty(0).set_(kept[0]), torch.full((COUNT,), 3.0)), name
"""

GIVEN_TWICE = """
class Loss(torch.autograd.Function):
    '''The gradient is made with the loss, and only its memory is kept.'''
    @staticmethod
    def forward(ctx, h):
        ctx.memory, ctx.count = torch.full_like(h, 3.0).untyped_storage(), h.numel()
        return h.sum()
    @staticmethod
    def backward(ctx, delta):
        return torch.empty(0).set_(ctx.memory, 0, (ctx.count,), (1,))

for name, function in FUNCTIONS.items():
    z = -torch.ones(COUNT, requires_grad=True)
    loss = Loss.apply(function(z, rf))
    gradients = [torch.autograd.grad(loss, z, retain_graph=True)[0] for _ in range(2)]
    assert torch.equal(*gradients), name
"""

MANY_AT_ONCE = """
for name, function in FUNCTIONS.items():
    z, seeds = torch.randn(COUNT, requires_grad=True), torch.stack([torch.ones(COUNT), torch.arange(COUNT) * 1e-7])
    found, right = (
        torch.autograd.grad(function(z, library), z, seeds, is_grads_batched=True)[0] for library in (rf, F)
    )
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6)
"""

JACOBIAN = """
from torch.autograd.functional import jacobian
for name, function in FUNCTIONS.items():
    def losses(x, library):
        h = function(x, library)
        return torch.stack([h.sum(), h.square().sum()])
    x = torch.randn(COUNT)
    found, right = (jacobian(lambda x: losses(x, library), x, vectorize=True) for library in (rf, F))
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6)
"""


@pytest.mark.parametrize("program", [KEPT_BY_ITS_STORAGE, GIVEN_TWICE, MANY_AT_ONCE, JACOBIAN])
def test_it_is_only_read(program):
    done = subprocess.run(
        [sys.executable, "-c", START + program], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
