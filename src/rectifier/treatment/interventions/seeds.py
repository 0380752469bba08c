"""Another seed: each call of the script's that seeds Python, NumPy or torch is given another number."""

import random
import sys
from collections.abc import Callable
from typing import Any

import torch

from rectifier.hooks.patch.attributes import wrap
from rectifier.records import Change
from rectifier.treatment.interventions.intervening import Intervening

_NUMPYS_LIMIT = 2**32


class Restart(Intervening):
    """Seeds are shifted; torch, which begins every process with the same one, begins with another.

    Args:
        shift: Added to each seed.
    """

    def __init__(self, shift: int) -> None:
        super().__init__(Change.RESTART)
        self._shift = shift
        self._within = False

    def start(self) -> None:
        """Begin."""
        torch.manual_seed(torch.initial_seed() + self._shift)
        self._shifted(random, "seed", 0)
        for name in ("manual_seed",):
            self._shifted(torch, name, 0)
            self._shifted(torch.random, name, 0)
            self._shifted(torch.cuda, name, 0)
        self._shifted(torch.cuda, "manual_seed_all", 0)
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            self._shifted(numpy.random, "seed", _NUMPYS_LIMIT)
            self._shifted(numpy.random, "default_rng", 0)

    def _shifted(self, holder: Any, name: str, limit: int) -> None:
        def around(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if self._within:
                # torch's own function seeds the devices by the same names.
                return original(*args, **kwargs)
            if args and isinstance(args[0], int):
                args = (self._number(args[0], limit), *args[1:])
            elif isinstance(kwargs.get("seed"), int):
                kwargs = {**kwargs, "seed": self._number(kwargs["seed"], limit)}
            else:
                return original(*args, **kwargs)
            self.note(f"{holder.__name__}.{name}")
            self._within = True
            try:
                return original(*args, **kwargs)
            finally:
                self._within = False

        self._undo.append(wrap(holder, name, around))

    def _number(self, seed: int, limit: int) -> int:
        return (seed + self._shift) % limit if limit else seed + self._shift
