"""What runs compiled, counted in a repetition of its forward: nothing changes, and the counts are those of eager."""

import collections
import itertools
import random
import sys
import time
from contextlib import nullcontext

import click
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing._internal.distributed.fake_pg import FakeStore

import rectifier
from rectifier.cli.commands.run import command
from rectifier.errors import CannotWatch
from rectifier.monitor.training.observe_compiled import ExtraForwards
from rectifier.sandbox import CannotKeep, repeat

from ..launch.running import Case, differences, lay, python
from ..launch.running import rectifier as under_rectifier
from ..watching import Watching


class Net(nn.Module):
    """A batch norm, dropout, a function, a module in place, and a graph break if asked for."""

    def __init__(self, broken=False):
        super().__init__()
        self.first, self.norm, self.second, self.out = (
            nn.Linear(5, 11),
            nn.BatchNorm1d(11),
            nn.Linear(11, 7),
            nn.Linear(7, 2),
        )
        self.act, self.drop, self.broken = nn.LeakyReLU(0.1, inplace=True), nn.Dropout(0.3), broken

    def forward(self, x):
        h = self.drop(F.relu(self.norm(self.first(x))))
        if self.broken:
            torch._dynamo.graph_break()
        return self.out(self.act(self.second(h)))


def wrapped(model, **options):
    return torch.compile(model, **options)


def in_place(model, **options):
    model.compile(**options)
    return model


def eager(model, **options):
    return model


