"""One battery for the whole family, on the small path and on ours; and the proof that each law can fail."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import rectifier.functional as rf
from tests.activations.laws import LAWS, both, close, draw, incoming
from tests.activations.members import MEMBERS, OWN, Member

OUT_OF_PLACE = [name for name in LAWS if name != "in_place_is_torchs_in_place"]
# What torch's own function does under its own machinery is torch's affair; its values are looked at all the same.
OF_VALUES = [
    "value_and_gradient_are_the_formulas", "special_values_are_torchs", "every_dtype_is_kept_and_right",
    "every_layout_is_kept_and_right", "nothing_that_was_given_is_changed",
]  # fmt: skip
HANDED_ON = [m for m in MEMBERS if getattr(rf, m.function, None) is getattr(F, m.function, "none")]
WRITTEN_HERE = [m for m in MEMBERS if m not in HANDED_ON]


def try_law(law: str, member: Member) -> None:
    if member.name == "sqrt_softplus" and law == "special_values_are_torchs":
        pytest.skip("the formula is torch's composition; its gradient is NaN where softplus underflows")
    LAWS[law](member.ours, member)


@pytest.mark.parametrize("member", WRITTEN_HERE, ids=str)
@pytest.mark.parametrize("law", OUT_OF_PLACE)
def test_what_is_written_here_obeys(law, member):
    try_law(law, member)


@pytest.mark.parametrize("member", HANDED_ON, ids=str)
@pytest.mark.parametrize("law", OF_VALUES)
def test_what_is_handed_on_obeys(law, member):
    try_law(law, member)


# torch.func refuses hooks on saved tensors by itself.
@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("law", [law for law in OUT_OF_PLACE if law != "function_transforms_are_right"])
@pytest.mark.parametrize("spec", ["leaky_relu:0.3", "prelu:0.25"])
def test_it_obeys_under_hooks_of_the_user(law, spec):
    (member,) = [m for m in MEMBERS if m.spec == spec]
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        try_law(law, member)


def test_only_what_torch_lacks_or_does_worse_is_written_here():
    assert {member.function for member in WRITTEN_HERE} == {
        "leaky_relu", "prelu", "elu", "celu", "selu", "relu_squared", "quick_gelu", "gelu_10", "laplace",
        "sqrt_softplus",
    }  # fmt: skip
    assert len(HANDED_ON) >= 17


@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("member", OWN, ids=str)
@pytest.mark.parametrize("law", [law for law in OUT_OF_PLACE if law != "compiles_into_one_graph"])
def test_our_own_backward_obeys(law, member):
    h = member.ours(torch.ones(5, requires_grad=True))
    assert type(h.grad_fn).__name__ in ("_LeakyReLUBackward", "_ELUBackward", "_PReLUBackward")
    try_law(law, member)


@pytest.mark.usefixtures("ours_at_every_size", "with_kernel")
@pytest.mark.parametrize("member", [member for member in OWN if member.name == "prelu"], ids=str)
@pytest.mark.parametrize("law", [law for law in OUT_OF_PLACE if law != "compiles_into_one_graph"])
def test_the_compiled_kernel_obeys(law, member):
    try_law(law, member)


@pytest.mark.parametrize("member", [member for member in MEMBERS if member.inplace], ids=str)
def test_in_place_is_torchs(member):
    LAWS["in_place_is_torchs_in_place"](member.inplace, member)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.lists(st.integers(0, 9), max_size=4), data=st.data())
@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("member", WRITTEN_HERE, ids=str)
def test_any_shape_layout_and_value(member, shape, data):
    values = st.floats(-30, 30, width=32).map(lambda x: 0.0 if abs(x) < 1e-6 else x)
    size = math.prod(shape)
    flat = torch.tensor(data.draw(st.lists(values, min_size=size, max_size=size)), dtype=torch.float64)
    order = data.draw(st.permutations(range(len(shape))))
    z = flat.reshape([shape[i] for i in order]).permute([order.index(i) for i in range(len(shape))])
    delta = incoming(z)
    value, gradient = both(member.ours, z, delta)
    right, right_gradient = both(member.theirs, z, delta)
    assert value.stride() == right.stride()
    torch.testing.assert_close(value, right, rtol=0, atol=0)
    torch.testing.assert_close(gradient, right_gradient, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("member", OWN, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_at_real_sizes_as_at_small_ones(member, dtype):
    """Nothing is patched here: more than one thread, an uneven rest."""
    z = draw(43_001 if member.name == "leaky_relu" else 3_001, 50, dtype=dtype)
    for given_, right in zip(both(member.ours, z), both(member.theirs, z), strict=True):
        close(given_, right, member)


@pytest.mark.usefixtures("ours_at_every_size")
@pytest.mark.parametrize("member", OWN, ids=str)
def test_a_tensor_that_escaped_from_a_transform_is_torchs_affair(member):
    escaped = []

    def leak(x):
        escaped.append(x)
        return x.sum()

    torch.func.grad(leak)(draw(7))
    assert torch.equal(member.ours(escaped[0]).detach() * 1, member.theirs(escaped[0]).detach() * 1)


# --- each law can fail -----------------------------------------------------------------------------------------------


class Faulty(torch.autograd.Function):
    """Leaky ReLU with one fault."""

    @staticmethod
    def forward(ctx, z: Tensor, fault: str) -> Tensor:
        ctx.save_for_backward(z)
        ctx.fault = fault
        if fault == "changes its input":
            z.data.abs_()
        h = F.leaky_relu(z, 0.3)
        if fault == "value":
            h = h + 1e-6 * (z > 1)
        if fault == "float64 out of float32" and z.dtype == torch.float32:
            h = h.double()
        if fault == "layout":
            h = h.contiguous()
        if fault == "NaN becomes 0":
            h = h.nan_to_num(0.0)
        return h

    @staticmethod
    def backward(ctx, delta: Tensor):
        (z,) = ctx.saved_tensors
        slope = torch.where(z > 0, 1.0, torch.full_like(z, 0.3))
        if ctx.fault == "gradient":
            slope = slope * (1 + 1e-4)
        if ctx.fault == "gradient at 0":
            slope = torch.where(z >= 0, 1.0, torch.full_like(z, 0.3))
        if ctx.fault == "ignores the incoming gradient":
            return slope, None
        if ctx.fault == "changes the incoming gradient":
            return delta.mul_(slope), None
        if ctx.fault == "second derivative":
            return (delta * slope).detach(), None
        if ctx.fault == "changes what it saved":
            z.data.neg_()
        return delta.to(z.dtype) * slope, None


def fault(kind: str):
    return lambda z: Faulty.apply(z, kind)


def compiled_break(z: Tensor) -> Tensor:
    torch._dynamo.graph_break()
    return F.leaky_relu(z, 0.3)


def in_place_by_copy(z: Tensor) -> Tensor:
    return F.leaky_relu(z, 0.3)


def forgets_tangents(z: Tensor) -> Tensor:
    return F.leaky_relu(z, 0.3) + 0 * z if not torch.autograd.forward_ad._current_level + 1 else z.abs()


def forgets_transforms(z: Tensor) -> Tensor:
    return z.abs() if torch._C._are_functorch_transforms_active() else F.leaky_relu(z, 0.3)


def hides_from_modes(z: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():
        return F.leaky_relu(z, 0.3)


def not_saved_the_same_way_again(z: Tensor, calls=[0]) -> Tensor:  # noqa: B006
    calls[0] += 1
    return F.leaky_relu(z, 0.3 + 1e-3 * calls[0])


def keeps_float32_under_autocast(z: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return F.leaky_relu(z.float() if z.dtype == torch.bfloat16 else z, 0.3)


def wrong_when_traced(z: Tensor) -> Tensor:
    return F.leaky_relu(z, 0.1 if torch._C._is_tracing() else 0.3)


PLANTED = [
    ("value_and_gradient_are_the_formulas", fault("value")),
    ("value_and_gradient_are_the_formulas", fault("gradient")),
    ("value_and_gradient_are_the_formulas", fault("gradient at 0")),
    ("value_and_gradient_are_the_formulas", fault("ignores the incoming gradient")),
    ("numerical_gradients_agree", fault("gradient")),
    ("numerical_gradients_agree", fault("ignores the incoming gradient")),
    ("numerical_gradients_agree", fault("second derivative")),
    ("special_values_are_torchs", fault("NaN becomes 0")),
    ("special_values_are_torchs", fault("gradient at 0")),
    ("every_dtype_is_kept_and_right", fault("float64 out of float32")),
    ("every_dtype_is_kept_and_right", fault("gradient")),
    ("every_layout_is_kept_and_right", fault("layout")),
    ("nothing_that_was_given_is_changed", fault("changes its input")),
    ("nothing_that_was_given_is_changed", fault("changes the incoming gradient")),
    ("nothing_that_was_given_is_changed", fault("changes what it saved")),
    ("in_place_is_torchs_in_place", in_place_by_copy),
    ("forward_mode_is_right", forgets_tangents),
    ("function_transforms_are_right", forgets_transforms),
    ("saved_tensors_may_be_moved_away", not_saved_the_same_way_again),
    ("autocast_is_torchs", keeps_float32_under_autocast),
    ("compiles_into_one_graph", compiled_break),
    ("anomaly_mode_and_tracing_see_it_as_torchs", wrong_when_traced),
    ("subclasses_modes_and_fakes_are_torchs", hides_from_modes),
]


@pytest.mark.parametrize(("law", "faulty"), PLANTED)
def test_a_planted_fault_breaks_the_law(law, faulty):
    (member,) = (member for member in MEMBERS if member.spec == "leaky_relu:0.3")
    with pytest.raises((AssertionError, torch._dynamo.exc.Unsupported)):
        LAWS[law](faulty, member)


def test_every_law_has_a_planted_fault():
    assert {law for law, _ in PLANTED} == set(LAWS)


@pytest.mark.parametrize(
    "law",
    [
        "value_and_gradient_are_the_formulas",
        "special_values_are_torchs",
        "every_layout_is_kept_and_right",
        "nothing_that_was_given_is_changed",
        "saved_tensors_may_be_moved_away",
    ],
)
def test_the_vehicle_of_the_faults_is_sound_without_one(law):
    (member,) = (member for member in MEMBERS if member.spec == "leaky_relu:0.3")
    LAWS[law](fault("none"), member)
