"""Parts of one computation on several threads, of which the first error ends all."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event

import torch
from torch import Tensor


class Stopped(Exception):
    """Another part has failed, or the user has had enough."""


Part = tuple[Tensor, Tensor]
"""Losses and outputs of some of the members."""


def in_threads(parts: Sequence[Callable[[Event], Part]]) -> list[Part]:
    """Run each on a thread of its own; the first error ends the others within a step, and is raised."""
    stop = Event()
    running: list[Future[Part]] = []
    with ThreadPoolExecutor(len(parts)) as pool:
        try:
            running += [pool.submit(part, stop) for part in parts]
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            # Ctrl-C comes through here, too. What is done already does not look.
            stop.set()
    errors = [error for each in running if (error := each.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
        raise error
    return [each.result() for each in running]


@contextmanager
def threads_each(number: int) -> Iterator[None]:
    """Let each thread that is started in here use so many of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