def train(build, compiled, watched, steps=9, half=False, **options):
    """Losses, weights, random state, the process as it was seen, and how many graphs were compiled."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch.manual_seed(5)
    model = build()
    call = compiled(model, **options)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    watch = rectifier.watch(call, observe_compiled=True, every=2) if watched else None
    losses = []
    for _ in range(steps):
        x, y = torch.randn(7, 5), torch.randint(2, (7,))
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = F.cross_entropy(call(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    process = None
    if watch is not None:
        watch.detach()
        process = watch.run.processes[0]
    state = torch.cat([value.flatten().float() for value in model.state_dict().values()])
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    return losses, state, torch.get_rng_state(), process, graphs


def differ(one, other):
    """In what two trainings differ, as `train` returns them."""
    names = ("losses", "state", "random state")
    same = (one[0] == other[0], torch.equal(one[1], other[1]), torch.equal(one[2], other[2]))
    found = [name for name, equal in zip(names, same, strict=True) if not equal]
    return found + ([] if one[4] == other[4] else [f"{one[4]} graphs became {other[4]}"])


def visits(process):
    counts = dict.fromkeys((site.ref.key for site in process.sites), 0)
    for window in (window for snapshot in process.snapshots for window in snapshot.windows):
        counts[process.sites[window.site].ref.key] += window.visits
    return counts


# Nothing changes --------------------------------------------------------------------------------------------------

PROOF = [
    pytest.param(
        wrapped,
        {"backend": "inductor", "fullgraph": fullgraph},
        half,
        marks=[pytest.mark.proof, pytest.mark.timeout(600)],
    )
    for fullgraph, half in [(False, False), (True, False), (False, True), (True, True)]
]


@pytest.mark.parametrize(
    ("compiled", "options", "half"),
    [
        (wrapped, {"backend": "aot_eager", "fullgraph": True}, True),
        (in_place, {"backend": "aot_eager"}, False),
        *PROOF,
    ],
)
def test_the_training_is_the_same_to_the_bit_and_compiled_as_often(compiled, options, half):
    def build():
        return Net(broken=not options.get("fullgraph", False))

    plain = train(build, compiled, watched=False, half=half, **options)
    assert differ(plain, train(build, compiled, watched=False, half=half, **options)) == []
    seen = train(build, compiled, watched=True, half=half, **options)
    assert differ(plain, seen) == []
    process = seen[3]
    assert visits(process) == {"Net": 35, "act": 35}, "7 samples at each of 5 steps, none of them twice"
    assert [(site.activation, site.units, site.repeated) for site in process.sites] == [
        ("relu", 11, True), ("leaky_relu:0.1", 7, True),
    ]  # fmt: skip
    assert (process.unseen, process.warnings) == ((), ())


def test_the_counts_are_those_of_the_same_model_uncompiled():
    by_eager = train(Net, eager, watched=True)
    by_repetition = train(Net, wrapped, watched=True, backend="aot_eager")
    assert by_eager[0] == by_repetition[0], "the values agree, so the counts must"
    one, other = by_eager[3], by_repetition[3]
    assert [site.ref.key for site in one.sites] == [site.ref.key for site in other.sites]
    for left, right in zip(one.snapshots, other.snapshots, strict=True):
        for a, b in zip(left.windows, right.windows, strict=True):
            for name in ("visits", "seen"):
                assert getattr(a, name) == getattr(b, name)
            for name in (
                "steps",
                "fired",
                "highest",
                "lowest",
                "mean",
                "last_fired",
                "silent_visits",
                "pre_mean",
                "bias",
            ):
                assert getattr(a, name).tolist() == getattr(b, name).tolist(), name
            assert b.fired.max() > 0
            assert not torch.tensor(a.delta).isnan().any()
            assert torch.tensor(b.delta).isnan().all(), "no gradient passes through a repetition"


@pytest.mark.parametrize(
    ("fault", "harm"),
    [
        ("streams_kept", {"losses", "state", "random state"}),
        ("belongings_kept", {"state"}),
    ],
)
def test_a_repetition_that_leaves_something_behind_would_be_caught(fault, harm, monkeypatch):
    plain = train(Net, wrapped, watched=False, backend="eager")

    monkeypatch.setattr(f"rectifier.sandbox.repetition.{fault}", lambda *things, **options: nullcontext())
    assert harm <= set(differ(plain, train(Net, wrapped, watched=True, backend="eager")))


# All that a forward may change ------------------------------------------------------------------------------------


class Settings:
    def __init__(self):
        self.calls, self.names = 0, {"seen": [1]}


class Keeping(nn.Module):
    """Changes every kind of state in its forward, and begins with an activation in place."""

    def __init__(self):
        super().__init__()
        self.layer = nn.utils.weight_norm(nn.Linear(3, 3))
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("steps", torch.zeros(3))
        self.register_buffer("same", self.steps)
        self.plain, self.array = torch.zeros(3), np.zeros(3)
        self.calls, self.history, self.cache, self.names = 0, [1], {"a": [torch.ones(3)]}, {"x"}
        self.settings, self.last = Settings(), None
        self.numbers, self.own, self.theirs = np.random.default_rng(3), torch.Generator(), random.Random(5)
        self.queue = collections.deque([1, 2], maxlen=2)

    def forward(self, x, *, more):
        x = F.relu_(x) + more["offset"]
        self.calls += 1
        self.last = self.layer(x)
        self.steps += 1
        self.same.mul_(2)
        self.plain.add_(1)
        self.array += 1
        self.history.append(self.last)
        self.cache["a"][0].add_(1)
        self.cache["b"] = self.history
        self.names.add("y")
        self.queue.append(3)
        self.settings.calls += 1
        self.settings.names["seen"].append(2)
        self.settings.added = self
        self.register_buffer("late", torch.ones(3))
        more["seen"] = True
        drawn = self.numbers.random() + self.theirs.random() + torch.rand(1, generator=self.own)
        drawn = drawn + random.random() + np.random.random() + torch.rand(1)
        return torch.relu(self.norm(self.last)) * drawn.float()


def fingerprint(*things):
    """Everything that can be reached, as text and numbers."""
    met, found = set(), []

    def look(thing):
        if isinstance(thing, Tensor):
            found.append((id(thing), thing._version, thing.detach().tolist()))
        elif isinstance(thing, np.ndarray):
            found.append((id(thing), thing.tolist()))
        elif isinstance(thing, torch.Generator):
            found.append(thing.get_state().tolist())
        elif isinstance(thing, np.random.Generator):
            found.append(str(thing.bit_generator.state))
        elif isinstance(thing, random.Random):
            found.append(thing.getstate())
        elif isinstance(thing, dict | list | set | collections.deque | Settings | nn.Module):
            if id(thing) in met:
                return
            met.add(id(thing))
            inside = vars(thing) if isinstance(thing, Settings | nn.Module) else thing
            found.append((id(thing), len(inside), list(inside) if isinstance(inside, dict) else ""))
            for one in inside.values() if isinstance(inside, dict) else list(inside):
                look(one)
        else:
            found.append(str(thing))

    for thing in things:
        look(thing)
    streams = (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state()))
    return [*found, *streams, torch.is_autocast_cache_enabled(), torch.is_grad_enabled()]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_repetition_leaves_everything_that_hangs_on_a_model_as_it_was():
    model = Keeping()
    called = []
    handles = [
        model.layer.register_forward_hook(lambda *_: called.append("module")),
        model.register_forward_pre_hook(lambda *_: called.append("root")),
        nn.modules.module.register_module_forward_hook(lambda *_: called.append("everywhere")),
    ]
    x, more = torch.randn(7, 3), {"offset": torch.ones(3)}
    try:
        before = fingerprint(model, x, more)
        output = repeat(model, (x,), {"more": more})
        assert fingerprint(model, x, more) == before
        assert called == []
        assert output.grad_fn is not None
        with pytest.raises(Exception, match=r"NoneType|None"):
            output.sum().backward()
        assert model.layer.weight_g.grad is None
        model(x, more=more)
        assert fingerprint(model, x, more) != before, "the forward changes what the test looks at"
        assert set(called) == {"module", "root", "everywhere"}
    finally:
        for handle in handles:
            handle.remove()


def test_the_repetition_computes_what_the_forward_computes():
    model, x, more = Net(), torch.randn(7, 5), torch.get_rng_state()
    repeated = repeat(model, (x,), {})
    assert torch.equal(torch.get_rng_state(), more)
    assert torch.equal(repeated, model(x))


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (itertools.cycle([1.0]), "Holding.held is cycle, and an iterator cannot be set back"),
        ([[n] for n in range(100)], "Holding.held holds more than 50 Python objects"),
        ({"a": np.zeros(1 << 18)}, "Holding.held holds more than 1 MiB of numbers"),
    ],
)
def test_what_cannot_be_put_back_is_refused_before_the_forward_runs(held, told, monkeypatch):
    monkeypatch.setattr("rectifier.sandbox.belongings._MOST_OBJECTS", 50)
    monkeypatch.setattr("rectifier.sandbox.belongings._MOST_BYTES", 1 << 20)

    class Holding(nn.Module):
        def forward(self, x):
            raise AssertionError("ran")

    model = Holding()
    model.held = held
    with pytest.raises(CannotKeep, match=told):
        repeat(model, (torch.ones(1),), {})


def test_a_forward_that_waits_for_other_ranks_is_refused():
    class Waiting(nn.Module):
        def forward(self, x):
            torch.distributed.all_reduce(x)
            raise AssertionError("waited")

    torch.distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    try:
        with pytest.raises(CannotKeep, match="every rank would have to repeat the same steps"):
            repeat(Waiting(), (torch.ones(3),), {})
    finally:
        torch.distributed.destroy_process_group()


# Never in the way -------------------------------------------------------------------------------------------------


class Failing(Net):
    """Fails where nobody compiles."""

    def forward(self, x):
        if not torch.compiler.is_compiling():
            raise ValueError("not like this\nand more")
        return super().forward(x)


class Writing(Net):
    def forward(self, x):
        if not torch.compiler.is_compiling():
            with torch.no_grad():
                self.out.bias.add_(0.0)
        return super().forward(x)


class Momentum(Net):
    """A second encoder that follows the first, and weighs in the loss."""

    def __init__(self):
        super().__init__()
        self.key = nn.Linear(5, 11)

    @torch._dynamo.disable
    def follow(self):
        for mine, other in zip(self.key.parameters(), self.first.parameters(), strict=True):
            mine.data = mine.data * 0.9 + other.data * 0.1

    def forward(self, x):
        self.follow()
        return super().forward(x) + self.key(x).relu().mean()


class MomentumPastAutograd(Momentum):
    @torch._dynamo.disable
    def follow(self):
        for mine, other in zip(self.key.parameters(), self.first.parameters(), strict=True):
            mine.data.mul_(0.9).add_(other.data, alpha=0.1)


class MomentumInPlace(Momentum):
    @torch._dynamo.disable
    @torch.no_grad()
    def follow(self):
        for mine, other in zip(self.key.parameters(), self.first.parameters(), strict=True):
            mine.mul_(0.9).add_(other, alpha=0.1)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (Failing, "ValueError: not like this"),
        (Writing, "the forward writes to Writing.out.bias, which is a parameter"),
        *[
            (build, f"the forward writes to {build.__name__}.key.weight, which is a parameter")
            for build in (Momentum, MomentumPastAutograd, MomentumInPlace)
        ],
    ],
)
def test_where_it_cannot_be_repeated_there_is_one_warning_and_the_training_goes_on(build, told):
    plain = train(build, wrapped, watched=False, backend="eager")
    seen = train(build, wrapped, watched=True, backend="eager")
    assert differ(plain, seen) == []
    beginning = f"no extra uncompiled forward of {build.__name__}: "
    assert seen[3].warnings == (beginning + told,)
    assert "a compiled region" in {one.what for one in train(build, wrapped, True, backend="aot_eager")[3].unseen}


class Selecting(Net):
    def forward(self, x):
        h = super().forward(x)
        return torch.where(h > 0, h, 0)


def test_what_the_repetition_does_not_see_either_is_listed():
    process = train(Selecting, wrapped, watched=True, backend="aot_eager")[3]
    assert [one.what for one in process.unseen] == ["torch.where"]


def test_a_compiled_part_is_counted_within_its_model():
    def build():
        return nn.Sequential(nn.Linear(5, 5), nn.Tanh(), Net())

    def part(model, **options):
        model[2].compile(**options)
        return model

    plain = train(build, part, watched=False, backend="aot_eager")
    seen = train(build, part, watched=True, backend="aot_eager")
    assert differ(plain, seen) == []
    assert visits(seen[3]) == {"Sequential.1": 35, "Sequential.2": 35, "2.act": 35}
    assert [site.repeated for site in seen[3].sites] == [False, True, True]


def test_without_the_option_it_is_refused_with_the_line_to_write():
    model = wrapped(Net(), backend="eager")
    with pytest.raises(CannotWatch, match=r"rectifier\.watch\(model, observe_compiled=True\)"):
        rectifier.watch(model)


def test_it_counts_against_the_budget():
    class Slow(Net):
        def forward(self, x):
            if not torch.compiler.is_compiling():
                time.sleep(0.02)
            return super().forward(x)

    torch._dynamo.reset()
    model = Slow()
    call = wrapped(model, backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watching(model, budget=0.001, observe_compiled=True) as watch:
        for _ in range(64):
            F.cross_entropy(call(torch.randn(7, 5)), torch.zeros(7, dtype=torch.int64)).backward()
            optimizer.step()
    cost = watch.process.snapshots[-1].cost
    assert cost.watching_seconds >= 0.02 * cost.observed_steps
    assert cost.count_interval > 4, "the schedule has lengthened"


def test_the_time_of_a_device_is_taken_once_it_is_known():
    class Event:
        done = False

        def query(self):
            return self.done

        def elapsed_time(self, end):
            return 30.0

    extra = ExtraForwards(None, None, None)
    start, end = Event(), Event()
    extra._on_device = [(start, end, 0.01)]
    assert extra.end_step() == 0
    end.done = True
    assert extra.end_step() == pytest.approx(0.02)
    assert extra.end_step() == 0


def test_nothing_is_left_behind():
    def interceptions():
        frames = sys.modules["torch._dynamo.eval_frame"]
        return nn.Module._wrapped_call_impl.__code__, frames.OptimizedModule.__call__, dict(vars(nn.modules.module))

    wrapped(Net(), backend="eager")
    before = interceptions()
    with Watching(observe_compiled=True), Watching(observe_compiled=True):
        assert interceptions()[:2] != before[:2]
    assert interceptions() == before


def test_what_a_forward_prints_comes_twice_as_the_help_says(capsys):
    class Printing(Net):
        @torch._dynamo.disable
        def say(self):
            print("said")

        def forward(self, x):
            self.say()
            return super().forward(x)

    train(Printing, wrapped, watched=True, steps=3, backend="eager")
    assert capsys.readouterr().out.split() == ["said"] * 5, "3 steps, of which 2 are observed"
    told = " ".join(command.get_help(click.Context(command)).split())
    assert "What the forward prints or writes to files then comes twice." in told


SCRIPT = """
import torch, torch.nn.functional as F
from torch import nn

torch.manual_seed(3)
model = nn.Sequential(nn.Linear(5, 11), nn.BatchNorm1d(11), nn.ReLU(), nn.Dropout(0.3), nn.Linear(11, 2))
compiled = torch.compile(model, backend="eager", fullgraph=True)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(9):
    loss = compiled(torch.randn(7, 5)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
print(torch.get_rng_state().sum().item(), [value.double().sum().item().hex() for value in model.state_dict().values()])
"""


def test_a_compiled_script_is_seen_by_rectifier_run(tmp_path):
    case = Case({"train.py": SCRIPT})
    lay(case, tmp_path / "here")
    plainly = python(case, tmp_path / "here")
    ours, (run,) = under_rectifier(case, tmp_path / "here", "--observe-compiled", "--every", "1")
    assert differences(plainly, ours) == []
    (process,) = run.processes
    assert visits(process) == {"Sequential.2": 63}
    assert "Runs compiled: All layers. Counted in an extra uncompiled forward" in " ".join(ours.err.split())
