"""Changes of an optimizer's settings for the length of each step: schedulers and the script see their own values."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.optim import Optimizer

from rectifier.hooks.microscope.source_lines import Line, users_line
from rectifier.hooks.patch.attributes import on_construction
from rectifier.records import Applied, Change
from rectifier.treatment.interventions.clipping import ClippedGradient, UnclippedGradient
from rectifier.treatment.interventions.intervening import Intervening

Group = dict[str, Any]
Changing = Callable[[Group, int], dict[str, Any]]
"""Given a group and the number of the optimizer's steps so far: the settings that become others, by name."""

_WARM_UP_STEPS = 100
_LARGER_EPS = 1e-4
_CLIP_NORM = 1.0


class Settings(Intervening):
    """Settings of all groups are others during each step.

    Args:
        change: Which change this is.
        changing: What becomes of a group.
        words: What is said of a setting: `weight decay of {}`.
    """

    def __init__(self, change: Change, changing: Changing, words: str) -> None:
        super().__init__(change)
        self._changing, self._words = changing, words
        self._asked: dict[int, list[tuple[Group, dict[str, Any]]]] = {}
        self._steps: dict[int, int] = {}
        self._told: set[tuple[int, int]] = set()
        self._lines: dict[int, Line] = {}
        self._first: tuple[Any, Any, Line | None] | None = None

    def start(self) -> None:
        """Begin."""
        super().start()
        self._undo.append(on_construction(Optimizer, self._constructed))

    def _constructed(self, optimizer: Optimizer) -> None:
        line = users_line()
        if line is not None:
            self._lines[id(optimizer)] = line

    def applied(self) -> Applied:
        """What it has changed so far, with the first number of it."""
        told = super().applied()
        if self._first is None:
            return told
        before, after, line = self._first
        place, expression = ("", "") if line is None else (line.place, line.expression)
        return replace(told, before=_number(before), after=_number(after), place=place, expression=expression)

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """An optimizer is about to step."""
        # A step that raised never came to its end.
        self._put_back(optimizer)
        # One optimizer around another (SAM, Lookahead) steps the same groups within its own step.
        within = {id(group) for groups in self._asked.values() for group, _ in groups}
        steps = self._steps.get(id(optimizer), 0)
        asked = self._asked[id(optimizer)] = []
        for number, group in enumerate(optimizer.param_groups):
            new = {} if id(group) in within else self._changing(group, steps)
            old = {name: group[name] for name, value in new.items() if not _same(group[name], value)}
            if old:
                asked.append((group, old))
                group.update({name: new[name] for name in old})
                if (id(optimizer), number) not in self._told:
                    # Of a schedule the first value.
                    self._told.add((id(optimizer), number))
                    name = next(iter(old))
                    value = _written(old[name])
                    self._first = self._first or (old[name], new[name], self._lines.get(id(optimizer)))
                    self.details.setdefault(f"{self._words.format(value)} ({type(optimizer).__name__}, group {number})")
        self.times += bool(asked)

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """It has stepped."""
        self._steps[id(optimizer)] = self._steps.get(id(optimizer), 0) + 1
        self._put_back(optimizer)

    def stop(self) -> None:
        """Take everything away."""
        super().stop()
        self._asked.clear()

    def _put_back(self, optimizer: Optimizer) -> None:
        for group, old in self._asked.pop(id(optimizer), ()):
            group.update(old)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float | torch.Tensor) else None


def _same(old: Any, new: Any) -> bool:
    return bool(old == new)


def _written(value: Any) -> str:
    return f"{float(value):.6g}" if isinstance(value, int | float | torch.Tensor) else str(value)


class LearningRate(Settings):
    """Another learning rate."""

    def __init__(self, change: Change, factor: float) -> None:
        super().__init__(change, lambda group, steps: _scaled(group, factor), "learning rate of {}")


class WarmUp(LearningRate):
    """A learning rate that grows in a straight line over the first steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(Change.WARM_UP, 1.0)
        self._changing = lambda group, taken: _scaled(group, min(1.0, (taken + 1) / steps))


def _scaled(group: Group, factor: float) -> dict[str, Any]:
    return {"lr": group["lr"] * factor} if group.get("lr") is not None else {}


def _without_momentum(group: Group, steps: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if group.get("momentum"):
        found["momentum"] = 0.0
        # Nesterov's step is defined with momentum only.
        if group.get("nesterov"):
            found["nesterov"] = False
    betas = group.get("betas")
    if isinstance(betas, tuple | list) and len(betas) > 1 and betas[0]:
        found["betas"] = (0.0, *betas[1:])
    return found


def _without_decay(group: Group, steps: int) -> dict[str, Any]:
    return {"weight_decay": 0.0} if group.get("weight_decay") else {}


def settings(change: Change, value: float | None) -> Intervening | None:
    """The change of an optimizer's settings that is meant; None where it is none of these."""
    match change:
        case Change.LEARNING_RATE_THIRD:
            return LearningRate(change, value or 1 / 3)
        case Change.LEARNING_RATE_TENTH:
            return LearningRate(change, value or 0.1)
        case Change.LEARNING_RATE_HUNDREDTH:
            return LearningRate(change, value or 0.01)
        case Change.LEARNING_RATE_TRIPLE:
            return LearningRate(change, value or 3.0)
        case Change.PLACEBO:
            return LearningRate(change, value or 1.001)
        case Change.WARM_UP:
            return WarmUp(int(value or _WARM_UP_STEPS))
        case Change.CLIP_GRADIENT:
            return ClippedGradient(value or _CLIP_NORM)
        case Change.CLIPPING_OFF:
            return UnclippedGradient()
        case Change.LARGER_EPS:
            eps = value or _LARGER_EPS
            return Settings(change, lambda group, _: {"eps": eps} if group.get("eps", eps) < eps else {}, "eps of {}")
        case Change.MOMENTUM_OFF:
            return Settings(change, _without_momentum, "momentum of {}")
        case Change.WEIGHT_DECAY_OFF:
            return Settings(change, _without_decay, "weight decay of {}")
    return None
