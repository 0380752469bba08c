"""The microscope names the operation, the phase and the user's own line, and changes no number of the training."""

import inspect
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from rectifier.diagnosis import thresholds as limit
from rectifier.hooks.microscope.microscope import look
from rectifier.hooks.microscope.operations import Operations
from rectifier.records import CauseKind, Sight, SightKind, Warned
from tests.one_thread import one_thread  # noqa: F401

# torch tells that a variance of one row is none; which file it names depends on who calls.
pytestmark = pytest.mark.filterwarnings("ignore:var")


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
        to = first if last is None else last
        undo.append(
            look(first, to, lambda: state.step, state.sights.append, lost=limit.EXPLAIN_LOST, huge=limit.EXPLAIN_HUGE)
        )
        state.end = undo[-1]
        return state

    yield begin
    while undo:
        undo.pop()()


def of_kind(state, kind):
    state.end()
    return [sight for sight in state.sights if isinstance(sight, Sight) and sight.kind == kind]


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
    (sight,) = of_kind(state, "first_nonfinite")
    assert (sight.operation, sight.phase) == (operation, phase)
    assert sight.place == line_with(loss_of, text)
    assert sight.expression == expression
    assert sight.step == 2
    assert sight.numbers["input_numbers"] >= 1


def test_ranges_and_causes(seen):
    state = seen(2)
    train(log_of_zero)
    (sight,) = of_kind(state, "first_nonfinite")
    assert sight.numbers["input_min"] == sight.numbers["input_max"] == 0
    assert sight.numbers["input_zeros"] == 33
    assert sight.cause_kind == "numerical_operation"
    state = seen(2)
    train(variance_of_one)
    assert of_kind(state, "first_nonfinite")[0].cause_kind == "batch_of_one"


def test_an_optimizer_that_divides_by_zero(seen):
    def adam(parameters):
        return torch.optim.Adam(parameters, 1e-3, eps=0.0, foreach=False)

    def partly(out, step):
        return out[:, :2].square().mean()

    state = seen(0)
    train(partly, optimizer_of=adam)
    (sight,) = of_kind(state, "first_nonfinite")
    assert (sight.operation, sight.phase, sight.step) == ("addcdiv_", "optimizer", 0)
    assert sight.place == line_with(train, "optimizer.step()")
    assert sight.cause_kind == "optimizer_state"


@pytest.mark.parametrize("step", [0, 1, 2])
def test_what_is_meant_or_unused_is_no_origin(seen, step):
    state = seen(step)
    train(lambda out, number: masked(out, 0))
    assert not of_kind(state, "first_nonfinite")


def test_inputs_that_are_not_finite_name_who_reads_them(seen):
    bad = torch.full((11, 3), float("nan"))

    def target(out, step):
        return F.mse_loss(out, bad if step == 2 else out.detach() + 1)

    state = seen(1, 3)
    train(target)
    (sight,) = of_kind(state, "first_nonfinite")
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
    assert not of_kind(state, "first_nonfinite")
    assert torch._C._len_torch_dispatch_stack() == torch._C._len_torch_function_stack() == 0


def saturated(out, step):
    far = out + 60
    gate = torch.sigmoid(far)
    return (gate - 0.3).square().mean()


def chosen_by_one(out, step):
    weight = F.softmax(out[:, :1], 1)
    return (weight * 3 - 1).square().mean()


def cancels(out, step):
    middle = out * 2
    return (middle.sum() - middle.sum()) * 5


@pytest.mark.parametrize(
    ("loss_of", "operation", "text", "cause"),
    [
        (saturated, "SigmoidBackward0", "gate = torch.sigmoid(far)", "downstream_saturation"),
        (chosen_by_one, "SoftmaxBackward0", "weight = F.softmax", "downstream_constant"),
        (cancels, "MulBackward0", "middle = out * 2", "downstream_constant"),
    ],
)
def test_where_the_gradient_is_lost(seen, loss_of, operation, text, cause):
    plain = train(loss_of)
    state = seen(1)
    assert train(loss_of) == plain
    (sight, *_) = of_kind(state, "gradient_lost")
    assert (sight.operation, sight.place, sight.step) == (operation, line_with(loss_of, text), 1)
    assert sight.cause_kind == cause
    assert sight.numbers["parameters_without"] == sight.numbers["parameters_below"] == 4


