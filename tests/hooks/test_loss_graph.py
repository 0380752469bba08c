"""What is read from a loss's graph is what the training computed, however it is written."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rectifier.hooks.graph.autograd_graph import unobserved_activations
from rectifier.hooks.graph.loss_graph import read_loss
from rectifier.records import WhyUnseen


def layers(inputs, units, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 7), nn.Tanh(), nn.Linear(7, units))


def the_output(loss):
    (output,) = read_loss(loss, {}).outputs
    return output


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(2, 700), units=st.integers(1, 5), seed=st.integers(0, 99))
def test_outputs_are_computed_again_to_the_bit_of_rounding(rows, units, seed):
    model, x = layers(3, units, seed), torch.randn(rows, 3)
    out, wanted = model(x), torch.randn(rows, units)
    every = -(-rows // 256)
    for loss in (F.mse_loss(out, wanted), ((out - wanted) ** 2).mean(), (wanted - out).square().sum()):
        read = the_output(loss)
        assert torch.allclose(read.values, out.detach()[::every], atol=1e-6)
        assert torch.allclose(read.target, wanted[::every], atol=1e-6)
        assert read.aligned
        assert read.weight is model[2].weight


def test_classes_are_told_from_numbers():
    model, label = layers(3, 5), torch.tensor([0, 4, -100, 4, 1])
    read = the_output(F.cross_entropy(model(torch.randn(5, 3)), label))
    assert (read.classes, read.target.tolist(), read.loss) == (5, label.tolist(), ("NllLoss", "LogSoftmax"))


def test_a_mistake_of_shapes_shows():
    model, x, y = layers(3, 1), torch.randn(9, 3), torch.randn(9)
    with pytest.warns(UserWarning, match="target size"):
        stretched = F.mse_loss(model(x), y)
    for loss in (stretched, ((model(x) - y) ** 2).mean()):
        assert "Expand" in the_output(loss).loss
    for loss in (F.mse_loss(model(x).squeeze(1), y), ((model(x)[:, 0] - y) ** 2).mean()):
        assert "Expand" not in the_output(loss).loss


@pytest.mark.parametrize(
    ("operation", "constant"),
    [
        (nn.LayerNorm(1), True), (nn.LayerNorm(1, elementwise_affine=False), True), (nn.Softmax(-1), True),
        (nn.Softmax(1), True), (nn.LogSoftmax(-1), True), (nn.LayerNorm((9, 1)), False), (nn.Softmax(0), False),
        (nn.Sigmoid(), False), (nn.GroupNorm(1, 1), True),
    ],
)  # fmt: skip
def test_an_operation_over_one_element_is_told(operation, constant):
    model, x, y = layers(3, 1), torch.randn(9, 3), torch.rand(9, 1)
    assert ("OneElement" in the_output(F.mse_loss(operation(model(x)), y)).loss) == constant
    # Another way around it brings the layer's answer to the loss.
    assert "OneElement" not in the_output(F.mse_loss(operation(out := model(x)) + out, y)).loss
    wide = F.mse_loss(nn.Softmax(-1)(layers(3, 2)(x)), torch.rand(9, 2))
    assert "OneElement" not in the_output(wide).loss


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (lambda out, y: F.nll_loss(out.softmax(0).log(), y), True),
        (lambda out, y: F.nll_loss((out.softmax(0) + 1e-8).log(), y), True),
        (lambda out, y: F.nll_loss(out.log_softmax(-2), y), True),
        # Along which axis the choice runs is not known of what is written by hand.
        (lambda out, y: -out.log_softmax(0)[range(9), y].mean(), False),
        (lambda out, y: -out.log_softmax(0).gather(0, y[None, :3]).mean(), False),
        (lambda out, y: -(out.softmax(0) * out.softmax(1)).sum(0)[y].log().mean(), False),
        (lambda out, y: F.nll_loss(out[:, :, None, None].log_softmax(0), y[:, None, None]), True),
        (lambda out, y: F.nll_loss(out[:, :, None, None].log_softmax(1), y[:, None, None]), False),
        (lambda out, y: F.nll_loss(out.log_softmax(1), y), False),
        (F.cross_entropy, False),
        # Shares of the rows are meant: attention over them, or rows and columns that are compared both ways.
        (lambda out, y: (out.softmax(0) * torch.randn(9, 3)).sum(), False),
        (lambda out, y: F.nll_loss((out @ torch.randn(3, 9)).log_softmax(0), torch.arange(9)), False),
        (lambda out, y: F.nll_loss(out.log_softmax(0), y) + F.nll_loss(out.log_softmax(1), y), False),
    ],
)
def test_a_softmax_over_the_rows_of_a_batch_is_told_from_one_over_classes(loss, told):
    read = the_output(loss(layers(5, 3)(torch.randn(9, 5)), torch.arange(9) % 3))
    assert ("AcrossRows" in read.loss) == told


def test_targets_that_are_computed_from_an_output_are_known_as_such():
    out, wanted = layers(3, 2)(torch.randn(9, 3)), torch.randn(9, 2)
    assert the_output(((out - wanted) ** 2).mean()).rebuilt
    assert not the_output(F.mse_loss(out, wanted)).rebuilt


def test_operations_with_a_derivative_of_zero_are_told():
    first, second = nn.Linear(3, 5), nn.Linear(5, 2)
    for operation, flat in ((torch.sign, ("Sign",)), (torch.round, ("Round",)), (torch.tanh, ())):
        assert the_output(second(operation(first(torch.randn(9, 3)))).square().mean()).flat == flat


def test_a_normalisation_over_one_element_is_told_wherever_it_is():
    for size, told in ((1, True), (2, False)):
        model = nn.Sequential(nn.LayerNorm(size), layers(size, 2))
        assert the_output(F.mse_loss(model(torch.randn(9, 5, size)), torch.rand(9, 5, 2))).one_element == told
    for groups, told in ((6, True), (3, False)):
        model = nn.Sequential(nn.GroupNorm(groups, 6), layers(6, 2))
        assert the_output(F.mse_loss(model(torch.randn(9, 6)), torch.rand(9, 2))).one_element == told


def test_targets_may_come_first():
    model, x, y = layers(3, 2), torch.randn(9, 3), torch.randn(9, 2)
    read = the_output(F.mse_loss(y, model(x)))
    assert torch.equal(read.target, y)
    assert torch.allclose(read.values, model(x).detach(), atol=1e-6)


def test_a_loss_that_adds_up_is_told_from_a_mean():
    out, y = layers(3, 1)(torch.randn(9, 3)), torch.randn(9, 1)
    assert "Sum" in the_output(F.mse_loss(out, y, reduction="sum")).loss
    assert "Sum" not in the_output(F.mse_loss(out, y)).loss


@pytest.mark.parametrize("written", ["torch's", "by hand"])
def test_what_the_last_activation_gives_and_cannot_give(written):
    model, x, y = layers(3, 2), torch.randn(9, 3), torch.randn(9, 2)
    out = torch.sigmoid(model(x))
    read = the_output(F.mse_loss(out, y) if written == "torch's" else (out - y).pow(2).mean())
    assert read.bounds == (0.0, 1.0)
    assert torch.allclose(read.values, out.detach(), atol=1e-6)
    assert torch.allclose(read.target, y, atol=1e-6)
    # Scaled, it reaches farther.
    scaled = the_output(F.mse_loss(3 * out, y) if written == "torch's" else (3 * out - y).pow(2).mean())
    assert scaled.bounds is None


def test_images_and_what_an_activation_makes_of_them():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.ConvTranspose2d(3, 1, 3), nn.Sigmoid())
    out = net(torch.randn(5, 2, 6, 8))
    read = the_output(F.binary_cross_entropy(out, torch.rand_like(out)))
    assert torch.allclose(read.values, out.detach().flatten(1), atol=1e-6)


def test_a_layer_that_only_a_gradient_of_the_forward_uses_is_no_output():
    model, x = layers(3, 1), torch.randn(9, 3, requires_grad=True)
    out = model(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    graph = read_loss((slope.sum(1) - out[:, 0]).square().mean(), {})
    assert [one.weight is model[2].weight for one in graph.outputs] == [True]
    assert {id(leaf) for leaf in graph.leaves} >= {id(parameter) for parameter in model.parameters()} - {
        id(model[2].bias)
    }


def test_which_site_feeds_which():
    torch.manual_seed(0)
    trunk, left, right = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    h = trunk(torch.randn(5, 3)).relu()
    a, b = left(h).relu(), right(h).tanh()
    sites = {node.grad_fn._sequence_nr(): number for number, node in enumerate((h, a, b))}
    graph = read_loss((a.sum() + b.square().sum()), sites)
    assert graph.feeds == {(0, 1), (0, 2)}
    # A skip connection leads around the site.
    c = left(h).relu() + h
    d = right(c).relu()
    sites = {h.grad_fn._sequence_nr(): 0, c.grad_fn.next_functions[0][0]._sequence_nr(): 1, d.grad_fn._sequence_nr(): 2}
    assert read_loss(d.sum(), sites).feeds == {(0, 1), (0, 2), (1, 2)}


def test_what_a_hook_has_packed_is_left_packed():
    asked = []

    def unpack(kept):
        asked.append(kept)
        return kept

    model, x = layers(3, 2), torch.randn(9, 3)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
        loss = F.mse_loss(model(x), torch.randn(9, 2))
    output = the_output(loss)
    assert (asked, output.values, output.features) == ([], None, None)


def test_what_was_overwritten_is_not_read():
    model, x = layers(3, 2), torch.randn(9, 3)
    hidden = model[:2](x)
    loss = model[2](hidden).square().sum()
    hidden.data.zero_()
    with torch.no_grad():
        hidden.detach().add_(1)
    assert the_output(loss).values is None


def test_a_graph_that_is_too_large_says_so(monkeypatch):
    monkeypatch.setattr("rectifier.hooks.graph.loss_graph._MOST_NODES", 4)
    graph = read_loss(layers(3, 1)(torch.randn(5, 3)).sum(), {})
    assert not graph.whole


def test_what_was_not_observed_is_counted_and_its_name_is_a_name():
    class Quantise(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    first, second = nn.Linear(3, 5), nn.Linear(5, 2)
    loss = second(torch.relu(Quantise.apply(Quantise.apply(first(torch.randn(9, 3)))))).square().mean()
    found = {(one.what, one.why): one.calls for one in unobserved_activations([loss], ())}
    assert found == {("Quantise", WhyUnseen.CUSTOM): 2, ("a ReLU", WhyUnseen.BOUND_EARLY): 1}
