"""What hangs on a model and cannot be exchanged: other threads' objects, state in slots, weights."""

import asyncio
import collections
import concurrent.futures
import multiprocessing
import queue
import threading
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from rectifier.sandbox import CannotKeep, repeat


class Holding(nn.Module):
    def __init__(self, held):
        super().__init__()
        self.held = held

    def forward(self, x):
        raise AssertionError("ran")


class OwnQueue(queue.Queue):
    pass


@pytest.mark.parametrize(
    "build",
    [
        queue.Queue, OwnQueue, queue.SimpleQueue, threading.Lock, threading.RLock, threading.Condition, threading.Event,
        threading.Thread, threading.local, concurrent.futures.Future, asyncio.Queue, multiprocessing.SimpleQueue,
    ],
)  # fmt: skip
def test_what_another_thread_may_be_using_is_refused(build):
    held = build()
    with pytest.raises(CannotKeep, match=rf"Holding\.held is {type(held).__name__}, which another thread or process"):
        repeat(Holding({"deep": [held]}), (torch.ones(1),), {})


def test_a_thread_loses_nothing_that_it_waits_for():
    model, received = Holding(queue.Queue()), []

    def receive():
        for _ in range(200):
            received.append(model.held.get(timeout=10))

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    for number in range(200):
        with pytest.raises(CannotKeep):
            repeat(model, (torch.ones(1),), {})
        model.held.put(number)
    thread.join(20)
    assert received == list(range(200))


def test_where_it_is_refused_nothing_is_put_back():
    items = collections.deque([1, 2])

    class Taking:
        """Stands for another thread that takes an item while we look."""

        def __getattr__(self, name):
            items.popleft()
            return name

    with pytest.raises(CannotKeep, match="iterator"):
        repeat(Holding([Taking(), items]), (torch.ones(1),), {})
    assert list(items) == [2]


@dataclass(slots=True)
class State:
    calls: int
    hidden: Tensor
    names: list[str]


class Empty:
    __slots__ = ("empty",)


class Mangled(Empty):
    __slots__ = ("__dict__", "__own", "full")

    def __init__(self):
        self.__own, self.full, self.plain = 1, 2, 3

    def change(self):
        self.__own += 1
        self.empty, self.plain = 1, 4
        del self.full

    def shown(self):
        return self.__own, self.full, self.plain, hasattr(self, "empty")


class Slotted(nn.Module):
    def __init__(self):
        super().__init__()
        self.state, self.mangled = State(0, torch.zeros(3), ["a"]), Mangled()

    def forward(self, x):
        self.state.calls += 1
        self.state.hidden += 1
        self.state.hidden = self.state.hidden + x
        self.state.names.append("b")
        self.mangled.change()
        return self.state.hidden


def test_state_in_slots_is_put_back():
    model = Slotted()
    hidden, version = model.state.hidden, model.state.hidden._version
    assert repeat(model, (torch.ones(3),), {}).tolist() == [2, 2, 2]
    assert (model.state.calls, model.state.names, model.mangled.shown()) == (0, ["a"], (1, 2, 3, False))
    assert model.state.hidden is hidden
    assert (hidden.tolist(), hidden._version) == ([0, 0, 0], version)


class Momentum(nn.Module):
    def __init__(self, write, fails=False):
        super().__init__()
        self.query, self.key, self.write, self.fails = nn.Linear(3, 3), nn.Linear(3, 3), write, fails

    def forward(self, x):
        with torch.no_grad():
            for mine, other in zip(self.key.parameters(), self.query.parameters(), strict=True):
                self.write(mine, other)
        if self.fails:
            raise CannotKeep("for another reason")
        return self.query(x) + self.key(x)


def replaced(mine, other):
    mine.data = mine.data * 0.9 + other.data * 0.1


def turned(mine, other):
    mine.data = mine.data.t()


def past_autograd(mine, other):
    mine.data.mul_(0.9).add_(other.data, alpha=0.1)


def in_place(mine, other):
    mine.mul_(0.9).add_(other, alpha=0.1)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("write", [replaced, turned, past_autograd, in_place])
def test_a_weight_that_the_first_repetition_writes_to_is_put_back(write, fails):
    model = Momentum(write, fails)
    before = [(weight, weight.data_ptr(), weight.stride(), weight.tolist()) for weight in model.parameters()]
    told = (
        "for another reason" if fails else r"the forward writes to Momentum\.key\.(weight|bias), which is a parameter"
    )
    with pytest.raises(CannotKeep, match=told):
        repeat(model, (torch.ones(3),), {})
    for weight, (same, at, stride, values) in zip(model.parameters(), before, strict=True):
        assert weight is same
        assert (weight.data_ptr(), weight.stride(), weight.tolist()) == (at, stride, values)


@pytest.mark.parametrize("write", [replaced, in_place])
def test_a_weight_that_a_later_repetition_writes_to_is_told(write):
    with pytest.raises(CannotKeep, match=r"the forward writes to Momentum\.key"):
        repeat(Momentum(write), (torch.ones(3),), {}, first=False)