def by_argmax(out, step):
    place = out.argmax(1)
    values = place * 0.5
    return (values - 1).square().mean() + HELD.square().sum()


def by_item(out, step):
    number = out.sum().item()
    twice = 2 * number + 1
    return torch.tensor([twice, twice]).sum() * HELD.sum()


def by_both(out, step):
    place = out.detach().argmax(1)
    score = out[0, place[0]].item()
    return torch.tensor(score) * HELD.sum()


def by_hand(out, step):
    value = out.detach()
    return (value * HELD).square().mean()


HELD = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    ("loss_of", "operation", "text"),
    [
        (by_argmax, "argmax", "out.argmax"),
        (by_item, "item", "out.sum().item"),
        (by_hand, "detach", "value = out.detach"),
        (by_both, "item", "score = "),
    ],
)
def test_where_the_graph_is_cut(seen, loss_of, operation, text):
    HELD.grad = None
    plain = train(loss_of)
    state = seen(1, 2)
    assert train(loss_of) == plain
    sight, *further = of_kind(state, "gradient_cut")
    assert len(further) == (loss_of is by_both), "the last one first"
    assert (sight.operation, sight.place) == (operation, line_with(loss_of, text))
    assert sight.numbers == {"parameters": 4, "numbers": 66, "no_grad": 0}
    assert sight.cause_kind == "graph_cut"


def test_a_cut_that_takes_no_gradient_away_is_not_told(seen):
    def intended(out, step):
        baseline = out.detach().mean()
        accuracy = (out.argmax(1) == 0).float().mean().item()
        return (out - baseline).square().mean() + 0 * int(accuracy)

    state = seen(1, 2)
    train(intended)
    assert not of_kind(state, "gradient_cut")
    assert not of_kind(state, "gradient_lost")


def test_what_moved_the_weights(seen):
    def two(out, step):
        return out.square().mean() + 50 * out.abs().mean()

    def decayed(parameters):
        return torch.optim.SGD(parameters, 1e-3, weight_decay=100.0, momentum=0.9)

    plain = train(two, optimizer_of=decayed)
    state = seen(1)
    assert train(two, optimizer_of=decayed) == plain
    moved = {sight.operation: sight for sight in of_kind(state, "moved_by")}
    assert list(moved) == ["50 * out.abs().mean()", "out.square().mean()", "weight_decay", "momentum"]
    assert [sight.numbers.get("index") for sight in moved.values()] == [1, 0, None, None]
    assert [str(sight.cause_kind) for sight in moved.values()] == ["loss_term", "unknown", "weight_decay", "unknown"]
    shares = [sight.numbers["share"] for sight in moved.values()]
    assert shares[0] + shares[1] == pytest.approx(1)
    assert shares[0] > 0.9
    assert moved["50 * out.abs().mean()"].place == line_with(two, "return out.square")
    assert shares[2] > 0.5
    assert moved["weight_decay"].numbers["coefficient"] == 100


def test_shares_of_addends_are_their_own_gradients(seen):
    """A node that an addend shares with another gets only this addend's part."""
    torch.manual_seed(0)
    model = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x = torch.randn(7, 5)
    state = seen(0)
    out = model(x)
    (out.square().mean() + out.sum()).backward()
    optimizer.step()
    norms = {sight.numbers["index"]: sight.numbers["norm"] for sight in of_kind(state, "moved_by")}
    first, second = norms[0], norms[1]
    model = nn.Linear(5, 1)
    torch.manual_seed(0)
    model.reset_parameters()
    for expected, loss_of in ((first, lambda out: out.square().mean()), (second, torch.sum)):
        model.zero_grad()
        loss_of(model(x)).backward()
        assert sum(float(parameter.grad.norm()) for parameter in model.parameters()) == pytest.approx(expected)


def test_inputs(seen):
    state = seen(1)
    train(saturated)
    (sight,) = of_kind(state, "inputs")
    assert sight.operation == "Sequential[0]"
    assert sight.numbers["rows"] == 11
    assert sight.numbers["features"] == 5
    assert sight.numbers["not_finite"] == sight.numbers["constant_features"] == 0
    assert 0.5 < sight.numbers["scale"] < 1.5
    assert sight.cause_kind == "unknown"


