"""How many samples a script's data have, heard when a DataLoader begins to go through them."""

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, SubsetRandomSampler

Note = Callable[[int | None], None]

_listeners: list[Note] = []
_undo: list[Callable[[], None]] = []


def listen(note: Note) -> Callable[[], None]:
    """Tell `note` the length of each data set that a loader begins to go through, None where it has none.

    Returns:
        The undo.
    """
    _listeners.append(note)
    if not _undo:
        _undo.append(_hear())

    def forget() -> None:
        if note in _listeners:
            _listeners.remove(note)
        while _undo and not _listeners:
            _undo.pop()()

    return forget


def _hear() -> Callable[[], None]:
    original = DataLoader.__iter__

    @functools.wraps(original)
    def heard(self: DataLoader[Any]) -> Any:
        iterator = original(self)
        if _listeners:
            length = _length(self)
            for note in tuple(_listeners):
                note(length)
        return iterator

    DataLoader.__iter__ = heard  # type: ignore[method-assign]

    def undo() -> None:
        if DataLoader.__iter__ is heard:
            DataLoader.__iter__ = original  # type: ignore[method-assign]

    return undo


def _length(loader: DataLoader[Any]) -> int | None:
    """Samples in one pass; of samplers that draw a part anew each time, all that they may draw."""
    if isinstance(loader.dataset, IterableDataset):
        return None
    # A sampler of a class derived from these may do anything.
    fixed = type(loader.sampler) in (SequentialSampler, SubsetRandomSampler)
    # Whatever the user's own __len__ raises is not to be heard of here.
    with suppress(Exception):
        return len(loader.sampler if fixed else loader.dataset)  # type: ignore[arg-type]
    return None
