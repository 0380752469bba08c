"""A swapped model is, bit for bit, the model that somebody would write with the new activation."""

import copy
import io
import pickle
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.treatment import swap
from tests.findings import dead_units, ref
from tests.treatment.models import PAIRS, Block, Coder, Inception, Residual, encoder, pair, stack


def gradients(model, x):
    model.zero_grad()
    model(x).square().sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def same(model, reference, x):
    assert torch.equal(model(x), reference(x))
    for ours, theirs in zip(gradients(model, x), gradients(reference, x), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("train", [True, False])
def test_forward_and_gradients_are_those_of_the_model_written_that_way(name, train):
    model, reference, x = pair(name)
    model.train(train), reference.train(train)
    before, keys = model(x), list(model.state_dict())
    assert not torch.equal(before, reference(x))
    change = swap(model, "relu", "leaky_relu:0.1")
    same(model, reference, x)
    with torch.no_grad():
        assert torch.equal(model(x), reference(x))
    assert list(model.state_dict()) == keys
    assert change.replaced
    change.undo()
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("name", PAIRS)
def test_a_swapped_model_stays_swapped_while_it_is_watched(name):
    model, reference, x = pair(name)
    swap(model, "relu", "leaky_relu:0.1")
    with rectifier.watch(model, every=1) as watch:
        same(model, reference, x)
        torch.optim.SGD(model.parameters(), lr=0.0).step()
    met = {site.activation for site in watch.run.processes[0].sites}
    assert met - {"tanh"} == {"leaky_relu:0.1"}


def test_the_comparison_can_fail():
    model, reference, x = pair("functional")
    swap(model, "relu", "leaky_relu:0.11")
    with pytest.raises(AssertionError):
        same(model, reference, x)


@pytest.mark.parametrize("name", PAIRS)
def test_copies_and_pickles_keep_the_change(name):
    model, reference, x = pair(name)
    swap(model, "relu", "leaky_relu:0.1")
    same(copy.deepcopy(model), reference, x)
    if name == "encoder with a lambda":
        return
    for protocol in (0, 2, pickle.HIGHEST_PROTOCOL):
        again = pickle.loads(pickle.dumps(model, protocol))
        same(again, reference, x)
        assert repr(again) == repr(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    same(torch.load(file, weights_only=False), reference, x)


@pytest.mark.parametrize("name", PAIRS)
def test_compiles_in_one_graph(name):
    torch._dynamo.reset()
    model, reference, x = pair(name)
    if name.startswith("encoder"):
        model.eval(), reference.eval()
    swap(model, "relu", "leaky_relu:0.1")
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), reference(x))


@pytest.mark.parametrize("name", ["sequential", "functional"])
@pytest.mark.parametrize("way", ["wrapped", "in place"])
def test_a_compiled_model_is_compiled_anew(name, way):
    torch._dynamo.reset()
    model, reference, x = pair(name)
    before = model(x)
    if way == "wrapped":
        compiled = torch.compile(model, backend="eager", fullgraph=True)
    else:
        compiled = model
        model.compile(backend="eager")
    assert torch.equal(compiled(x), before)
    change = swap(compiled, "relu", "leaky_relu:0.1")
    assert torch.equal(compiled(x), reference(x))
    assert not any("_orig_mod" in label for label in change.replaced)
    change.undo()
    assert torch.equal(compiled(x), before)


def test_a_shared_module_stays_shared():
    model = Residual()
    change = swap(model, "relu", "leaky_relu:0.1")
    assert model.one.relu is model.two.relu
    assert model.one.relu.inplace
    assert change.replaced == ("one.relu", "two.relu")


def test_a_shared_module_that_learns_ties_its_slope_and_says_so():
    model = Residual()
    change = swap(model, "relu", "prelu:0.1")
    assert model.one.relu is model.two.relu
    assert [name for name, _ in model.named_parameters() if "relu" in name] == ["one.relu.weight"]
    notes = " ".join(change.notes)
    assert "one.relu, two.relu were one module and still are: they learn one slope together." in notes
    assert "one.relu is called 2 times in the forward of Block" in notes


def test_where_on_a_shared_module_splits_it():
    model = Residual()
    swap(model, "relu", "leaky_relu:0.1", where="two")
    assert isinstance(model.one.relu, nn.ReLU)
    assert isinstance(model.two.relu, nn.LeakyReLU)


