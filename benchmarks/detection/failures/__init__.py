"""Trainings that fail, by subject, each with what prevents it."""

from failures.generative import GENERATIVE
from failures.graphs import GRAPHS
from failures.loops import LOOPS
from failures.physics import PHYSICS
from failures.published import PLAIN, Failure, published
from failures.rebuilt import Rebuilt
from failures.reinforcement import REINFORCEMENT
from failures.sequences import SEQUENCES
from failures.tabular import TABULAR
from failures.vision import VISION

FAILURES = PLAIN
REBUILT: list[Rebuilt] = [
    *GENERATIVE, *GRAPHS, *LOOPS, *PHYSICS, *REINFORCEMENT, *SEQUENCES, *TABULAR, *VISION,
]  # fmt: skip

__all__ = ["FAILURES", "REBUILT", "Failure", "Rebuilt", "published"]