def test_inputs_that_do_not_vary_name_the_cause(seen):
    class Branches(nn.Linear):
        def forward(self, rows):
            return super().forward(rows[0]) + super().forward(rows[1])

    torch.manual_seed(0)
    model = Branches(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    state = seen(0, 1)
    for rows in ([torch.zeros(7, 5), torch.zeros(7, 5)], [torch.zeros(7, 5), torch.randn(7, 5)]):
        model(rows).sum().backward()
        optimizer.step()
    first, second = of_kind(state, "inputs")
    assert first.cause_kind == second.cause_kind == "input_constant"
    assert (first.operation, second.operation) == ("Branches[0]", "Branches[1]")
    assert first.numbers["distinct_rows"] == 1


def test_a_mask_that_is_the_same_for_all_rows_is_no_constant_input(seen):
    class Masked(nn.Linear):
        def forward(self, x, mask):
            return super().forward(x * mask)

    model = Masked(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    state = seen(0)
    model(torch.randn(7, 5), torch.ones(7, 5)).sum().backward()
    optimizer.step()
    assert {sight.cause_kind for sight in of_kind(state, "inputs")} == {"unknown"}


@pytest.mark.parametrize("broken", ["by_addends", "inputs_of", "by_optimizer", "Followed"])
def test_a_failure_of_ours_ends_the_looking_and_not_the_training(seen, monkeypatch, broken):
    def usual(out, step):
        return out.square().mean() + out.abs().mean()

    def fail(*args):
        raise RuntimeError("planted")

    plain = train(usual)
    monkeypatch.setattr(f"rectifier.hooks.microscope.microscope.{broken}", fail)
    state = seen(0, 2)
    assert train(usual) == plain
    (warned,) = (one for one in state.sights if isinstance(one, Warned))
    assert warned.text.startswith("the microscope stopped at step")
    state.end()
    assert torch._C._len_torch_dispatch_stack() == torch._C._len_torch_function_stack() == 0


def test_an_operation_that_cannot_be_looked_at_is_still_computed(seen, monkeypatch):
    plain = train(saturated)
    monkeypatch.setattr("rectifier.hooks.microscope.operations._held", lambda value: 1 / 0)
    state = seen(0, 2)
    assert train(saturated) == plain
    state.end()
    assert any(isinstance(one, Warned) for one in state.sights)


def test_a_step_may_end_in_the_middle_of_a_call(seen):
    """Where nothing steps, backward passes are the clock; modes of the user's and ours are in order afterwards."""
    from rectifier.hooks import training

    model = nn.Linear(5, 1)
    passes = []

    class Count(training.TrainingListener):
        def on_backward_end(self):
            passes.append(1)

    forget = training.listen(Count())
    end = look(0, 1, lambda: len(passes), lambda sight: None, lost=limit.EXPLAIN_LOST)
    torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(4):
        model(torch.randn(7, 5)).square().mean().backward()
    end()
    forget()
    assert torch._C._len_torch_dispatch_stack() == torch._C._len_torch_function_stack() == 0


@pytest.mark.parametrize("factor", [-0.5, 2])
def test_a_number_that_autograd_saved_as_a_tensor_can_be_read_meanwhile(factor):
    """Whoever follows the graph of a loss reads it; within a mode torch hands it on as a plain number."""
    loss = factor * torch.ones(3, requires_grad=True).mean()
    with Operations(lambda: False):
        assert loss.grad_fn._saved_other.item() == factor


@pytest.mark.parametrize(("scale", "grown"), [(1e30, True), (1.0, False)])
def test_numbers_that_had_grown_before_are_not_the_fault_of_who_meets_them(seen, scale, grown):
    def loss_of(out, step):
        if step != 2:
            return out.square().mean()
        return (out * scale).square().mean() if grown else (out.sum() - out.sum()) / (out - out).sum()

    state = seen(2)
    train(loss_of)
    (sight,) = of_kind(state, SightKind.FIRST_NONFINITE)
    assert bool(sight.numbers.get("grown")) is grown
    assert (sight.cause_kind is CauseKind.UNKNOWN) is grown
