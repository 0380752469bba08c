"""What a result is: a name, a source, and a measurement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rectifier.reproduce.row import Measured

Progress = Callable[[float], None]
"""Told the share of the work that is done, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result that can be measured again.

    Attributes:
        name: As typed.
        title: The claim, in one line.
        source: Where it was published, or that it is proved.
        setting: What is simulated or trained, with all sizes, and what is not known of the original.
        measure: Does it, from a seed.
        limit: What it says against Leaky ReLU, in one sentence; empty where it says nothing of the kind.
    """

    name: str
    title: str
    source: str
    setting: str
    measure: Callable[[int, Progress], Sequence[Measured]]
    limit: str = ""
