"""Models that train in several threads at once: nothing is lost, counted twice or raised."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rectifier.monitor import MemorySink, Monitor

THREADS, STEPS, ROWS = 8, 5, 7


class Net(nn.Module):
    """One module that applies its activation twice, and one by function."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 1)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.last(F.leaky_relu(self.act(self.second(self.act(self.first(x)))), 0.2))


def in_threads(work):
    """Run `work(number)` in each thread, all from the same moment on; raises what one of them raised."""
    failures, together = [], threading.Barrier(THREADS)

    def run(number):
        try:
            together.wait()
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def train(model, steps=STEPS, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        loss = model(torch.randn(ROWS, 4, generator=generator)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def watched(work, **options):
    sink = MemorySink()
    monitor = Monitor(sink, every=1, **options)
    monitor.start()
    try:
        in_threads(work)
    finally:
        monitor.stop()
    return sink.process()


def visits(process):
    found = {}
    for snapshot in process.snapshots:
        for window in snapshot.windows:
            site = process.sites[window.site]
            key = (site.model, site.path, site.call)
            found[key] = found.get(key, 0) + window.visits
    return found


@pytest.mark.parametrize("round_", range(50))
def test_each_of_many_models_is_counted_to_its_last_sample(round_):
    models = [Net() for _ in range(THREADS)]
    process = watched(lambda number: train(models[number]))
    assert process.warnings == ()
    names = {"Net" if number == 0 else f"Net#{number + 1}" for number in range(THREADS)}
    expected = {(name, *place): STEPS * ROWS for name in names for place in (("act", 0), ("act", 1), ("", 0))}
    assert visits(process) == expected
    for snapshot in process.snapshots:
        for window in snapshot.windows:
            # The losses are those of one forward each: 7 rows, whatever another thread did meanwhile.
            assert (window.fired <= window.visits).all()
            assert (torch.tensor(window.steps).diff() > 0).all()


def test_a_model_that_all_threads_share_is_counted_whole():
    """Each thread adds its gradients; only then one step is taken."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    everybody = threading.Barrier(THREADS)

    def work(number):
        for _ in range(STEPS):
            model(torch.randn(ROWS, 4)).square().mean().backward()
        everybody.wait()
        if number == 0:
            optimizer.step()

    process = watched(work)
    assert process.warnings == ()
    assert visits(process) == {("Net", *place): THREADS * STEPS * ROWS for place in (("act", 0), ("act", 1), ("", 0))}


def test_an_update_is_of_the_optimizer_that_made_it():
    """A second optimizer steps while the first is in the middle of its step; neither sees the other's update."""
    fast, slow = Net(), Net()
    inside, done = threading.Event(), threading.Event()

    class Waiting(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            inside.set()
            assert done.wait(10)

    def work(number):
        if number == 0:
            train(slow, 1, Waiting(slow.parameters(), lr=0.01))
        elif number == 1:
            assert inside.wait(10)
            train(fast, 1)
            done.set()

    before = {model: model.first.weight.detach().clone() for model in (slow, fast)}
    process = watched(work)
    assert process.warnings == ()
    found = {
        process.sites[window.site].model: window.update[0]
        for snapshot in process.snapshots
        for window in snapshot.windows
        if (process.sites[window.site].path, process.sites[window.site].call) == ("act", 0)
    }
    changed = {model: ((model.first.weight.detach() - old).norm() / old.norm()).item() for model, old in before.items()}
    assert sorted(found.values()) == pytest.approx(sorted(changed.values()), rel=1e-4)


def test_a_gradient_of_another_threads_is_not_read():
    """Reading `.grad` while another thread's backward pass sets it can end the process."""
    first, second = Net(), Net()
    read = []

    class Told(torch.nn.Parameter):
        @property
        def grad(self):
            read.append(threading.current_thread().name)
            return torch.Tensor.grad.__get__(self)

        @grad.setter
        def grad(self, value):
            torch.Tensor.grad.__set__(self, value)

    second.first.bias = Told(torch.zeros(5))
    forward_done, may_end = threading.Event(), threading.Event()

    def work(number):
        if number == 0:
            assert forward_done.wait(10)
            threading.current_thread().name = "the other"
            train(first, 3)
            may_end.set()
        elif number == 1:
            second(torch.randn(ROWS, 4)).sum()
            forward_done.set()
            assert may_end.wait(10)

    assert watched(work).warnings == ()
    assert "the other" not in read


def test_losses_and_weights_are_those_of_the_same_threads_unwatched():
    def weights(run):
        torch.manual_seed(0)
        models = [Net() for _ in range(THREADS)]
        run(lambda number: train(models[number]))
        return [parameter.detach().clone() for model in models for parameter in model.parameters()]

    assert all(map(torch.equal, weights(watched), weights(in_threads)))


def test_a_thread_that_cannot_get_the_lock_trains_on(monkeypatch):
    """Somebody of ours waits for a lock of the user's, whose holder calls an activation: a circle, but for a limit."""
    monkeypatch.setattr("rectifier.monitor.training.guard._PATIENCE_SECONDS", 0.01)
    sink = MemorySink()
    monitor = Monitor(sink, every=1)
    monitor.start()
    try:
        held, trained = threading.Event(), threading.Event()

        def hold():
            with monitor.observation.guarded.lock:
                held.set()
                trained.wait(30)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(10)
        train(Net(), 200)
        trained.set()
        holder.join()
    finally:
        monitor.stop()
    process = sink.process()
    (warning,) = process.warnings
    assert warning == "watching stopped at step 0: another thread has held the monitor's lock for 0 s"
