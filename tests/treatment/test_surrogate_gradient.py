"""A ReLU whose backward is leaky: the function is ReLU's to the bit, the gradient is everywhere, and no one is told
that it is the derivative."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

import rectifier.functional as rf
from rectifier.activations import function_for, module_for
from rectifier.catalogue import parse
from rectifier.errors import UnknownActivation
from rectifier.hooks import find_unit_axis
from rectifier.hooks.modules import activation_of
from rectifier.nn import SurrogateGradientReLU
from rectifier.treatment import swap, swap_everywhere
from tests.activations.laws import LAWS
from tests.activations.members import Member
from tests.edge import diagnose
from tests.treatment.models import PAIRS, Chooser, Inception, encoder, pair, stack
from tests.watching import Watching

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
INF, NAN = float("inf"), float("nan")


def bits(tensor):
    width = {8: torch.int64, 4: torch.int32, 2: torch.int16}[tensor.element_size()]
    return tensor.detach().contiguous().view(width)


def reference(z, slope):
    """The value of ReLU with the gradient of Leaky ReLU, for finite values."""
    leaky = F.leaky_relu(z, slope)
    return leaky + (F.relu(z) - leaky).detach()


def passed(h, z, delta):
    return torch.autograd.grad(h, z, delta)[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0, 2.5])
def test_the_value_is_relus_to_the_bit_and_the_gradient_is_leaky(dtype, slope):
    tiny = torch.finfo(dtype).smallest_normal
    special = torch.tensor([0.0, -0.0, INF, -INF, NAN, -NAN, tiny, -tiny, tiny / 4, -tiny / 4, 3.0, -3.0])
    z = torch.cat([special, torch.linspace(-7, 7, 77)]).to(dtype).requires_grad_()
    h = rf.surrogate_gradient(z, slope)
    assert h.dtype == dtype
    assert torch.equal(bits(h), bits(F.relu(z)))
    delta = torch.linspace(-2, 3, len(z)).to(dtype)
    expected = torch.where(z > 0, delta, delta * slope)
    assert torch.equal(passed(h, z, delta), expected)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(width=32), max_size=9),
    slope=st.floats(0, 3, allow_subnormal=False),
    delta=st.floats(-9, 9, width=32),
)
def test_any_value_and_slope(values, slope, delta):
    z = torch.tensor(values, requires_grad=True)
    h = rf.surrogate_gradient(z, slope)
    assert torch.equal(bits(h), bits(F.relu(z)))
    given_back = passed(h, z, torch.full_like(h, delta))
    d = torch.tensor(delta)
    assert torch.allclose(given_back, torch.where(z > 0, d, d * slope), rtol=1e-6, atol=0)


def test_slope_0_is_relu_and_a_slope_below_is_refused():
    z = torch.randn(7, 5, requires_grad=True)
    delta = torch.randn(7, 5)
    assert torch.equal(passed(rf.surrogate_gradient(z, 0.0), z, delta), passed(F.relu(z), z, delta))
    with pytest.raises(ValueError, match=r"negative_slope=-0.1 would drive a silent unit the wrong way: give 0 or"):
        rf.surrogate_gradient(z, -0.1)
    with pytest.raises(UnknownActivation, match="must be 0 or more"):
        parse("surrogate_gradient:-0.1")


def test_it_is_not_the_derivative():
    z = torch.tensor([-2.0, -0.7, 0.3, 1.9], dtype=torch.float64, requires_grad=True)
    assert gradcheck(F.relu, (z,))
    assert not gradcheck(lambda x: rf.surrogate_gradient(x, 0.1), (z,), raise_exception=False)
    assert gradcheck(lambda x: rf.surrogate_gradient(x, 0.1), (z[2:].detach().requires_grad_(),))
    with torch.autograd.forward_ad.dual_level(), pytest.raises(NotImplementedError, match="jvp"):
        rf.surrogate_gradient(torch.autograd.forward_ad.make_dual(z, torch.ones_like(z)))


def test_the_backward_itself_is_differentiated_right():
    """What is passed back is linear in δ, so that its own gradient checks, and a penalty on gradients trains."""
    z = torch.tensor([[-2.0, 0.5], [0.7, -0.1]], dtype=torch.float64, requires_grad=True)
    delta = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(lambda x: rf.surrogate_gradient(x, 0.1), (z,), (delta,))
    (first,) = torch.autograd.grad((rf.surrogate_gradient(z, 0.1) ** 2).sum(), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    assert torch.allclose(second, torch.where(z > 0, 2.0, 2 * 0.1 * 0.1).double())


MEMBER = Member(
    "surrogate_gradient:0.1", lambda z: rf.surrogate_gradient(z, 0.1), lambda z: reference(z, 0.1), own_backward=True
)  # fmt: skip


@pytest.mark.parametrize(
    "law",
    [
        "value_and_gradient_are_the_formulas", "every_dtype_is_kept_and_right", "every_layout_is_kept_and_right",
        "nothing_that_was_given_is_changed", "saved_tensors_may_be_moved_away", "autocast_is_torchs",
        "compiles_into_one_graph", "subclasses_modes_and_fakes_are_torchs",
    ],
)  # fmt: skip
def test_it_obeys_the_laws_of_the_family(law):
    LAWS[law](MEMBER.ours, MEMBER)


def test_the_law_of_numerical_gradients_objects():
    with pytest.raises(AssertionError):
        LAWS["numerical_gradients_agree"](MEMBER.ours, MEMBER)


def test_function_transforms():
    z = torch.randn(7, 5, dtype=torch.float64)
    expected = torch.where(z > 0, torch.ones_like(z), torch.full_like(z, 0.1))
    per_sample = torch.func.vmap(torch.func.grad(lambda x: rf.surrogate_gradient(x, 0.1).sum()))
    assert torch.equal(per_sample(z), expected)
    assert torch.equal(torch.func.vmap(lambda x: rf.surrogate_gradient(x, 0.1))(z), F.relu(z))


def test_the_module_copies_pickles_prints_and_has_no_state():
    module = SurrogateGradientReLU(0.2)
    assert repr(module) == "SurrogateGradientReLU(negative_slope=0.2)"
    assert not module.state_dict()
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        z = torch.tensor([-2.0, 3.0], requires_grad=True)
        again(z).sum().backward()
        assert z.grad.tolist() == pytest.approx([0.2, 1.0])
    with pytest.raises(TypeError):
        SurrogateGradientReLU(0.2, inplace=True)


def test_the_catalogue_and_its_readers_know_it():
    choice = parse("SurrogateGradientReLU:0.2")
    assert choice.spec == "surrogate_gradient:0.2"
    assert parse("relu_leaky_backward").spec == "surrogate_gradient:0.01"
    assert parse("leaky_grad:0.2") == choice, "its former name"
    assert choice.gain == parse("relu").gain
    assert choice.flat_below is None
    assert parse("surrogate_gradient:0.0").flat_below == 0.0
    assert activation_of(module_for(choice, inplace=True)).spec == "surrogate_gradient:0.2"
    assert pickle.loads(pickle.dumps(function_for(choice)))(torch.tensor([-1.0])).item() == 0.0


def test_its_units_are_those_of_the_layer_below():
    linear = nn.Linear(5, 7)
    for function in (F.relu, rf.surrogate_gradient):
        h = function(linear(torch.randn(11, 5)))
        assert find_unit_axis(h + h).axis == -1
        assert find_unit_axis(h).axis == -1


def returned(model, x):
    """The model's output and its parameters' gradients."""
    model.zero_grad()
    out = model(x)
    out.square().sum().backward()
    return out.detach(), [None if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("train", [True, False])
def test_a_swap_leaves_the_outputs_bit_for_bit_and_opens_the_gradient(name, train):
    model, _, x = pair(name)
    model.train(train)
    before, closed = returned(model, x)
    with torch.no_grad():
        inference = model(x)
    keys = list(model.state_dict())
    change = swap(model, "relu", "surrogate_gradient:0.1")
    after, opened = returned(model, x)
    assert torch.equal(bits(before), bits(after))
    with torch.no_grad():
        assert torch.equal(bits(model(x)), bits(inference))
    assert any(not torch.equal(a, b) for a, b in zip(closed, opened, strict=True))
    assert list(model.state_dict()) == keys
    change.undo()
    with swap(model, "relu", "surrogate_gradient:0.0"):
        torch.testing.assert_close(returned(model, x)[1], closed)
    undone, closed_again = returned(model, x)
    assert torch.equal(undone, before)
    assert all(torch.equal(a, b) for a, b in zip(closed, closed_again, strict=True))


def copied(model):
    return copy.deepcopy(model)


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def compiled(model):
    torch._dynamo.reset()
    whole = not isinstance(model, nn.TransformerEncoderLayer)
    return torch.compile(model, backend="aot_eager", fullgraph=whole)


LONG = [("sequential", compiled), ("encoder by name", compiled)]


@pytest.mark.parametrize(
    ("name", "again"),
    [
        pytest.param(name, again, marks=[pytest.mark.proof] * ((name, again) in LONG))
        for name in ("sequential", "functional", "encoder by name")
        for again in (copied, saved, compiled)
    ],
)
def test_a_swapped_model_copies_saves_and_compiles(name, again):
    model, _, x = pair(name)
    swap(model, "relu", "surrogate_gradient:0.1")
    out, gradients = returned(model, x)
    ours = returned(again(model), x)
    torch.testing.assert_close(ours[0], out)
    torch.testing.assert_close(ours[1], gradients)


def test_in_place_calls_stay_in_place():
    class Overwrites(nn.Module):
        def forward(self, x):
            y = x * 1
            y.relu_()
            z = y * 1
            F.relu(z, inplace=True)
            return z

    model, x = Overwrites(), torch.randn(11, 5, requires_grad=True)
    before = model(x)
    swap(model, "relu", "surrogate_gradient:0.5")
    h = model(x)
    assert torch.equal(h, before)
    assert torch.equal(passed(h, x, torch.ones_like(h)), torch.where(x > 0, 1.0, 0.25))


@pytest.mark.parametrize("model", [stack, Inception, Chooser, encoder])
def test_rectifier_run_swaps_to_it(model):
    with swap_everywhere("relu", "surrogate_gradient:0.1") as change:
        torch.manual_seed(0)
        built = model()
        x = torch.randn((7, 3, 5, 5) if model is Inception else (7, 11, 8) if model is encoder else (11, 5))
        out, gradients = returned(built, x)
        assert change.replaced
    torch.manual_seed(0)
    plain = model()
    right, closed = returned(plain, x)
    assert torch.equal(out, right)
    if model is not Chooser:  # the builtin that it holds is out of reach
        swap(plain, "relu", "surrogate_gradient:0.1")
        assert all(torch.equal(a, b) for a, b in zip(gradients, returned(plain, x)[1], strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(gradients, closed, strict=True))


def silent_training(spec):
    """A network whose first layer never fires on its data, trained for a few steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    with torch.no_grad():
        model[0].bias.fill_(-9)
        model[0].weight.mul_(0.1)
    if spec != "relu":
        swap(model, "relu", spec)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    x, y = torch.rand(400, 5), torch.randn(400, 3)
    with Watching(model, every=1) as watch:
        for _ in range(12):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    moved = bool(model[0].weight.grad.abs().max() > 0)
    return diagnose(watch.process), moved


