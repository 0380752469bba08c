"""The laws that every member obeys, each a function that raises AssertionError when it is broken.

A law takes `f`, which is tried, and the member, which says what is right.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.autograd.gradcheck import GradcheckError

from tests.activations.members import Member

Function = Callable[[Tensor], Tensor]
KINKS = (0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0, 10.0)
EXACT = {"leaky_relu", "prelu", "relu"}
LAWS: dict[str, Callable[[Function, Member], None]] = {}


def law(function: Callable[[Function, Member], None]) -> Callable[[Function, Member], None]:
    LAWS[function.__name__] = function
    return function


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 7, reach: float = 4.0) -> Tensor:
    """Uniform values; every seventh is exactly 0, as after dropout or a ReLU."""
    generator = torch.Generator().manual_seed(seed)
    z = (torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.5) * 2 * reach
    return z.flatten().masked_fill(torch.arange(z.numel()) % 7 == 3, 0.0).view(shape).to(dtype)


def incoming(like: Tensor) -> Tensor:
    """An incoming gradient that is 0 nowhere: where z is 0 the derivative must show."""
    delta = draw(like.numel(), seed=3, reach=2.0).view(like.shape)
    return torch.where(delta == 0, 0.77, delta).to(like.dtype)


def away_from_kinks(*shape: int) -> Tensor:
    z = draw(*shape) + 0.013
    distance = torch.stack([(z - kink).abs() for kink in KINKS]).amin(0)
    return torch.where(distance < 2e-3, z + 5e-3, z)


def both(f: Function, z: Tensor, delta: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The value, and the gradient for an incoming gradient that is not 1."""
    leaf = z.detach().requires_grad_() if z.is_leaf or not z.requires_grad else z
    h = f(leaf)
    if delta is None:
        delta = incoming(h)
    (gradient,) = torch.autograd.grad(h, leaf, delta)
    return h.detach(), gradient


def close(given: Tensor, right: Tensor, member: Member) -> None:
    assert given.dtype == right.dtype
    assert given.shape == right.shape
    if member.name in EXACT:
        assert torch.equal(given.nan_to_num(9e9), right.nan_to_num(9e9)), (given - right).abs().max()
    else:
        # Read off the output, an exponential's derivative is off by one rounding of the output.
        rounding = torch.finfo(right.dtype).eps
        relative = 1e-7 if right.dtype == torch.float64 else 8 * rounding
        torch.testing.assert_close(given, right, equal_nan=True, atol=2 * rounding, rtol=relative)


@law
def value_and_gradient_are_the_formulas(f: Function, member: Member) -> None:
    z = draw(7, 5, 11)
    delta = incoming(z)
    value, gradient = both(f, z, delta)
    choice = member.choice
    np.testing.assert_allclose(value.numpy(), choice.value(z.numpy()), rtol=1e-9, atol=1e-12)
    slope = choice.derivative(z.numpy())
    np.testing.assert_allclose(gradient.numpy(), delta.numpy() * slope, rtol=1e-6, atol=1e-11)


@law
def numerical_gradients_agree(f: Function, member: Member) -> None:
    z = away_from_kinks(3, 5, 2).requires_grad_()
    try:
        # The gradient within what central differences tell; celu's in torch rounds 1/alpha to float32.
        gradcheck(f, (z,), check_batched_grad=True, atol=1e-6, rtol=1e-5)
        gradgradcheck(f, (z,), check_batched_grad=True, atol=1e-6, rtol=1e-5)
    except (GradcheckError, RuntimeError) as error:
        raise AssertionError(str(error)) from error


@law
def special_values_are_torchs(f: Function, member: Member) -> None:
    inf, nan = float("inf"), float("nan")
    for dtype in (torch.float64, torch.float32):
        tiny = torch.finfo(dtype).smallest_normal
        z = torch.tensor([0.0, -0.0, inf, -inf, nan, tiny, -tiny, tiny / 8, -tiny / 8, 1e30, -1e30], dtype=dtype)
        for delta in (torch.ones_like(z), torch.full_like(z, -0.5), torch.full_like(z, inf), torch.zeros_like(z)):
            for given, right in zip(both(f, z, delta), both(member.theirs, z, delta), strict=True):
                close(given, right, member)
                # Close says nothing of what lies between NaN and a number.
                assert torch.equal(given.isnan(), right.isnan())


