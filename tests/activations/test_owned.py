"""A large gradient takes the place of the one that arrives where that is nobody's, and of no other."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier.functional as rf
import rectifier.nn as rn
from rectifier.activations import functional, kernel, owned, slope

SHAPE = (5, 7)
ARMS = {
    "leaky_relu": (rf.leaky_relu, F.leaky_relu, False),
    "elu": (rf.elu, F.elu, False),
    "selu": (rf.selu, F.selu, False),
    "prelu": (rf.prelu, F.prelu, True),
}


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    for module, name in ((owned, "LARGE"), (functional, "OUTPUT_FROM"), (functional, "PRELU_FROM")):
        monkeypatch.setattr(module, name, 0)


def test_this_torch_tells_a_gradient_of_nobodys():
    assert owned.alone() is not None


def test_it_tells_where_a_prelu_asks_first():
    """Inside of a Function's forward gradients are off, and an answer is kept for the process."""
    program = (
        "import torch, rectifier.functional as rf; from rectifier.activations import owned; owned.LARGE = 0\n"
        "rf.prelu(torch.randn(1024, 1024, requires_grad=True), torch.tensor([0.25], requires_grad=True))\n"
        "assert owned._counts_of_nobodys.cache_info().currsize == 1, 'it was not asked'; print(owned.alone())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert re.fullmatch(r"\(\d+, \d+, \d+\)\n", told.stdout)


def test_nothing_is_told_under_a_profiler(monkeypatch):
    monkeypatch.setattr(sys, "getprofile", lambda: print)
    assert owned.alone() is None


def test_each_state_of_the_frames_has_its_own_answer():
    """A graph break that is refused leaves a hook of Dynamo's: each frame then holds its arguments once more."""
    program = (
        "import torch; from rectifier.activations import owned\n"
        "def breaks(x): torch._dynamo.graph_break(); return x\n"
        "before = owned._passed_on(object()), owned.alone()\n"
        "try: torch.compile(breaks, fullgraph=True, backend='eager')(torch.ones(3))\n"
        "except Exception: pass\n"
        "after = owned._passed_on(object()), owned.alone()\n"
        "assert (before[0] == after[0]) == (before[1] == after[1]), (before, after); print(before, after)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stderr


class Cached(torch.autograd.Function):
    """Gives the same tensor as its gradient each time, and keeps it."""

    kept = torch.ones(SHAPE)

    @staticmethod
    def forward(ctx, h):
        return h.sum()

    @staticmethod
    def backward(ctx, delta):
        return Cached.kept


class OfNumpy(torch.autograd.Function):
    """Gives memory of NumPy's, which nothing but NumPy holds."""

    kept = np.ones(SHAPE, np.float32)

    @staticmethod
    def forward(ctx, h):
        return h.sum()

    @staticmethod
    def backward(ctx, delta):
        return torch.from_numpy(OfNumpy.kept)


def by_a_hook(h, z, kept):
    h.register_hook(kept.append)
    return (h * 3).sum()


def detached_by_a_hook(h, z, kept):
    h.register_hook(lambda delta: kept.append(delta.detach()))
    return (h * 3).sum()


def as_numpy_by_a_hook(h, z, kept):
    h.register_hook(lambda delta: kept.append(delta.numpy()))
    return (h * 3).sum()


def in_part_by_a_hook(h, z, kept):
    h.register_hook(lambda delta: kept.append(delta[2:]))
    return (h * 3).sum()


def by_a_hook_of_the_node(h, z, kept):
    h.grad_fn.register_prehook(lambda deltas: kept.append(deltas[0]))
    return (h * 3).sum()


def by_a_hook_after_the_node(h, z, kept):
    h.grad_fn.register_hook(lambda gradients, deltas: kept.append(deltas[0]))
    return (h * 3).sum()


def retained(h, z, kept):
    h.retain_grad()
    kept.append(h)
    return (h * 3).sum()


def beside_a_skip(h, z, kept):
    (h + z).register_hook(kept.append)
    return ((h + z) * 3).sum()


def beside_a_parameter(h, z, kept):
    parameter = torch.zeros(SHAPE, requires_grad=True)
    kept.append(parameter)
    return ((h + parameter) * 3).sum()


def in_a_list_of_two(h, z, kept):
    h.register_hook(kept.append)
    return (torch.stack([h, h * 2]) * 3).sum()


def by_a_function(h, z, kept):
    kept.append(Cached.kept)
    return Cached.apply(h)


def by_numpy(h, z, kept):
    kept.append(OfNumpy.kept)
    return OfNumpy.apply(h)


HELD = [
    by_a_hook, detached_by_a_hook, as_numpy_by_a_hook, in_part_by_a_hook, by_a_hook_of_the_node,
    by_a_hook_after_the_node, retained, beside_a_skip, beside_a_parameter, in_a_list_of_two, by_a_function, by_numpy,
]  # fmt: skip


def passed(arm, case, *, ours):
    """The gradients of z and of the slopes, and what the case kept, as numbers."""
    function, theirs, learned = ARMS[arm]
    z = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3)).requires_grad_()
    slopes = (torch.full((7,), 0.3).requires_grad_(),) if learned else ()
    kept = []
    h = (function if ours else theirs)(z * 1, *slopes)
    case(h, z, kept).backward()
    held = [each.grad if isinstance(each, torch.Tensor) and each.requires_grad else each for each in kept]
    arrays = [each.detach().numpy() if isinstance(each, torch.Tensor) else each for each in held]
    return [z.grad.numpy(), *[each.grad.numpy() for each in slopes], *arrays]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("case", HELD)
