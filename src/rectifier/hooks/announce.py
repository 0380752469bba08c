"""Word that a model was changed: a treatment gives it, and whoever watches hears it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from rectifier.records import Treated

Listener = Callable[[nn.Module, Treated], None]
"""Hears the model and what was changed; after which step, only the listener knows."""

_listeners: list[Listener] = []


def listen(listener: Listener) -> Callable[[], None]:
    """Let somebody hear of every change from now on; returns what ends that."""
    _listeners.append(listener)

    def forget() -> None:
        if listener in _listeners:
            _listeners.remove(listener)

    return forget


def treated(model: nn.Module, done: Treated) -> None:
    """Tell all who listen that a model has been changed."""
    for listener in tuple(_listeners):
        listener(model, done)


@contextmanager
def quietly() -> Iterator[None]:
    """Within it nobody hears of a change: who makes it tells of it in other words."""
    aside, _listeners[:] = _listeners[:], []
    try:
        yield
    finally:
        _listeners[:0] = aside
