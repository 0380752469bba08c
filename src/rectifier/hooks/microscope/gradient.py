"""Where the gradient of one backward pass becomes 0."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rectifier.hooks.microscope.graph import below, is_weight
from rectifier.hooks.microscope.operations import aside
from rectifier.hooks.microscope.source_lines import Line
from rectifier.records import CauseKind, Sight, SightKind

_MOST_TOLD = 3
_SATURATING = ("Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Erf", "Hardsigmoid")
_ONE_OF_ALL = ("Softmax", "LogSoftmax")
_NORMALISING = ("NativeGroupNorm", "NativeLayerNorm", "NativeBatchNorm", "CudnnBatchNorm", "FusedRmsNorm")

LineOf = Callable[[Any], Line | None]


@dataclass(slots=True)
class _Passed:
    """What came to a node and what it handed on, as sums of absolute values."""

    arrived: float
    contributed: float
    handed_on: float
    has_further: bool


class Followed:
    """One backward pass, followed from its loss down.

    Args:
        loss: What is about to be back-propagated.
        lost: Share of a gradient that passes an operation, up to which it counts as lost there.
    """

    def __init__(self, loss: Tensor, lost: float) -> None:
        self._share = lost
        self._nodes = list(below(loss.grad_fn))
        self._head = set(below(loss.grad_fn, _before_layers))
        self._contributed: dict[tuple[Any, int], float] = {}
        self._passed: dict[Any, _Passed] = {}
        self._handles = [node.register_hook(self._hook(node)) for node in self._nodes if not hasattr(node, "variable")]

    def _hook(self, node: Any) -> Callable[..., None]:
        def hook(handed: tuple[Tensor | None, ...], above: tuple[Tensor | None, ...]) -> None:
            with aside():
                note(handed, above)

        def note(handed: tuple[Tensor | None, ...], above: tuple[Tensor | None, ...]) -> None:
            arrived = sum(_size(one) for one in above)
            contributed = sum(self._contributed.get((node, number), 0.0) for number in range(len(above)))
            handed_on, further = 0.0, False
            for (parent, number), gradient in zip(node.next_functions, handed, strict=False):
                if parent is None:
                    continue
                size = _size(gradient)
                self._contributed[parent, number] = self._contributed.get((parent, number), 0.0) + size
                if not hasattr(parent, "variable"):
                    further = True
                    handed_on = max(handed_on, size)
            self._passed[node] = _Passed(arrived, contributed, handed_on, further)

        return hook

    def lost(self, line_of: LineOf, step: int) -> list[Sight]:
        """The operations at which it was lost, those first that leave most parameters without; ends the following."""
        for handle in self._handles:
            handle.remove()
        leaves = {node: self._contributed.get((node, 0), 0.0) for node in self._nodes if hasattr(node, "variable")}
        largest = max(leaves.values(), default=0.0)
        found = []
        for node, passed in self._passed.items():
            cancelled = passed.contributed > 0 and passed.arrived <= self._share * passed.contributed
            faded = passed.has_further and passed.arrived > 0 and passed.handed_on <= self._share * passed.arrived
            if not (cancelled or faded):
                continue
            leaves_below = [one for one in below(node) if hasattr(one, "variable")]
            starved = [one for one in leaves_below if leaves.get(one, 0.0) <= self._share * largest]
            if not starved:
                continue
            line = line_of(node)
            numbers = {
                "arrived": passed.arrived,
                "handed_on": passed.handed_on,
                "contributed": passed.contributed,
                "cancelled": float(cancelled),
                "parameters_below": float(len(leaves_below)),
                "parameters_without": float(len(starved)),
            }
            found.append(
                Sight(
                    kind=SightKind.GRADIENT_LOST,
                    operation=node.name(),
                    phase="backward",
                    place=line.place if line is not None else "",
                    expression=line.expression if line is not None else "",
                    step=step,
                    numbers=numbers,
                    cause_kind=_cause(
                        node.name(), cancelled=cancelled, exactly=passed.handed_on == 0, in_head=node in self._head
                    ),
                )
            )
        self._nodes, self._passed, self._contributed, self._head = [], {}, {}, set()
        return sorted(found, key=lambda sight: -sight.numbers["parameters_without"])[:_MOST_TOLD]


def _cause(name: str, *, cancelled: bool, exactly: bool, in_head: bool) -> CauseKind:
    """What it speaks for, where that does not depend on what made it so.

    A unit that is off, or a branch that begins at 0, passes nothing either, and is not the cause of it.
    """
    if cancelled:
        return CauseKind.DOWNSTREAM_CONSTANT
    if "BackwardBackward" in name:
        return CauseKind.ZERO_HIGHER_DERIVATIVE
    if exactly and name.startswith(_ONE_OF_ALL):
        return CauseKind.DOWNSTREAM_CONSTANT
    # Within a network what saturates it comes from below.
    if in_head and name.startswith(_SATURATING):
        return CauseKind.DOWNSTREAM_SATURATION
    return CauseKind.NORMALISATION if name.startswith(_NORMALISING) else CauseKind.UNKNOWN


def _size(gradient: Tensor | None) -> float:
    if gradient is None or not gradient.is_floating_point() or gradient.layout is not torch.strided:
        return 0.0
    with torch.no_grad():
        size = float(gradient.detach().abs().sum(dtype=torch.float64))
    # What is not finite is told elsewhere; here it is no loss.
    return size if size < float("inf") else 1e300


def _before_layers(node: Any) -> bool:
    """Whether a node stands between a loss and the last layers."""
    return not any(is_weight(parent) for parent, _ in node.next_functions)
