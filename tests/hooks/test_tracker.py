"""Every activation call gets the number that it has in its own forward, whoever asks."""

import gc
import threading
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

import rectifier
from rectifier.hooks.calls import functions
from rectifier.hooks.calls.tracker import CallTracker

OWNERS = ("first", "second", "root")


class Seen:
    """Keeps the numbers that a tracker gives."""

    armed = True

    def __init__(self, tracker):
        self.tracker = tracker
        self.calls = []

    def before(self, name, args, kwargs):
        call = self.tracker.meet(args, kwargs)
        if call is not None:
            self.calls.append((type(call.place.owner).__name__, call.number, call.first))

    def after(self, token, output):
        pass


class First(nn.Module):
    def forward(self, x):
        return F.relu(x)


class Second(First):
    pass


class Root(nn.Module):
    """Applies activations as it is told: whose, and whether with gradients."""

    def __init__(self, plan):
        super().__init__()
        self.layer, self.plan = nn.Linear(5, 5), plan
        self.children_by_name = nn.ModuleDict({"first": First(), "second": Second()})

    def forward(self, x):
        x = self.layer(x)
        for owner, gradients in self.plan:
            with torch.set_grad_enabled(gradients):
                x = F.relu(x) if owner == "root" else self.children_by_name[owner](x)
        return x


def numbers(model, tracker, *batches):
    seen = Seen(tracker)
    forget = functions.observe(seen)
    try:
        for batch in batches:
            model(batch)
    finally:
        forget()
    return seen.calls


def expected(plan, *, gradients):
    """Written down from the definition."""
    counts, calls = dict.fromkeys(OWNERS, 0), []
    for owner, with_gradients in plan:
        if with_gradients or not gradients:
            calls.append((owner.capitalize(), counts[owner], not calls))
            counts[owner] += 1
    return calls


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(OWNERS), st.booleans()), max_size=7), st.booleans(), st.booleans())
def test_calls_are_numbered_by_owner_and_forward(plan, gradients, named):
    model = Root(plan)
    tracker = CallTracker(model if named else None, gradients=gradients)
    found = numbers(model, tracker, torch.ones(3, 5), torch.ones(7, 5))
    assert found == expected(plan, gradients=gradients) * 2


def test_the_law_would_notice_a_call_that_is_counted_too_many():
    plan = [("root", False), ("root", True)]
    found = numbers(Root(plan), CallTracker(gradients=False), torch.ones(3, 5))
    assert found != expected(plan, gradients=True)


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_backward_runs_again_has_no_number(reentrant):
    model, tracker = Root([("root", True)]), CallTracker()
    seen = Seen(tracker)
    forget = functions.observe(seen)
    checkpoint(model, torch.ones(3, 5, requires_grad=True), use_reentrant=reentrant).sum().backward()
    forget()
    assert seen.calls == [("Root", 0, True)]


def test_parts_that_are_called_by_turns_are_parts_and_strangers_are_not():
    model = nn.ModuleList([Root([("root", True)]), Root([("root", True)] * 2)])
    tracker = CallTracker(model)
    found = [numbers(part, tracker, torch.ones(3, 5)) for part in (*model, Root([("root", True)]))]
    assert [len(calls) for calls in found] == [1, 2, 0]


def test_threads_number_their_own_forwards():
    together = threading.Barrier(2, timeout=30)

    class Both(Root):
        def forward(self, x):
            for _ in range(3):
                together.wait()
                x = F.relu(self.layer(x))
            return x

    model, seen = Both([]), Seen(CallTracker())
    forget = functions.observe(seen)
    threads = [threading.Thread(target=model, args=(torch.ones(3, 5),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    forget()
    assert sorted(number for _, number, _ in seen.calls) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("end", [CallTracker.end, CallTracker.end_step])
def test_a_forward_that_is_let_go_keeps_nothing_alive(end):
    tracker, batch = CallTracker(), torch.ones(3, 5)
    numbers(Root([("root", True)]), tracker, batch)
    there = weakref.ref(batch)
    del batch
    assert there() is not None
    end(tracker)
    gc.collect()
    assert there() is None


def test_one_who_observes_alone_takes_no_other_threads_calls_from_anybody():
    model, other, alone = Root([("root", True)]), Seen(CallTracker()), Seen(CallTracker())
    forgets = [functions.observe(other), functions.observe_alone(alone)]
    model(torch.ones(3, 5))
    thread = threading.Thread(target=model, args=(torch.ones(3, 5),))
    thread.start()
    thread.join()
    while forgets:
        forgets.pop()()
    model(torch.ones(3, 5))
    assert (len(alone.calls), len(other.calls)) == (1, 1)


def test_a_watch_and_a_treatment_mean_the_same_call():
    class Statistics(nn.Module):
        """Reads three numbers without gradients before it applies its activation."""

        def __init__(self):
            super().__init__()
            self.look, self.scale = nn.Linear(5, 3), nn.Linear(3, 1)
            self.fc, self.out = nn.Linear(5, 7), nn.Linear(7, 2)

        def forward(self, x):
            with torch.no_grad():
                scale = self.scale(F.relu(self.look(x)))
            return self.out(F.relu(self.fc(x))) * scale

    torch.manual_seed(0)
    model, x = Statistics(), torch.randn(4000, 5)
    with torch.no_grad():
        model.fc.bias[:4] = -100
    optimizer = torch.optim.Adam(model.parameters())
    with rectifier.watch(model, every=1) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        before = model(x)
        change = rectifier.recycle(model, optimizer, watch, batch=x)
        (site,) = watch.run.processes[0].sites
    assert (site.call, site.units) == (0, 7)
    assert list(change.units.values()) == [(0, 1, 2, 3)]
    assert torch.allclose(model(x), before, atol=1e-6)
    assert all(weight.requires_grad for weight in model.parameters())
