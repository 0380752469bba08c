"""What a control is."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from training import Training


@dataclass(frozen=True)
class Control:
    """A training in which nothing is wrong; `floor` is the score that it must reach to be a control at all."""

    name: str
    start: Callable[[int], Training]
    steps: int
    floor: float = 0.9


def registering(controls: list[Control]) -> Callable[..., Callable[[Callable[[], Training]], None]]:
    """A decorator that adds to these controls what begins a training from torch's random stream."""

    def register(name: str, *, steps: int = 300, floor: float = 0.85) -> Callable[[Callable[[], Training]], None]:
        def add(begin: Callable[[], Training]) -> None:
            def start(seed: int) -> Training:
                torch.manual_seed(seed)
                return begin()

            controls.append(Control(name, start, steps, floor))

        return add

    return register
