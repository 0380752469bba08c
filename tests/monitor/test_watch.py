"""`watch` in a notebook: on and off at any time, within one another, on a part, and honest about what it cannot see."""

import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.errors import CannotWatch
from rectifier.records import AxisSource, Treated
from rectifier.report.sentences.recorded import why_unseen
from rectifier.report.sentences.treated import treatment_text

from ..watching import Watching


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
    counts = dict.fromkeys((site.ref.key for site in process.sites), 0)
    for snapshot in process.snapshots:
        for window in snapshot.windows:
            counts[process.sites[window.site].ref.key] += window.visits
    return counts


def unseen(watch):
    return {one.what.partition(" (")[0]: why_unseen(one) for one in watch.run.processes[0].unseen}


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
    line = str(refused.value).splitlines()[-1].strip().replace("watch(model)", "watch(model, every=1)")
    scope = {"torch": torch, "rectifier": rectifier, "model": model, "train": train}
    exec(f"{line}\n    losses = train(model, 3)", scope)
    assert seen(scope["watch"]) == {"act": 33, "Net": 33}
    assert unseen(scope["watch"]) == {}
    assert train(model)[0] < scope["losses"][0], "the same weights train on, compiled again"


def test_what_runs_compiled_after_all_is_listed_although_nothing_else_was_seen():
    torch._dynamo.reset()
    model = Net()
    with rectifier.watch(every=1) as watch:
        train(compiled_wrapper(model), 3)
    assert seen(watch) == {}
    assert "rectifier run --observe-compiled" in unseen(watch)["a compiled region"]


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

    with rectifier.watch(every=1) as watch:
        train(Model(), 3)
    (what,) = unseen(watch)
    assert kind.startswith(what)
    assert REASONS[kind] in unseen(watch)[what]
    assert len(seen(watch)) == (0 if alone else 1)


