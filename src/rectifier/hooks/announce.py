"""Word that a model was changed: a treatment gives it, and whoever watches hears it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import nn

Listener = Callable[[nn.Module, str, str, Mapping[str, tuple[int, ...]]], None]
"""Hears the model, the name of the treatment, what was changed in words, and the revived units by site."""

_listeners: list[Listener] = []


def listen(listener: Listener) -> Callable[[], None]:
    """Let somebody hear of every change from now on; returns what ends that."""
    _listeners.append(listener)

    def forget() -> None:
        if listener in _listeners:
            _listeners.remove(listener)

    return forget


def treated(model: nn.Module, name: str, text: str, units: Mapping[str, tuple[int, ...]] | None = None) -> None:
    """Tell all who listen that a model has been changed."""
    for listener in tuple(_listeners):
        listener(model, name, text, units or {})


@contextmanager
def quietly() -> Iterator[None]:
    """Within it nobody hears of a change: who makes it tells of it in other words."""
    aside, _listeners[:] = _listeners[:], []
    try:
        yield
    finally:
        _listeners[:0] = aside
