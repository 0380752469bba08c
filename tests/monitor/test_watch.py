"""`watch` in a notebook: on and off at any time, within one another, on a part, and honest about what it cannot see."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.errors import CannotWatch


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.second, self.out = nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7), nn.Linear(7, 2)

    def forward(self, x):
        return self.out(F.relu(self.second(self.act(self.first(x)))))


def train(call, steps=1, rows=11):
    optimizer = torch.optim.SGD(call.parameters(), 0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = call(torch.ones(rows, 3)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def seen(watch):
    """Samples counted at each site of a watch, by its label."""
    process = watch.run.processes[0]
    counts = dict.fromkeys((site.label for site in process.sites), 0)
    for snapshot in process.snapshots:
        for window in snapshot.windows:
            counts[process.sites[window.site].label] += window.visits
    return counts


def unseen(watch):
    return {one.what.partition(" (")[0]: one.reason for one in watch.run.processes[0].unseen}


# Compiled ---------------------------------------------------------------------------------------------------------


def compiled_wrapper(model):
    return torch.compile(model, backend="aot_eager", fullgraph=True)


def compiled_in_place(model):
    model.compile(backend="aot_eager")
    return model


@pytest.mark.parametrize("compiled", [compiled_wrapper, compiled_in_place])
@pytest.mark.parametrize("called", [False, True])
def test_a_compiled_model_is_refused_with_the_line_to_write_instead(compiled, called):
    torch._dynamo.reset()
    model = compiled(Net())
    if called:
        train(model)
    with pytest.raises(CannotWatch, match="Net is compiled") as refused:
        rectifier.watch(model)
    line = str(refused.value).splitlines()[-1].strip()
    scope = {"torch": torch, "rectifier": rectifier, "model": model, "train": train}
    exec(f"{line}\n    losses = train(model, 3)", scope)
    assert seen(scope["watch"]) == {"act": 33, "Net": 33}
    assert unseen(scope["watch"]) == {}
    assert train(model)[0] < scope["losses"][0], "the same weights train on, compiled again"


def test_what_runs_compiled_after_all_is_listed_although_nothing_else_was_seen():
    torch._dynamo.reset()
    model = Net()
    with rectifier.watch() as watch:
        train(compiled_wrapper(model), 3)
    assert seen(watch) == {}
    assert "TORCH_COMPILE_DISABLE=1" in unseen(watch)["a compiled region"]


# What else cannot be seen -----------------------------------------------------------------------------------------

bound_early = torch.relu


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


class Scripted(nn.Module):
    def forward(self, x):
        return F.relu(x)


def hand_written(x):
    return torch.where(x > 0, x, 0)


class Recurrent(nn.RNN):
    def forward(self, x):
        return super().forward(x)[0]


def planted(kind):
    torch._dynamo.reset()
    return {
        "torch.where": lambda: hand_written,
        "Square": lambda: Square.apply,
        "a ReLU": lambda: torch.jit.script(Scripted()),
        "a ReLU bound early": lambda: bound_early,
        "a ReLU in nn.RNN": lambda: Recurrent(7, 7, nonlinearity="relu"),
        "a compiled region": lambda: torch.compile(hand_written, backend="aot_eager"),
    }[kind]()


REASONS = {
    "torch.where": "hand-written",
    "Square": "autograd.Function",
    "a ReLU": "TorchScript",
    "a ReLU bound early": "bound before watching",
    "a ReLU in nn.RNN": "nn.RNN",
    "a compiled region": "torch.compile",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("kind", REASONS)
def test_whatever_was_not_seen_is_listed_with_its_reason(kind, alone):
    function = planted(kind)
    before = nn.Sequential(nn.Linear(3, 7), nn.Identity() if alone else nn.Tanh())

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.out = before, nn.Linear(7, 2)
            self.rest = function if isinstance(function, nn.Module) else None

        def forward(self, x):
            return self.out(function(self.before(x)))

    with rectifier.watch() as watch:
        train(Model(), 3)
    (what,) = unseen(watch)
    assert kind.startswith(what)
    assert REASONS[kind] in unseen(watch)[what]
    assert len(seen(watch)) == (0 if alone else 1)


def test_what_is_no_activation_of_a_model_was_not_overlooked_either():
    """A hinge loss, a metric, an empty batch."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with rectifier.watch() as watch:
        for rows in (0, 7, 7):
            optimizer.zero_grad()
            score = model(torch.ones(rows, 3))
            (F.relu(1 - score).sum() + score.clamp(min=0).sum()).backward()
            optimizer.step()
    assert unseen(watch) == {}
    assert seen(watch) == {"act": 14, "Net": 14}


def test_a_step_of_several_backward_passes_has_nothing_unseen():
    """An actor and a critic that share a trunk: what the first pass met is not unseen in the second."""
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with rectifier.watch(model, every=1) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            actor, critic = model(torch.randn(7, 3)).unbind(1)
            actor.square().mean().backward(retain_graph=True)
            critic.square().mean().backward()
            optimizer.step()
    assert unseen(watch) == {}
    assert watch.run.processes[0].sites[0].units == 5