def test_what_is_no_activation_of_a_model_was_not_overlooked_either():
    """A hinge loss, a metric, an empty batch."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with rectifier.watch(every=1) as watch:
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


# On and off -------------------------------------------------------------------------------------------------------


def test_it_is_attached_and_detached_at_any_time():
    model = Net()
    train(model, 2)
    watch = rectifier.watch(model, every=1)
    train(model, 3)
    assert seen(watch) == {"act": 33, "Net": 33}, "asked between steps"
    train(model, 1)
    watch.detach()
    watch.detach()
    train(model, 5)
    assert seen(watch) == {"act": 44, "Net": 44}
    with rectifier.watch(model, every=1) as again:
        train(model, 2)
    assert seen(again) == {"act": 22, "Net": 22}


def test_detached_between_forward_and_backward_the_training_goes_on():
    losses = []
    for watched in (False, True):
        torch.manual_seed(3)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        watch = rectifier.watch(model, every=1) if watched else None
        loss = model(torch.ones(11, 3)).square().mean()
        if watch is not None:
            watch.detach()
        loss.backward()
        optimizer.step()
        losses.append([loss.item(), *train(model, 2)])
    assert losses[0] == losses[1]


def test_watches_within_one_another_count_each_for_itself():
    model = nn.Sequential(Net(), nn.Tanh(), nn.Linear(2, 1))
    with rectifier.watch(model, every=1) as outer:
        train(model, 2)
        with rectifier.watch(model[0], every=1) as inner:
            train(model, 3)
        train(model, 1)
    assert seen(outer) == {"0.act": 66, "Sequential.0": 66, "Sequential.1": 66}
    assert seen(inner) == {"act": 33, "Net": 33}


def test_it_shows_itself_as_a_table_and_draws_nothing():
    import random

    model = Net()
    with rectifier.watch(model, every=1) as watch:
        train(model, 3)
        before = random.getstate(), torch.get_rng_state()
        text = repr(watch)
        assert (random.getstate(), torch.get_rng_state().tolist()) == (before[0], before[1].tolist())
    header = next(line for line in text.splitlines() if line.startswith("layer"))
    assert {"units", "dead"} < set(header.split())
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith(("act ", "second "))}
    assert ("5" in rows["act"], "7" in rows["second"]) == (True, True)


def test_numbers_that_are_not_finite_are_told_and_the_training_goes_on():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with rectifier.watch(model, every=1) as watch:
        for value in (1.0, float("nan"), 1.0):
            optimizer.zero_grad()
            model(torch.full((7, 3), value)).square().mean().backward()
            optimizer.step()
    assert watch.run.processes[0].warnings == ()
    assert watch.diagnose().findings[0].title == "the input contained NaN or infinity at step 1"


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_a_model_of_ten_thousand_modules_trains_the_same_and_is_seen():
    losses = []
    for watched in (False, True):
        torch.manual_seed(1)
        pairs = [module for _ in range(4999) for module in (nn.Linear(3, 3), nn.ReLU())]
        model = nn.Sequential(*pairs, nn.Linear(3, 3), nn.Linear(3, 1))
        watch = rectifier.watch(model) if watched else None
        losses.append(train(model, 2))
    watch.detach()
    process = watch.run.processes[0]
    assert losses[0] == losses[1]
    assert (len(process.sites), process.warnings) == (4999, ())


def test_what_takes_long_to_write_is_written_rarely():
    model = Net()
    with Watching(model, every=1) as watching:
        train(model, 3)
        assert 1.0 <= watching.monitor.observation.windows.patience(armed=True) <= 4.0
        read = watching.monitor.observation.models.read

        def slow(**options):
            until = time.thread_time() + 0.2
            while time.thread_time() < until:
                pass
            return read(**options)

        watching.monitor.observation.models.read = slow
        watching.monitor.flush()
        assert watching.monitor.observation.windows.patience(armed=True) >= 20 * 0.2


# Units ------------------------------------------------------------------------------------------------------------


class Mixer(nn.Module):
    """Applies an activation to something that has been turned around."""

    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(3, 5), nn.ReLU()

    def forward(self, x):
        return self.act(self.layer(x).transpose(1, 2).cumsum(2))


def mixed(units, model=None):
    model = model or Mixer()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with rectifier.watch(model, units=units) as watch:
        model(torch.ones(7, 11, 3)).square().mean().backward()
        optimizer.step()
    (site,) = watch.run.processes[0].sites
    return site.units, site.unit_axis.axis, site.unit_axis.source


def test_units_are_what_the_user_says_where_it_cannot_be_told():
    assert mixed(None)[:2] == (None, None)
    assert mixed({"act": 1}) == (5, 1, AxisSource.USER)
    assert mixed({"a*": -1}) == (11, -1, AxisSource.USER)


@pytest.mark.parametrize(
    ("units", "told"),
    [
        ({"act": 2}, "units are on axis 1"),
        ({"act": True}, "units are on axis 1"),
        ({"akt": 1}, "Mixer has no module of that path. Similar ones: act"),
    ],
)
def test_a_mistake_in_units_is_told_with_what_to_write(units, told):
    with pytest.raises(CannotWatch, match=told):
        mixed(units)


# Changes ----------------------------------------------------------------------------------------------------------


def test_a_change_that_python_makes_is_kept_with_its_step_and_told():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 2))
    other = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 2))
    inputs = torch.randn(4_000, 3)
    rectifier.rescale(model, inputs)  # nobody watches yet
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step():
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    with rectifier.watch(model, every=1) as watch:
        rectifier.rescale(model, inputs)
        rectifier.rescale(other, inputs).undo()  # not the one that is watched
        rectifier.rescale(model, inputs, mode="lsuv").undo()
        with torch.no_grad():
            model[0].bias[:2] = -100
        step()
        step()
        rectifier.recycle(model, optimizer, watch, batch=inputs).undo()
        rectifier.recycle(model, optimizer, watch, batch=inputs)
        step()
        change = rectifier.swap(model, "relu", "leaky_relu:0.1")
        step()
        change.undo()
        step()
        assert [(one.step, one.name) for one in watch.run.processes[0].treated] == [
            (-1, "rescale"), (-1, "rescale"), (-1, "undo"),
            (1, "recycle"), (1, "undo"), (1, "recycle"), (2, "swap"), (3, "undo"),
        ]  # fmt: skip
    rectifier.swap(model, "relu", "elu")  # and nobody any more
    rescaled, _, rescaled_back, _, recycled_back, recycled, swapped, undone = watch.run.processes[0].treated
    assert treatment_text(rescaled).startswith("2 layers of Sequential rescaled (gain), by factors from ")
    assert treatment_text(recycled) == "2 dead units recycled: 2 of Sequential.1"
    assert recycled.units == {"Sequential.1": (0, 1)}
    assert treatment_text(rescaled_back) == "the initial weights of Sequential are back"
    assert treatment_text(recycled_back) == "taken back: 2 dead units recycled: 2 of Sequential.1"
    assert treatment_text(swapped) == "relu became leaky_relu:0.1 (1)"
    assert treatment_text(undone) == "relu is back"
    told = " ".join(repr(watch).split())
    assert "Before the first step: 2 layers of Sequential rescaled" in told
    assert "After step 1: 2 dead units recycled: 2 of Sequential.1. Of the 2 recycled units, 2 fired since." in told


def test_who_listens_and_fails_does_not_fail_the_change(monkeypatch):
    model = nn.Sequential(nn.Linear(3, 7), nn.ReLU())
    with rectifier.watch(model) as watch:
        record = watch._sink.record
        monkeypatch.setattr(watch._sink, "record", lambda fact: 1 / 0 if isinstance(fact, Treated) else record(fact))
        train(model, 3)
        rectifier.swap(model, "relu", "elu")
        train(model, 3)
    assert any("ZeroDivisionError" in warning for warning in watch.run.processes[0].warnings)


def test_a_watched_module_whose_own_forward_never_runs_is_seen_part_by_part():
    """As in Lightning: `training_step` calls the parts, nobody calls the module."""

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
            self.head = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 1))

        def training_step(self, batch):
            return self.head(self.encoder(batch)).square().mean()

    torch.manual_seed(0)
    module, stranger = Module(), nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.SGD([*module.parameters(), *stranger.parameters()], lr=0.01)
    with rectifier.watch(module, every=1) as watch:
        for _ in range(4):
            batch = torch.rand(11, 3)
            optimizer.zero_grad()
            (module.training_step(batch) + stranger(batch).mean()).backward()
            optimizer.step()
    (process,) = watch.run.processes
    assert [(site.ref.key, site.units) for site in process.sites] == [("encoder.1", 5), ("head.1", 7)]
    visits = [sum(w.visits for s in process.snapshots for w in s.windows if w.site == index) for index in (0, 1)]
    assert visits == [44, 44]
    assert all(len(window.delta) for snapshot in process.snapshots for window in snapshot.windows)


def test_nothing_seen_is_not_called_healthy():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    other = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.01)
    with rectifier.watch(model, every=1) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            other(torch.rand(11, 3)).mean().backward()
            optimizer.step()
    assert "No problems found" not in repr(watch)
    assert "Neither activations nor parameters were observed" in repr(watch)
    assert "Nothing was observed" in watch._repr_html_()
    assert "No problems found" not in watch._repr_html_() + watch.diagnose()._repr_html_()


@pytest.mark.parametrize("second", [False, True])
def test_steps_that_are_not_observed_are_counted_and_their_losses_kept(second):
    model, other = Net(), nn.Linear(3, 1)
    watch = rectifier.watch(model, every=64)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    another = torch.optim.SGD(other.parameters(), 0.01)
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = model(torch.randn(5, 3)).square().mean()
        loss.backward()
        optimizer.step()
        if second:
            # A second optimizer, which steps by turns, is not the clock.
            another.step()
        losses.append(loss.item())
    process = watch.run.processes[0]
    watch.detach()
    kept = [snapshot.series["loss"] for snapshot in process.snapshots]
    assert [step for series in kept for step in series.steps.tolist()] == list(range(300))
    assert [value for series in kept for value in series.values.tolist()] == losses
    cost = process.snapshots[-1].cost
    assert (cost.steps, cost.observed_steps) == (300, 5)
    assert 0 < cost.watching_seconds < cost.training_seconds


def test_of_a_loss_that_is_complex_the_real_part_is_kept():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    watch = rectifier.watch(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loss = model(torch.ones(1, 3)).to(torch.complex64).sum() * (1 + 1j)
    loss.backward(torch.ones_like(loss))
    optimizer.step()
    process = watch.run.processes[0]
    watch.detach()
    assert process.snapshots[0].series["loss"].values.tolist() == [pytest.approx(loss.real.item())]