def test_a_silent_unit_is_dead_under_relu_and_stuck_under_it():
    dead, moved = silent_training("relu")
    assert [finding.rule for finding in dead.findings if finding.site] == ["dead-units"]
    assert dead.layers[0].dead == 7
    assert not moved
    stuck, moved = silent_training("surrogate_gradient:0.1")
    assert [finding.rule for finding in stuck.findings] == ["stuck-negative"]
    assert stuck.layers[0].activation == "surrogate_gradient:0.1"
    assert (stuck.layers[0].dead, stuck.layers[0].suspected, stuck.layers[0].stuck) == (0, 0, 7)
    assert "Under surrogate_gradient:0.1 such a unit still learns" in stuck.findings[0].detail
    assert moved


def test_dead_units_come_back_with_it_and_do_not_without():
    def alive_after(spec):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
        with torch.no_grad():
            model[0].bias.fill_(-3.0)
        if spec != "relu":
            swap(model, "relu", spec)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        x = torch.randn(211, 5)
        y = x[:, :3].sin()
        for _ in range(200):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
        return int((model[:2](x).amax(0) > 0).sum()), (model(x) - y).square().mean().item()

    (alive, loss), (alive_leaky, loss_leaky) = alive_after("relu"), alive_after("surrogate_gradient:0.1")
    assert alive < 7
    assert alive_leaky > alive
    assert loss_leaky < loss