@law
def every_dtype_is_kept_and_right(f: Function, member: Member) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        z = draw(7, 5, 11, dtype=dtype)
        for given, right in zip(both(f, z), both(member.theirs, z), strict=True):
            assert given.dtype == dtype
            close(given, right, member)


@law
def every_layout_is_kept_and_right(f: Function, member: Member) -> None:
    base = draw(7, 5, 3, 11)
    layouts = {
        "empty": draw(0, 5), "0-dimensional": draw(1)[0] - 1.3, "strided": draw(7, 22)[:, ::2],
        "transposed": draw(11, 7).t(), "reversed": base.permute(3, 2, 1, 0), "sliced": base[1:, :, :, 2:9],
        "channels last": base.contiguous(memory_format=torch.channels_last), "expanded": draw(1, 5).expand(7, 5),
        "3-d channels last": draw(2, 5, 3, 2, 7).contiguous(memory_format=torch.channels_last_3d),
    }  # fmt: skip
    for name, z in layouts.items():
        value, gradient = both(f, z)
        right, right_gradient = both(member.theirs, z)
        close(value, right, member)
        close(gradient, right_gradient, member)
        assert value.stride() == right.stride(), name


@law
def nothing_that_was_given_is_changed(f: Function, member: Member) -> None:
    z, delta = draw(7, 5, 11), incoming(draw(7, 5, 11))
    z_before, delta_before = z.clone(), delta.clone()
    leaf = z.requires_grad_()
    h = f(leaf)
    h_before = h.detach().clone()
    first = torch.autograd.grad(h, leaf, delta, retain_graph=True)[0]
    kept = first.clone()
    second = torch.autograd.grad(h, leaf, delta)[0]
    assert torch.equal(z.detach(), z_before), "the input"
    assert torch.equal(delta, delta_before), "the incoming gradient"
    assert torch.equal(h.detach(), h_before), "the output"
    assert torch.equal(first, kept)
    assert torch.equal(first, second), "backward is not repeatable"
    assert h.data_ptr() != z.data_ptr()


@law
def in_place_is_torchs_in_place(f: Function, member: Member) -> None:
    """`f` is tried on a copy; what it does to it must be what torch does, errors included."""
    if member.their_inplace is None:
        return

    def outcome(function: Function) -> tuple[object, ...]:
        leaf = draw(7, 5).requires_grad_()
        z = leaf * 1.0
        try:
            h = function(z)
            same = h.data_ptr() == z.data_ptr()
            (gradient,) = torch.autograd.grad(h, leaf, torch.ones_like(h))
            return same, h.tolist(), gradient.tolist()
        except RuntimeError as error:
            return type(error), str(error)

    assert outcome(f) == outcome(member.their_inplace)
    leaf = draw(7, 5).requires_grad_()
    try:
        f(leaf)
    except RuntimeError as error:
        assert "a leaf Variable that requires grad is being used in an in-place operation" in str(error)  # noqa: PT017
    else:
        raise AssertionError("a leaf was overwritten")


@law
def forward_mode_is_right(f: Function, member: Member) -> None:
    z, tangent = draw(7, 5), incoming(draw(7, 5))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(z.clone().requires_grad_(), tangent)
        value, given = forward_ad.unpack_dual(f(dual))
        right = forward_ad.unpack_dual(member.theirs(dual)).tangent
        assert given is not None
        close(value.detach(), member.theirs(z), member)
        close(given.detach(), right.detach(), member)
    # The graph was recorded outside of the level, and is gone through inside of it.
    leaf = z.clone().requires_grad_()
    h, right_h = f(leaf), member.theirs(leaf)
    with forward_ad.dual_level():
        delta = forward_ad.make_dual(torch.ones_like(z), tangent)
        given, right = (forward_ad.unpack_dual(torch.autograd.grad(out, leaf, delta)[0]) for out in (h, right_h))
        assert given.tangent is not None
        close(given.tangent, right.tangent, member)


