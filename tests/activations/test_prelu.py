"""PReLU's learned slopes: their gradient against the formula and torch's, for every layout and kind of number."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import rectifier.functional as rf
from rectifier.activations import kernel, paths, prelu
from tests.activations.members import SLOPES


@pytest.fixture(autouse=True)
def ours_in_small_pieces(ours_at_every_size, each_way, monkeypatch):
    """Our own backward from the first element on, cut so that even small tensors have several pieces and a rest."""
    monkeypatch.setattr(prelu, "PIECE", 64)
    monkeypatch.setattr(kernel, "BLOCK", 64)


def gradients(function, z, slopes, delta):
    z, slopes = z.detach().requires_grad_(), slopes.detach().requires_grad_()
    return torch.autograd.grad(function(z, slopes), (z, slopes), delta)


def formula(z, slopes, delta):
    """Elementwise in float64, summed over all but the channel."""
    shape = [1] * z.dim()
    if slopes.numel() != 1:
        shape[1] = slopes.numel()
    wide, a = z.double(), slopes.double().reshape(shape if z.dim() else ())
    d_z = torch.where(wide > 0, delta.double(), a * delta.double())
    each = torch.where(wide > 0, 0.0, wide) * delta.double()
    return d_z, each.sum_to_size(shape).reshape(slopes.shape) if z.dim() else each.reshape(slopes.shape)


SHAPES = st.lists(st.integers(0, 9), min_size=0, max_size=5).map(tuple)
NUMBERS = st.floats(-8, 8, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)


@settings(max_examples=150, deadline=None)
@given(shape=SHAPES, one=st.booleans(), data=st.data())
def test_gradients_are_the_formulas(shape, one, data):
    channels = 1 if one or len(shape) < 2 else shape[1]
    slopes = torch.tensor(data.draw(st.lists(NUMBERS, min_size=channels, max_size=channels)), dtype=torch.float64)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    z = torch.randint(-5, 6, shape, generator=generator).double() * 0.37
    order = data.draw(st.permutations(range(len(shape))))
    z = z.permute(order).contiguous().permute([order.index(i) for i in range(len(shape))])
    delta = torch.randn(shape, generator=generator, dtype=torch.float64)
    given_ = gradients(rf.prelu, z, slopes, delta)
    for ours, right in zip(given_, formula(z, slopes, delta), strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-12, atol=1e-12)
    assert given_[0].shape == z.shape
    assert given_[1].shape == slopes.shape
    if z.numel() and all(size > 1 for size in shape):
        assert given_[0].stride() == z.stride(), "the memory format is kept"


LAYOUTS = {
    "rows": lambda: torch.randn(37, 5),
    "image": lambda: torch.randn(7, 5, 3, 11),
    "channels last": lambda: torch.randn(7, 5, 3, 11).contiguous(memory_format=torch.channels_last),
    "volume, channels last": lambda: torch.randn(2, 5, 3, 4, 7).contiguous(memory_format=torch.channels_last_3d),
    "tokens": lambda: torch.randn(7, 11, 5).movedim(-1, 1),
    "strided": lambda: torch.randn(37, 10)[:, ::2],
    "expanded": lambda: torch.randn(1, 5, 11).expand(7, 5, 11),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_gradients_are_torchs(layout, count, dtype):
    torch.manual_seed(3)
    z = LAYOUTS[layout]().to(dtype)
    slopes = torch.tensor(SLOPES[:count], dtype=dtype)
    for delta in (torch.randn(z.shape).to(dtype), torch.ones((), dtype=dtype).expand(z.shape)):
        ours = gradients(rf.prelu, z, slopes, delta)
        theirs = gradients(F.prelu, z, slopes, delta)
        rounding = torch.finfo(dtype).eps
        torch.testing.assert_close(ours[0], theirs[0], rtol=4 * rounding, atol=0)
        # Both round each product to the dtype; the sums differ by the roundings of their terms.
        scale = formula(z, slopes, delta.abs())[1].abs().max().item()
        torch.testing.assert_close(ours[1], theirs[1], rtol=4 * rounding, atol=4 * rounding * scale)


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_one_slope_may_have_any_shape_of_torchs(shape):
    channels = 3 if shape == (3,) else 1
    z = torch.randn(7, 3)
    slopes = torch.full(shape, 0.3) if channels == 1 else torch.tensor([0.3, -1.0, 0.0])
    for ours, theirs in zip(
        *(gradients(f, z, slopes, torch.randn(7, 3).fill_(0.5)) for f in (rf.prelu, F.prelu)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("where", ["z", "delta", "slopes"])
@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_infinite_and_missing_numbers_are_torchs(count, where, value):
    torch.manual_seed(5)
    for row in range(3):
        tensors = {"z": torch.randn(13, 5), "delta": torch.randn(13, 5), "slopes": torch.tensor(SLOPES[:count])}
        tensors["z"][1] = 0.0
        if where == "slopes":
            tensors["slopes"][count // 2] = value
        else:
            tensors[where][row, 2] = value
            tensors["z" if where == "delta" else "delta"][row, 2] = (0.0, 2.0, -2.0)[row]
        ours = gradients(rf.prelu, tensors["z"], tensors["slopes"], tensors["delta"])
        theirs = gradients(F.prelu, tensors["z"], tensors["slopes"], tensors["delta"])
        for given_, right in zip(ours, theirs, strict=True):
            torch.testing.assert_close(given_, right, equal_nan=True)


def test_a_sum_that_overflows_in_half_precision_is_torchs():
    z, delta = torch.full((4_096,), -8.0, dtype=torch.float16), torch.full((4_096,), 4.0, dtype=torch.float16)
    z[::2] = 8.0
    delta[::4] *= -1
    slopes = torch.tensor([0.25], dtype=torch.float16)
    for ours, theirs in zip(gradients(rf.prelu, z, slopes, delta), gradients(F.prelu, z, slopes, delta), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("count", [1, 3])
def test_numerical_gradients_of_both_arguments(count):
    z = torch.tensor([[-2.0, 0.7, -0.3], [1.1, -0.9, 0.4]], dtype=torch.float64).requires_grad_()
    slopes = torch.tensor([0.25, -0.7, 0.0][:count], dtype=torch.float64).requires_grad_()
    assert gradcheck(rf.prelu, (z, slopes), check_batched_grad=True)
    assert gradgradcheck(rf.prelu, (z, slopes), check_batched_grad=True)


@pytest.mark.parametrize("asks", ["z", "slopes"])
def test_only_one_argument_may_ask_for_a_gradient(asks):
    z, slopes = torch.randn(13, 5), torch.tensor(SLOPES)
    leaf = {"z": z, "slopes": slopes}[asks].requires_grad_()
    h = rf.prelu(z, slopes)
    assert type(h.grad_fn).__name__ == "_PReLUBackward"
    h.square().sum().backward()
    ours, leaf.grad = leaf.grad, None
    F.prelu(z, slopes).square().sum().backward()
    torch.testing.assert_close(ours, leaf.grad)


def test_sums_of_many_products_stay_exact():
    """A million products of one sign: a float32 running sum would be off in the third digit."""
    prelu.PIECE = kernel.BLOCK = 1 << 19
    z = -torch.rand(1 << 20, generator=torch.Generator().manual_seed(1)) - 0.5
    delta = torch.full_like(z, 0.1)
    (_, given_) = gradients(rf.prelu, z, torch.tensor([0.25]), delta)
    right = (z.double() * delta.double()).sum().item()
    assert given_.item() == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [lambda d_z, d_a: (d_z * 1.001, d_a), lambda d_z, d_a: (d_z, d_a * 1.001), lambda d_z, d_a: (d_z, d_a.flip(0))],
)
def test_a_wrong_gradient_would_be_caught(wrong, monkeypatch):
    right = prelu.prelu_backward
    monkeypatch.setattr(prelu, "prelu_backward", lambda *tensors: wrong(*right(*tensors)))
    with pytest.raises(AssertionError):
        test_gradients_are_torchs("image", 5, torch.float32)


def test_a_plain_call_is_one_that_nothing_transforms():
    assert paths.ordinary(torch.ones(3))
    assert not paths.ordinary(torch.ones(3).to_sparse())
    assert not paths.ordinary(torch.ones(3, device="meta"))
    with torch.no_grad():
        assert not paths.plain(torch.ones(3))
