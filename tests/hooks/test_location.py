"""A forward that is called by name is a module's forward, and nothing of what it computes is kept for that."""

import functools
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rectifier.hooks import location
from rectifier.hooks.calls import functions
from rectifier.hooks.calls.tracker import CallTracker

from ..watching import Watching


class Keeps:
    """Remembers where calls come from."""

    armed = True

    def __init__(self):
        self.tracker, self.found = CallTracker(), []

    def before(self, name, args, kwargs):
        call = self.tracker.meet(args, kwargs)
        if call is not None:
            place = call.place
            inputs = [type(value).__name__ for value in place.inputs()]
            self.found.append((type(place.root).__name__, type(place.owner).__name__, call.number, call.first, inputs))

    def after(self, token, output):
        pass


def found(run):
    keeps = Keeps()
    forget = functions.observe(keeps)
    try:
        run()
    finally:
        forget()
    return keeps.found


def twice(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Inner(nn.Module):
    def forward(self, x):
        return F.relu(x)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.inner, self.act = nn.Linear(3, 5), Inner(), nn.ReLU()

    def forward(self, x, *rest, factor=1, **more):
        return self.act.forward(F.relu(self.inner.forward(self.layer(x))))


class Decorated(Outer):
    @twice
    def forward(self, x):
        scale = [module for module in self.modules() if isinstance(module, nn.Linear)]
        return Outer.forward(self, x) * len(scale)


X = torch.ones(7, 3)
OWNERS = ("Inner", 0, True), ("Outer", 0, False), ("ReLU", 0, False)


@pytest.mark.parametrize("cls", [Outer, Decorated])
@pytest.mark.parametrize("by_name", [True, False])
def test_a_forward_called_by_name_is_the_modules(cls, by_name):
    model = cls()
    calls = found(lambda: [(model.forward if by_name else model)(X) for _ in range(2)])
    assert [call[0] for call in calls] == [cls.__name__] * 6
    expected = [(cls.__name__ if owner == "Outer" else owner, *rest) for owner, *rest in OWNERS] * 2
    assert [call[1:4] for call in calls] == expected


def test_arguments_of_a_forward_called_by_name_are_told_unless_they_were_computed():
    class Renames(Outer):
        def forward(self, x, mask, *rest, factor=1, **more):
            x = self.layer(x)
            return F.relu(x)

    calls = found(lambda: Renames().forward(X, X, 3, factor=2.0, name="a"))
    assert calls[0][4] == ["Renames", "Tensor", "float", "int", "str"]


def test_functions_that_are_merely_named_forward_are_none():
    def forward(x):
        return F.relu(x)

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return F.relu(x)

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    class Plain:
        def forward(self, x):
            return F.relu(x)

    assert found(lambda: (forward(X), Function.apply(X), Plain().forward(X))) == []


def test_what_a_forward_called_by_name_computes_dies_when_it_deletes_it():
    alive = []

    class Deletes(Outer):
        def forward(self, x):
            hidden = self.layer(x)
            there = weakref.ref(hidden)
            hidden = F.relu(hidden)
            alive.append(there() is not None)
            return hidden

    model = Deletes()
    keeps = Keeps()
    forget = functions.observe(keeps)
    output = model.forward(X)
    there = weakref.ref(output)
    del output
    forget()
    assert alive == [False]
    assert there() is None


def test_the_users_own_locals_stay_as_they_are():
    class Looks(Outer):
        def forward(self, x):
            mine = locals()
            y = F.relu(self.layer(x))
            assert mine["x"] is x
            return y

    found(lambda: Looks().forward(X))


def test_a_marked_frame_traces_nothing():
    class Traced(Outer):
        def forward(self, x):
            return location.sys._getframe().f_trace, F.relu(self.layer(x)), location.sys._getframe().f_trace

    model = Traced()
    seen = []
    found(lambda: seen.append(model.forward(X)))
    before, _, after = seen[0]
    assert before is None
    assert after() is None
    model.forward(X)


def train(model, call, steps=5):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = call(torch.ones(7, 3)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_training_by_name_is_observed_and_its_losses_are_the_same():
    torch.manual_seed(0)
    model, other = Outer(), Outer()
    other.load_state_dict(model.state_dict())
    with Watching(every=1) as watch:
        losses = train(model, model.forward)
    assert losses == train(other, other.forward)
    assert [site.ref.key for site in watch.process.sites] == ["inner", "Outer", "act"]
    assert [sum(w.visits for s in watch.process.snapshots for w in s.windows if w.site == k) for k in range(3)] == [
        35
    ] * 3
