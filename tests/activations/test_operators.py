"""PReLU's operators under everything that records, fakes, batches or transforms calls."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.library import Library, opcheck
from torch.testing import assert_close

import rectifier.functional as rf
from rectifier.activations import prelu
from rectifier.activations.prelu import prelu_backward, prelu_forward

pytestmark = pytest.mark.usefixtures("ours_at_every_size", "each_way")

LAYOUTS = {
    "rows": lambda: torch.randn(37, 5),
    "image": lambda: torch.randn(7, 5, 3, 19),
    "channels last": lambda: torch.randn(7, 5, 3, 11).contiguous(memory_format=torch.channels_last),
    "transposed": lambda: torch.randn(7, 11, 5).movedim(-1, 1),
    "strided": lambda: torch.randn(37, 10)[:, ::2],
    "expanded": lambda: torch.randn(1, 5, 11).expand(7, 5, 11),
    "one channel": lambda: torch.randn(7, 1, 11),
    "flat": lambda: torch.randn(101),
    "0-dimensional": lambda: torch.randn(()),
    "empty": lambda: torch.randn(0, 5),
}
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def tensors(layout="image", dtype=torch.float32, one=False):
    torch.manual_seed(3)
    z = LAYOUTS[layout]().to(dtype)
    slopes = torch.randn(1 if one or z.dim() < 2 else z.shape[1]).to(dtype)
    return torch.randn(z.shape).to(dtype), z, slopes


def both(f, z, slopes, delta):
    z, slopes = z.detach().requires_grad_(), slopes.detach().requires_grad_()
    h = f(z, slopes)
    return h.detach(), *torch.autograd.grad(h, (z, slopes), delta)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fakes_agree_with_what_is_computed(layout, dtype):
    delta, z, slopes = tensors(layout, dtype)
    opcheck(prelu_forward, (z, slopes))
    opcheck(prelu_backward, (delta, z, slopes))


@pytest.mark.parametrize("layout", ["image", "channels last", "flat"])
def test_operators_are_sound_for_tensors_that_want_gradients(layout):
    delta, z, slopes = tensors(layout)
    wanting = z.requires_grad_(), slopes.requires_grad_()
    opcheck(prelu_forward, wanting)
    opcheck(prelu_backward, (delta, *wanting))


def wrong_shape(delta, z, slopes):
    return torch.empty_like(z), z.new_empty(slopes.shape[0] + 1)


def wrong_strides(delta, z, slopes):
    return torch.empty_like(z, memory_format=torch.contiguous_format), torch.empty_like(slopes)


def wrong_dtype(delta, z, slopes):
    return torch.empty_like(z), torch.empty_like(slopes, dtype=torch.float64)


@pytest.mark.parametrize("wrong", [wrong_shape, wrong_strides, wrong_dtype])
def test_a_fake_that_disagrees_would_be_caught(wrong, monkeypatch):
    monkeypatch.setattr(prelu, "_LIBRARY", Library(f"rectifier_{wrong.__name__}", "FRAGMENT"))
    faulty = prelu._operator(
        "backward(Tensor delta, Tensor z, Tensor slopes) -> (Tensor, Tensor)",
        prelu._backward, wrong, prelu._backward_batched, None,
    )  # fmt: skip
    with pytest.raises(torch.testing._internal.optests.generate_tests.OpCheckError):
        opcheck(faulty, tensors("channels last"))


def test_an_operator_that_returns_its_input_would_be_caught(monkeypatch):
    monkeypatch.setattr(prelu, "_LIBRARY", Library("rectifier_aliases", "FRAGMENT"))
    faulty = prelu._operator(
        "forward(Tensor z, Tensor slopes) -> Tensor",
        lambda z, slopes: z, prelu._forward_fake, prelu._forward_batched, None,
    )  # fmt: skip
    with pytest.raises(torch.testing._internal.optests.generate_tests.OpCheckError):
        opcheck(faulty, tensors()[1:])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fake_and_meta_tensors_get_the_shapes_and_strides_of_real_ones(layout):
    delta, z, slopes = tensors(layout)
    right = (prelu_forward(z, slopes), *prelu_backward(delta, z, slopes))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(tensor) for tensor in (delta, z, slopes)]
        faked = (prelu_forward(*fakes[1:]), *prelu_backward(*fakes))
    metas = [torch.empty_strided(t.shape, t.stride(), device="meta") for t in (delta, z, slopes)]
    on_meta = (prelu_forward(*metas[1:]), *prelu_backward(*metas))
    for real, fake, meta in zip(right, faked, on_meta, strict=True):
        significant = [dim for dim, size in enumerate(real.shape) if size > 1 and real.numel()]
        for given in (fake, meta):
            assert (given.shape, given.dtype) == (real.shape, real.dtype)
            assert [given.stride(dim) for dim in significant] == [real.stride(dim) for dim in significant]


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_an_operator_is_one_node_for_any_shape(mode):
    delta, z, slopes = tensors("channels last")
    graph = make_fx(prelu_backward, tracing_mode=mode)(delta, z, slopes)
    assert [node.target for node in graph.graph.nodes if "prelu" in str(node.target)] == [prelu_backward]
    for given, right in zip(graph(delta, z, slopes), prelu_backward(delta, z, slopes), strict=True):
        assert torch.equal(given, right)
    if mode == "symbolic":
        more = torch.randn(2, 5, 9, 4)
        assert graph(more, more, slopes)[0].shape == more.shape


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_a_whole_step_is_traced_as_torchs(mode):
    delta, z, slopes = tensors()

    def step(function):
        return lambda x, a, d: torch.autograd.grad(function(x, a), (x, a), d)

    leaves = z.requires_grad_(), slopes.requires_grad_()
    ours, theirs = (make_fx(step(function), tracing_mode=mode)(*leaves, delta) for function in (rf.prelu, F.prelu))
    assert [node.target for node in ours.graph.nodes] == [node.target for node in theirs.graph.nodes]


def test_a_backward_pass_is_traced_with_torchs_operators():
    delta, z, slopes = tensors()
    leaves = z.requires_grad_(), slopes.requires_grad_()
    h = rf.prelu(*leaves)
    graph = make_fx(lambda d: torch.autograd.grad(h, leaves, d, retain_graph=True))(delta)
    assert "rectifier" not in graph.code
    for ours, theirs in zip(graph(delta), both(F.prelu, z, slopes, delta)[1:], strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("in_dims", [(0, 0, None), (0, None, None), (None, 0, 0), (2, 0, 1)])
def test_operators_are_batched(in_dims):
    sizes = {0: (3, 7, 5), 2: (7, 5, 3), None: (7, 5)}
    torch.manual_seed(1)
    delta, z = (torch.randn(sizes[dim]) for dim in in_dims[:2])
    slopes = torch.randn({0: (3, 5), 1: (5, 3), None: (5,)}[in_dims[2]])
    given = torch.vmap(prelu_backward, in_dims)(delta, z, slopes)

    def of(index):
        return [t if dim is None else t.select(dim, index) for t, dim in zip((delta, z, slopes), in_dims, strict=True)]

    for index in range(3):
        for batched, right in zip(given, prelu_backward(*of(index)), strict=True):
            assert_close(batched[index], right)
    if in_dims[1:] != (None, None):
        values = torch.vmap(prelu_forward, in_dims[1:])(z, slopes)
        for index in range(3):
            assert torch.equal(values[index], prelu_forward(*of(index)[1:]))


@pytest.mark.parametrize("layout", ["image", "flat"])
def test_an_operator_has_torchs_derivatives_where_it_is_called_by_itself(layout):
    delta, z, slopes = tensors(layout)
    leaves = [tensor.requires_grad_() for tensor in (delta, z, slopes)]
    for ours, theirs in (
        (prelu_forward(z, slopes), F.prelu(z, slopes)),
        (
            prelu_backward(*leaves)[0].square() + prelu_backward(*leaves)[1].sum(),
            torch.where(z > 0, delta, prelu._torchs_backward(*leaves, prelu._channel(z))[0]).square()
            + prelu._torchs_backward(*leaves, prelu._channel(z))[1].sum(),
        ),
    ):
        found, right = (torch.autograd.grad(h.sum(), leaves, allow_unused=True) for h in (ours, theirs))
        assert_close(found, right)
    gradient = torch.func.grad(lambda x: prelu_forward(x, slopes).square().sum())(z)
    assert_close(gradient, torch.func.grad(lambda x: F.prelu(x, slopes).square().sum())(z))


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda delta, z, slopes: (delta[:1], z, slopes),
        lambda delta, z, slopes: (delta.flatten(), z, slopes),
        lambda delta, z, slopes: (delta.double(), z, slopes),
        lambda delta, z, slopes: (delta, z, slopes.double()),
        lambda delta, z, slopes: (delta, z, slopes[:3]),
        lambda delta, z, slopes: (delta, z, torch.randn(500)),
    ],
)
def test_an_operator_refuses_what_does_not_fit(spoiled):
    with pytest.raises((RuntimeError, NotImplementedError)):
        prelu_backward(*spoiled(*tensors()))


def negative(shape):
    """A view whose memory holds the numbers with the other sign."""
    view = torch.randn(shape, dtype=torch.complex64).conj().imag
    assert view.is_neg()
    return view


@pytest.mark.parametrize("which", ["z", "slopes", "delta", "all"])
@pytest.mark.parametrize("count", [7, 30_001])
def test_negative_views_have_their_own_sign(which, count):
    torch.manual_seed(4)
    shapes = {"delta": (count, 5), "z": (count, 5), "slopes": (5,)}
    delta, z, slopes = (negative(s) if which in (name, "all") else torch.randn(s) for name, s in shapes.items())
    for ours, theirs in zip(both(rf.prelu, z, slopes, delta), both(F.prelu, z, slopes, delta), strict=True):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
    for ours, theirs in ((lambda x: rf.leaky_relu(x, 0.1), lambda x: F.leaky_relu(x, 0.1)), (rf.elu, F.elu)):
        found, right = ([*both(lambda x, _, g=g: g(x) + 0 * _.sum(), z, slopes, delta)][:2] for g in (ours, theirs))
        for a, b in zip(found, right, strict=True):
            assert_close(a, b)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_backward_pass_under_autocast_is_torchs(dtype):
    delta, z, slopes = tensors(dtype=dtype)
    found = []
    for function in (rf.prelu, F.prelu):
        leaves = z.detach().requires_grad_(), slopes.detach().requires_grad_()
        h = function(*leaves)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found.append(torch.autograd.grad(h, leaves, delta))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        assert_close(ours, theirs, rtol=16 * torch.finfo(dtype).eps, atol=256 * torch.finfo(dtype).eps)


def test_a_backward_pass_in_another_thread():
    delta, z, slopes = tensors()
    right = both(F.prelu, z, slopes, delta)
    leaves = z.requires_grad_(), slopes.requires_grad_()
    h, found = rf.prelu(*leaves), []
    thread = threading.Thread(target=lambda: found.extend(torch.autograd.grad(h, leaves, delta)))
    thread.start()
    thread.join()
    for ours, theirs in zip(found, right[1:], strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize(
    "f", [rf.prelu, lambda z, a: rf.leaky_relu(z, 0.1) * a.sum(), lambda z, a: rf.elu(z) * a.sum()]
)
def test_hooks_on_saved_tensors_that_come_after_the_forward_pass_see_nothing(f):
    delta, z, slopes = tensors()
    leaves = z.requires_grad_(), slopes.requires_grad_()
    right = torch.autograd.grad(f(*leaves), leaves, delta)
    h = f(*leaves)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: pytest.fail("packed"), lambda t: pytest.fail("unpacked")):
        found = torch.autograd.grad(h, leaves, delta)
    for ours, theirs in zip(found, right, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["leaky_relu", "elu", "prelu"])
def test_the_gradient_of_a_gradient_is_torchs_where_the_incoming_one_is_a_constant(name):
    z = torch.randn(7, 5, requires_grad=True)
    a = (torch.tensor([0.3]),) if name == "prelu" else ()
    found = []
    for library in (rf, F):
        (gradient,) = torch.autograd.grad(getattr(library, name)(z, *a).square().sum(), z, create_graph=True)
        found.append((gradient, torch.autograd.grad(gradient.sum(), z)[0]))
        (linear,) = torch.autograd.grad(getattr(library, name)(z, *a).sum(), z, create_graph=True)
        found[-1] += torch.autograd.grad(linear.sum(), z)
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs)