def test_mode_hooks_dtype_and_frozen_layers_are_kept():
    model = stack().to(torch.float64)
    model[0].requires_grad_(False)
    model.eval()
    calls = []
    handle = model[1].register_forward_hook(lambda module, args, output: calls.append(type(module).__name__))
    model[1].register_full_backward_hook(lambda module, *_: calls.append("backward"))
    swap(model, "relu", "prelu:0.1")
    assert not model[1].training
    assert not model[3].training
    assert model[1].weight.dtype == torch.float64
    assert not model[1].weight.requires_grad
    assert model[3].weight.requires_grad
    x = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    model(x).sum().backward()
    assert calls == ["PReLU", "backward"]
    handle.remove()
    model(x)
    assert calls == ["PReLU", "backward"]


def test_new_parameters_are_made_on_the_layers_device():
    with torch.device("meta"):
        model = stack()
    swap(model, "relu", "prelu")
    assert model[1].weight.is_meta


def test_a_method_of_the_forward_is_meant_and_a_loss_is_not():
    model, x = Coder(), torch.randn(11, 5)
    change = swap(model, "relu", "leaky_relu:0.1")
    assert torch.equal(model(x), F.leaky_relu(model.fc(x), 0.1))
    assert torch.equal(model.encode(x), model(x))
    assert torch.equal(model.loss(x), F.relu(1 - x).mean())
    assert [note for note in change.notes if "the forward does not lead there" in note]
    assert isinstance(model, Coder)
    assert type(model).__name__ == "Coder"


def test_outside_of_the_model_the_functions_are_what_they_were():
    model, x = Inception(), torch.randn(7, 3, 5, 5)
    swap(model, "relu", "leaky_relu:0.1")
    model(x)
    assert torch.equal(F.relu(x), x.clamp(min=0))
    assert torch.equal(Inception().branches[0]._activate(x), x.clamp(min=0))


def test_the_fast_path_of_a_transformer_does_not_compute_relu():
    model = encoder().eval()
    assert model.activation_relu_or_gelu == 1
    change = swap(model, "relu", "leaky_relu:0.1")
    assert model.activation_relu_or_gelu == 0
    change.undo()
    assert model.activation_relu_or_gelu == 1
    assert model.activation is F.relu


def test_a_transformer_takes_a_learned_slope():
    model, x = encoder(), torch.randn(7, 11, 8)
    reference = encoder(nn.PReLU(init=0.1))
    change = swap(model, "relu", "prelu:0.1")
    reference.load_state_dict(model.state_dict())
    same(model, reference, x)
    change.undo()
    assert model.activation is F.relu
    assert "activation" not in model._modules


def test_the_model_itself_becomes_the_activation():
    model = nn.ReLU(inplace=True)
    model.register_forward_hook(lambda *_: None)
    kept, before = model, dict(vars(model))
    change = swap(model, "relu", "prelu:0.1")
    assert type(kept).__name__ == "PReLU"
    assert len(kept._forward_hooks) == 1
    assert kept(torch.tensor([-2.0])).item() == pytest.approx(-0.2)
    change.undo()
    assert type(kept) is nn.ReLU
    assert vars(kept) == before


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("one", ("one.relu",)),
        ("*.relu", ("one.relu", "two.relu")),
        (["two.relu", "one"], ("one.relu", "two.relu")),
        (lambda path: path.startswith("t"), ("two.relu",)),
        (Block, ("one.relu", "two.relu")),
        (dead_units(ref("two.relu", call=1)), ("two.relu",)),
    ],
)
def test_where(where, expected):
    assert swap(Residual(), "relu", "leaky_relu:0.1", where=where).replaced == expected


def test_a_call_that_is_not_meant_stays_inside_of_one_that_is():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.ReLU(), Coder(), encoder().eval())
            self.inner[1].fc = nn.Linear(8, 8)

        def forward(self, x):
            return self.inner(F.relu(x) - 0.5)

    torch.manual_seed(0)
    model, x = Outer(), torch.randn(7, 11, 8)
    expected = model.inner(F.leaky_relu(x, 0.1) - 0.5)
    keys = list(model.state_dict())
    change = swap(model, "relu", "leaky_relu:0.1", where=[""])
    assert torch.equal(model(x), expected)
    assert len(change.replaced) == 1
    torch._dynamo.reset()
    assert torch.equal(torch.compile(model, backend="eager", fullgraph=True)(x), expected)
    change.undo()
    assert type(model.inner[0]) is nn.ReLU
    assert list(model.state_dict()) == keys