def test_what_somebody_holds_is_left_as_it_was(case, arm):
    for mine, torchs in zip(passed(arm, case, ours=True), passed(arm, case, ours=False), strict=True):
        np.testing.assert_allclose(mine, torchs, rtol=1e-5, atol=1e-6)
    assert (Cached.kept == 1).all()
    assert (OfNumpy.kept == 1).all()


@pytest.mark.parametrize("arm", ARMS)
def test_what_the_user_passed_in_is_left_as_it_was(arm):
    function, theirs, learned = ARMS[arm]
    slopes = (torch.full((7,), 0.3),) if learned else ()
    z, delta = (torch.randn(SHAPE, requires_grad=wanted) for wanted in (True, False))
    before = delta.clone()
    (found,) = torch.autograd.grad(function(z, *slopes), z, delta)
    (expected,) = torch.autograd.grad(theirs(z, *slopes), z, delta)
    torch.testing.assert_close(found, expected)
    assert torch.equal(delta, before)
    captured, _ = torch.autograd.grad((h := function(z, *slopes)).mul(before).sum(), (h, z))
    assert torch.equal(captured, before)


@pytest.mark.parametrize("arm", ARMS)
def test_nobodys_gradient_is_taken(arm, monkeypatch):
    if arm == "prelu" and kernel.compiled() is None:
        pytest.skip("without the kernel the pieces need both")
    function, theirs, learned = ARMS[arm]
    slopes = (torch.full((7,), 0.3, requires_grad=True),) if learned else ()
    addresses = []

    class Passing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, delta):
            addresses.append(delta.data_ptr())
            return delta.clone()

    class Fresh(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, delta):
            fresh = delta * 1
            addresses.append(fresh.data_ptr())
            return fresh

    z = torch.randn(SHAPE, requires_grad=True)

    def chain(activation):
        return Fresh.apply(activation(Passing.apply(z), *slopes)).square().sum()

    expected = torch.autograd.grad(chain(theirs), z)
    addresses.clear()
    found = torch.autograd.grad(chain(function), z)
    torch.testing.assert_close(found, expected)
    gave, arrived = addresses
    assert gave == arrived, "the gradient went on in other memory than it came in"


def test_second_derivatives_and_a_second_pass_are_torchs():
    z = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda z: rf.elu(z * 1) * 2, z)
    loss = (rf.leaky_relu(z * 1, 0.2) * 3).sum()
    loss.backward(retain_graph=True)
    first = z.grad.clone()
    loss.backward()
    assert torch.equal(z.grad, 2 * first)


def test_a_stack_of_them_is_the_same_training():
    def trained(activation):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(7, 11), activation(), nn.Linear(11, 5), activation(), nn.Linear(5, 3))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        losses = []
        for _ in range(9):
            loss = (net(torch.randn(13, 7)) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    assert trained(rn.LeakyReLU) == trained(nn.LeakyReLU)
    assert trained(rn.PReLU) == pytest.approx(trained(nn.PReLU), rel=1e-5)


def test_where_the_counts_tell_nothing_no_memory_is_shared(monkeypatch):
    monkeypatch.setattr(owned, "alone", lambda: None)
    delta = torch.ones(SHAPE)
    assert owned.place(delta, torch.zeros(SHAPE)) is None


def test_another_layout_dtype_or_array_is_no_place():
    like = torch.zeros(SHAPE)
    for delta in (
        torch.ones(7, 5).T,
        torch.ones(SHAPE, dtype=torch.float64),
        torch.ones(1).expand(SHAPE),
    ):
        assert owned.place(delta, like) is None
    assert slope.gradients(torch.ones(SHAPE), like, torch.ones(1))[0].shape == SHAPE
