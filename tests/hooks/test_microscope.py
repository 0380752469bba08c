"""The microscope names the operation, the phase and the user's own line, and changes no number of the training."""

import inspect
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from rectifier.hooks.microscope import look
from tests.one_thread import one_thread  # noqa: F401


@pytest.fixture
def seen():
    """Looks at some steps of whatever trains in the test."""
    undo = []

    def begin(first, last=None):
        state = SimpleNamespace(step=0, sights=[])

        def count(*call):
            state.step += 1

        handle = register_optimizer_step_post_hook(count)
        undo.append(handle.remove)
        undo.append(look(first, first if last is None else last, lambda: state.step, state.sights.append))
        state.end = undo[-1]
        return state

    yield begin
    while undo:
        undo.pop()()


def line_with(function, text):
    """The number of the line of a test's function that holds a text."""
    lines, first = inspect.getsourcelines(function)
    (number,) = [first + offset for offset, line in enumerate(lines) if text in line]
    return f"test_microscope.py:{number}"


def train(loss_of, *, steps=4, optimizer_of=lambda parameters: torch.optim.SGD(parameters, 0.1)):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    optimizer = optimizer_of(model.parameters())
    x, losses = torch.randn(11, 5), []
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model(x), step)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def log_of_zero(out, step):
    shift = 0.0 if step < 2 else 1e9
    chance = torch.sigmoid(out - shift)
    return -chance.log().mean()


def root_of_zero(out, step):
    same = out if step == 2 else out + 1
    distance = (same - out).pow(2).sum(1).sqrt()
    return distance.mean() + out.square().mean()


def variance_of_one(out, step):
    rows = out[:1] if step == 2 else out
    return (rows.var(0) - 1).square().mean()


def masked(out, step):
    scores = out.masked_fill(torch.ones_like(out, dtype=torch.bool).triu(1), -float("inf"))
    scores = torch.where(scores.isinf(), scores, scores)
    unused = (out * 0).log()
    return F.softmax(scores[:, :], 1).square().sum() + 0 * len(unused)


def quotient(out, step):
    count = torch.tensor(0.0 if step == 2 else 3.0)
    total = (out * (step != 2)).sum()
    return total / count


@pytest.mark.parametrize(
    ("loss_of", "operation", "phase", "text", "expression"),
    [
        (log_of_zero, "log", "forward", "return -chance.log()", "chance.log()"),
        (root_of_zero, "SqrtBackward0", "backward", "distance = ", "(same - out).pow(2).sum(1).sqrt()"),
        (variance_of_one, "var", "forward", "rows.var(0)", "rows.var(0)"),
        (quotient, "div", "forward", "return total / count", "total / count"),
    ],
)
def test_the_first_operation_is_named_with_its_line(seen, loss_of, operation, phase, text, expression):
    plain = train(loss_of)
    state = seen(2)
    assert [str(loss) for loss in train(loss_of)] == [str(loss) for loss in plain]
    (sight,) = state.sights
    assert (sight.operation, sight.phase) == (operation, phase)
    assert sight.place == line_with(loss_of, text)
    assert sight.expression == expression
    assert sight.step == 2
    assert sight.numbers["input_numbers"] >= 1


def test_ranges_and_causes(seen):
    state = seen(2)
    train(log_of_zero)
    (sight,) = state.sights
    assert sight.numbers["input_min"] == sight.numbers["input_max"] == 0
    assert sight.numbers["input_zeros"] == 33
    assert sight.cause_kind == "numerical_operation"
    state = seen(2)
    train(variance_of_one)
    assert state.sights[0].cause_kind == "batch_of_one"


def test_an_optimizer_that_divides_by_zero(seen):
    def adam(parameters):
        return torch.optim.Adam(parameters, 1e-3, eps=0.0, foreach=False)

    def partly(out, step):
        return out[:, :2].square().mean()

    state = seen(0)
    train(partly, optimizer_of=adam)
    (sight,) = state.sights
    assert (sight.operation, sight.phase, sight.step) == ("addcdiv_", "optimizer", 0)
    assert sight.place == line_with(train, "optimizer.step()")
    assert sight.cause_kind == "optimizer_state"


@pytest.mark.parametrize("step", [0, 1, 2])
def test_what_is_meant_or_unused_is_no_origin(seen, step):
    state = seen(step)
    train(lambda out, number: masked(out, 0))
    assert not state.sights


def test_inputs_that_are_not_finite_name_who_reads_them(seen):
    bad = torch.full((11, 3), float("nan"))

    def target(out, step):
        return F.mse_loss(out, bad if step == 2 else out.detach() + 1)

    state = seen(1, 3)
    train(target)
    (sight,) = state.sights
    assert (sight.operation, sight.step) == ("mse_loss", 2)
    assert sight.cause_kind == "input_not_finite"
    assert sight.place == line_with(target, "F.mse_loss")


def test_a_healthy_training_shows_nothing_and_is_the_same_to_the_bit(seen):
    def usual(out, step):
        noise = torch.randn_like(out)
        return F.cross_entropy(out + 0.1 * noise, torch.arange(11) % 3) + out.abs().mean()

    plain = train(usual, steps=6)
    state = seen(0, 4)
    assert train(usual, steps=6) == plain
    state.end()
    assert [sight for sight in state.sights if sight.kind == "first_nonfinite"] == []
    assert torch._C._len_torch_dispatch_stack() == torch._C._len_torch_function_stack() == 0
