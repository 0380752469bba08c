"""Failures of any kind of training, each beside the same training with its remedy."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from training import Training

Begin = Callable[[bool], Training]


@dataclass(frozen=True)
class Rebuilt:
    """A training that fails, and does not with its remedy.

    Attributes:
        source: Where it was published or is known from, and what is different here.
        begin: Builds it from torch's random stream; asked for the mended one, it applies the remedy.
        causes: Kinds of causes that say what is wrong.
        floor: Score that the mended training must reach; it is then a control, too.
        gain: By how much its score must be above that of the failing one.
    """

    name: str
    source: str
    begin: Begin
    causes: tuple[str, ...]
    steps: int
    floor: float
    gain: float = 0.1

    def failed(self, score: float, remedied: float) -> bool:
        """Whether a training failed, by its score and that of the mended one."""
        return remedied >= self.floor and (not math.isfinite(score) or remedied - score >= self.gain)

    def start(self, seed: int, *, mended: bool) -> Training:
        """The training, from a seed."""
        torch.manual_seed(seed)
        return self.begin(mended)


class Collection(list[Rebuilt]):
    """The failures of one subject, in the order in which a file has them."""

    def __call__(self, name: str, source: str, *causes: str, steps: int = 300, floor: float = 0.6,
                 gain: float = 0.1) -> Callable[[Begin], Begin]:  # fmt: skip
        """Add what the decorated function begins."""

        def add(begin: Begin) -> Begin:
            self.append(Rebuilt(name, source, begin, causes, steps, floor, gain))
            return begin

        return add
