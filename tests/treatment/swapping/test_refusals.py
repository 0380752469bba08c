"""Every refusal says what, where, and what to write instead, and leaves the model alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from rectifier.errors import CannotSwap, UnknownActivation
from rectifier.treatment import swap
from tests.treatment.models import Chooser, Coder, Residual, encoder, stack


def refusal(model, *args, **options):
    with pytest.raises(CannotSwap) as caught:
        swap(model, *args, **options)
    return str(caught.value)


def test_an_activation_that_is_not_there():
    model = nn.Sequential(nn.GELU(), nn.Tanh(), nn.GELU(), nn.LeakyReLU(0.2))
    assert refusal(model, "relu", "elu") == (
        "Sequential computes no relu. It has: 2 × gelu, 1 × tanh, 1 × leaky_relu:0.2. Write swap(model, 'gelu', …)."
    )
    assert "Sequential computes no leaky_relu:0.1. It has" in refusal(model, "leaky_relu:0.1", "elu")


def test_an_activation_that_is_a_function_is_told_too():
    assert refusal(Coder(), "gelu", "elu") == (
        "Coder computes no gelu. It has: relu as a function. Write swap(model, 'relu', …)."
    )


def test_a_model_without_activations():
    assert refusal(nn.Linear(5, 7), "relu", "elu") == (
        "Linear computes no relu. It has no activation that Rectifier knows."
    )


def test_only_a_loss_uses_it():
    class Net(nn.Module):
        def forward(self, x):
            return x

        def loss(self, x):
            return F.relu(x)

    text = refusal(Net(), "relu", "elu")
    assert "Net computes no relu. Out of reach lies F.relu at test_refusals.py:" in text


def test_where_that_meets_nothing():
    assert refusal(Residual(), "relu", "elu", where="three") == (
        "where='three' meets no relu of Residual. It has relu at: one.relu and two.relu."
    )
    assert "where='three' meets no relu" in refusal(Residual(), "relu", "elu", where=["one", "three"])
    assert "is a int: give a path" in refusal(Residual(), "relu", "elu", where=[3])
    assert "meets no relu" in refusal(Residual(), "relu", "elu", where=lambda path: False)


def test_a_learned_slope_in_a_functional_call():
    text = refusal(Coder(), "relu", "prelu:0.1")
    assert text.startswith("F.relu at models.py:")
    assert text.endswith(
        " in Coder, cannot become prelu:0.1: it needs a learned slope, and a function has no place for it. "
        "Write self.act = torch.nn.PReLU(init=0.1) in __init__ and self.act(x) in forward; or choose leaky_relu:0.1."
    )


def test_a_training_mode_in_a_functional_call():
    text = refusal(Coder(), "relu", "rrelu")
    assert "it needs a training mode" in text
    assert "torch.nn.RReLU()" in text


def test_a_learned_slope_in_a_plain_list():
    text = refusal(Chooser(), "relu", "prelu")
    assert "is a plain " in text
    assert "torch.nn.ModuleList" in text


def test_a_scripted_model():
    with pytest.warns(DeprecationWarning, match="jit.script"):
        model = torch.jit.script(stack())
    assert "is a TorchScript module that computes relu" in refusal(model, "relu", "elu")
    assert "Swap the model before torch.jit.script(model)." in refusal(nn.Sequential(model), "relu", "elu")


def test_a_traced_graph():
    model = torch.fx.symbolic_trace(Coder())
    text = refusal(model, "relu", "elu")
    assert text == (
        "The model is a traced graph that computes relu; its code can no longer be changed. "
        "Swap the model before tracing or exporting it."
    )
    modules = torch.fx.symbolic_trace(stack())
    assert swap(modules, "relu", "elu").replaced == ("1", "3")


def test_a_function_under_activation_checkpointing():
    class Recomputes(nn.Module):
        def forward(self, x):
            return checkpoint(lambda y: F.relu(y) + x, x, use_reentrant=False)

    text = refusal(Recomputes(), "relu", "leaky_relu:0.1")
    assert "may be run again by torch.utils.checkpoint" in text
    assert "checkpoint(self.block, x)" in text


def test_a_method_under_activation_checkpointing_is_right():
    class Recomputes(Coder):
        def forward(self, x):
            return checkpoint(self.encode, x, use_reentrant=False)

    model, x = Recomputes(), torch.randn(11, 5, requires_grad=True)
    swap(model, "relu", "leaky_relu:0.1")
    expected = F.leaky_relu(model.fc(x), 0.1)
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    assert torch.equal(gradient, torch.autograd.grad(expected.sum(), x)[0])


@pytest.fixture
def one_process():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_distributed_data_parallel(one_process):
    model = stack()
    wrapped = nn.parallel.DistributedDataParallel(model)
    text = refusal(wrapped, "relu", "prelu")
    assert "Write rectifier.swap(model, …) before DistributedDataParallel(model)." in text
    assert isinstance(model[1], nn.ReLU)
    assert swap(wrapped, "relu", "leaky_relu:0.1").replaced == ("1", "3")
    x = torch.randn(11, 5)
    assert torch.equal(wrapped(x), model(x))


@pytest.mark.parametrize("first", ["swap", "shard"])
def test_fully_sharded(one_process, first):
    model, x = Coder(), torch.randn(11, 5)
    expected = F.leaky_relu(model.fc(x), 0.1).detach()
    mesh = init_device_mesh("cpu", (1,))
    if first == "swap":
        swap(model, "relu", "leaky_relu:0.1")
        fully_shard(model, mesh=mesh)
    else:
        fully_shard(model, mesh=mesh)
        sharded = type(model)
        change = swap(model, "relu", "leaky_relu:0.1")
    assert torch.equal(model(x), expected)
    if first == "shard":
        change.undo()
        assert type(model) is sharded
    layers = stack()
    fully_shard(layers, mesh=mesh)
    assert "before fully_shard(model)." in refusal(layers, "relu", "prelu")


def test_a_class_that_allows_no_subclass():
    class Final(nn.Module):
        def __init_subclass__(cls):
            raise TypeError("final")

        def forward(self, x):
            return F.relu(x)

    model = Final()
    assert "its class allows no subclass (TypeError: final)" in refusal(model, "relu", "elu")
    assert type(model) is Final


def test_wrong_arguments():
    assert "this is a list" in refusal([nn.ReLU()], "relu", "elu")
    assert "optimizer= takes a torch.optim.Optimizer; this is a float" in refusal(stack(), "relu", "elu", optimizer=0.1)
    with pytest.raises(UnknownActivation, match="relux"):
        swap(stack(), "relux", "elu")
    with pytest.raises(UnknownActivation, match="leaky"):
        swap(stack(), "relu", "leaky:x")


def test_an_encoder_with_a_function_of_the_users_cannot_learn():
    assert "it needs a learned slope" in refusal(encoder(lambda x: F.relu(x) * 1), "relu", "prelu")