def test_a_parameter_in_old_means_only_those():
    model = nn.Sequential(nn.LeakyReLU(0.01), nn.LeakyReLU(0.2), nn.LeakyReLU(0.01))
    assert swap(model, "leaky_relu:0.01", "elu").replaced == ("0", "2")
    assert isinstance(model[1], nn.LeakyReLU)


def test_a_parameter_in_old_is_read_from_each_call():
    class Slopes(nn.Module):
        def forward(self, x):
            return F.leaky_relu(x) + F.leaky_relu(x, 0.2) + F.leaky_relu(x, negative_slope=0.01)

    x = torch.tensor([-3.0, 5.0])
    model = Slopes()
    swap(model, "leaky_relu:0.01", "relu")
    assert torch.equal(model(x), F.leaky_relu(x, 0.2) + 2 * F.relu(x))


def test_swaps_follow_one_another_and_are_undone_in_turn():
    model, x = Inception(), torch.randn(7, 3, 5, 5)
    start = model(x)
    first = swap(model, "relu", "leaky_relu:0.1")
    middle = model(x)
    second = swap(model, "leaky_relu:0.1", "elu")
    once = Inception()
    once.load_state_dict(model.state_dict())
    swap(once, "relu", "elu")
    assert torch.equal(model(x), once(x))
    second.undo()
    assert torch.equal(model(x), middle)
    first.undo()
    assert torch.equal(model(x), start)
    assert type(model) is Inception


@pytest.mark.parametrize("new", ["gelu", "gelu_tanh", "silu", "tanh", "relu_squared", "softplus", "relu6", "elu:0.5"])
def test_in_place_calls_stay_in_place(new):
    class Overwrites(nn.Module):
        def forward(self, x):
            y = x * 1
            y.relu_()
            z = y * 1
            F.relu(z, inplace=True)
            return z

    from rectifier.activations import function_for
    from rectifier.catalogue import parse

    f = function_for(parse(new))
    model, x = Overwrites(), torch.randn(11, 5, requires_grad=True)
    swap(model, "relu", new)
    expected = f(f(x))
    assert torch.equal(model(x), expected)
    # torch computes the gradient of an in-place ELU from its output, and then rounds differently.
    assert torch.allclose(*(torch.autograd.grad(y.sum(), x)[0] for y in (model(x), expected)), atol=1e-6)


def test_relu_squared_is_not_squared_again_by_an_outer_forward():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.coder = Coder()

        def forward(self, x):
            return F.relu(self.coder(x) - 0.2)

    model, x = Outer(), torch.randn(11, 5)
    swap(model, "relu", "relu_squared")
    assert torch.equal(model(x), F.relu(F.relu(model.coder.fc(x)).square() - 0.2).square())
    torch._dynamo.reset()
    assert torch.equal(torch.compile(model, backend="eager", fullgraph=True)(x), model(x))


def test_a_forward_that_was_set_on_the_instance():
    model, x = Coder(), torch.randn(11, 5)
    original = model.forward
    model.forward = types.MethodType(lambda self, x: original(x) * 2, model)
    expected = F.leaky_relu(model.fc(x), 0.1) * 2
    change = swap(model, "relu", "leaky_relu:0.1")
    assert torch.equal(model(x), expected)
    change.undo()
    assert torch.equal(model(x), F.relu(model.fc(x)) * 2)


def test_modules_of_transformers_are_known_by_name():
    gelu = type("NewGELUActivation", (nn.Module,), {"forward": lambda self, x: F.gelu(x, approximate="tanh")})
    gelu.__module__ = "transformers.activations"
    model = nn.Sequential(nn.Linear(5, 7), gelu())
    swap(model, "gelu_new", "leaky_relu:0.1")
    assert isinstance(model[1], nn.LeakyReLU)


def test_inside_of_a_data_parallel_wrapper():
    model = stack()
    assert swap(nn.DataParallel(model), "relu", "leaky_relu:0.1").replaced == ("1", "3")


def test_a_scripted_function_and_a_fused_kernel_are_named():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(5, 7, nonlinearity="relu")
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(self.rnn(x)[0])

    change = swap(Mixed(), "relu", "leaky_relu:0.1")
    assert change.replaced == ("act",)
    assert change.notes == ("the fused kernel of RNN in rnn stays as it is: nothing can reach into it.",)


def test_a_swap_draws_no_random_numbers():
    models = [pair(name)[0] for name in PAIRS]
    before = torch.get_rng_state()
    for model in models:
        swap(model, "relu", "leaky_relu:0.1")
    assert torch.equal(torch.get_rng_state(), before)