@law
def function_transforms_are_right(f: Function, member: Member) -> None:
    z = away_from_kinks(7, 5).abs() * draw(7, 5).sign().add(0.5).sign()
    theirs = member.theirs
    for transform in (
        lambda g: torch.func.grad(lambda x: g(x).square().sum()),
        torch.func.vmap,
        lambda g: torch.func.vmap(torch.func.grad(lambda x: g(x).square().sum())),
        torch.func.jacrev,
        torch.func.jacfwd,
        lambda g: torch.func.hessian(lambda x: g(x).square().sum()),
    ):
        torch.testing.assert_close(transform(f)(z), transform(theirs)(z), rtol=1e-6, atol=1e-9)
    # A graph recorded outside of a transform, and gone through inside of it.
    leaf = z.clone().requires_grad_()
    each = []
    for h in (f(leaf), theirs(leaf)):
        seeds = torch.stack([torch.ones_like(z), draw(7, 5, seed=5)])
        each.append(torch.autograd.grad(h, leaf, seeds, is_grads_batched=True, retain_graph=True)[0])
        each.append(torch.func.vmap(lambda d, h=h: torch.autograd.grad(h, leaf, d, retain_graph=True)[0])(seeds))
    for given, right in zip(each[:2], each[2:], strict=True):
        torch.testing.assert_close(given, right, rtol=1e-6, atol=1e-12)


@law
def saved_tensors_may_be_moved_away(f: Function, member: Member) -> None:
    """Offloading to the host and recomputing, which is how big models are trained."""
    z, delta = draw(7, 5), incoming(draw(7, 5))
    right = both(f, z, delta)

    def packed(x: Tensor) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t.clone()):
            return f(x)

    def checkpointed(reentrant: bool) -> Function:
        return lambda x: torch.utils.checkpoint.checkpoint(f, x, use_reentrant=reentrant)

    for tried in (packed, checkpointed(False)):
        for given, expected in zip(both(tried, z, delta), right, strict=True):
            assert torch.equal(given, expected)
    leaf = z.clone().requires_grad_()
    checkpointed(True)(leaf).backward(delta)
    assert torch.equal(leaf.grad, right[1])


@law
def autocast_is_torchs(f: Function, member: Member) -> None:
    weight = draw(5, 5, dtype=torch.float32)
    outcomes = []
    for function in (f, member.theirs):
        z = draw(7, 5, dtype=torch.float32).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            plain, after_linear = function(z), function(F.linear(z, weight))
        (gradient,) = torch.autograd.grad(plain.float().sum() + after_linear.float().sum(), z)
        outcomes.append((plain.detach(), after_linear.detach(), gradient))
    for given, right in zip(*outcomes, strict=True):
        assert given.dtype == right.dtype
        torch.testing.assert_close(given, right, rtol=2e-2, atol=2e-2)


@law
def compiles_into_one_graph(f: Function, member: Member) -> None:
    z = draw(7, 5)
    torch._dynamo.reset()
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    for given, right in zip(both(compiled, z), both(member.theirs, z), strict=True):
        torch.testing.assert_close(given, right, rtol=1e-6, atol=1e-9)
    explained = torch._dynamo.explain(f)(z)
    assert explained.graph_break_count == 0


@law
def anomaly_mode_and_tracing_see_it_as_torchs(f: Function, member: Member) -> None:
    z = draw(7, 5)
    with torch.autograd.detect_anomaly(check_nan=False):
        given = both(f, z)[1]
    close(given, both(member.theirs, z)[1], member)
    traced = torch.jit.trace(f, (draw(7, 5, seed=2).requires_grad_(),), check_trace=False)
    close(traced(z), member.theirs(z), member)


@law
def subclasses_modes_and_fakes_are_torchs(f: Function, member: Member) -> None:
    class Named(torch.Tensor):
        pass

    z = draw(7, 5).as_subclass(Named).requires_grad_()
    assert type(f(z)) is Named
    seen = []

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    leaf = draw(7, 5).requires_grad_()
    with Spy():
        close(f(leaf).detach(), member.theirs(leaf).detach(), member)
    assert seen
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        fake = torch.empty(7, 5, requires_grad=True)
        h = f(fake)
        h.sum().backward()
        assert type(h).__name__ == type(fake.grad).__name__ == "FakeTensor"
    from torch.utils._python_dispatch import TorchDispatchMode

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    h = f(leaf)
    with Recorder():
        given = torch.autograd.grad(h, leaf, torch.ones_like(h))[0]
    close(given, both(member.theirs, leaf, torch.ones_like(leaf))[1], member)
