"""Gradients clipped before each step, and the script's own clipping left out."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.optim import Optimizer

from rectifier.hooks.microscope.source_lines import Line, users_line
from rectifier.hooks.patch.attributes import wrap
from rectifier.records import Applied, Change, ChangedPart
from rectifier.treatment.interventions.intervening import Intervening

_BOUNDS = {"max_norm": "norm", "clip_value": "value"}
"""Argument of a clipping function -> what it bounds."""
_MOST_NORMS = 1_000


class ClippedGradient(Intervening):
    """The gradient of each step has at most this norm, over all parameters of the optimizer."""

    def __init__(self, norm: float) -> None:
        super().__init__(Change.CLIP_GRADIENT)
        self._norm = norm

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """An optimizer is about to step."""
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and not parameter.grad.is_sparse
        ]
        if not gradients:
            return
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if norm > self._norm:
            for gradient in gradients:
                gradient.detach().mul_(self._norm / norm)
            self.times += 1
            self.details.setdefault(f"gradients of {type(optimizer).__name__}")


class UnclippedGradient(Intervening):
    """The script clips its gradients with torch's own functions, and they stay as they are.

    What these functions return stays the norm. Clipping that a script writes itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__(Change.CLIPPING_OFF)
        self._norms: list[float] = []
        self._bound: float | None = None
        self._line: Line | None = None

    def start(self) -> None:
        """Begin."""
        # They look their second half up in their own module at each call, by whatever name the script calls them.
        self._undo.append(wrap(clip_grad, "_clip_grads_with_norm_", self._with_norm))
        if hasattr(torch.nn.utils, "clip_grads_with_norm_"):
            self._undo.append(wrap(torch.nn.utils, "clip_grads_with_norm_", self._with_norm))
        self._undo.append(wrap(clip_grad, "clip_grad_value_", self._value))
        self._undo.append(wrap(torch.nn.utils, "clip_grad_value_", self._value))

    def applied(self) -> Applied:
        """What it has changed so far: the first bound, and the median of what it would have cut."""
        told = super().applied()
        if self._bound is None:
            return told
        place, expression = ("", "") if self._line is None else (self._line.place, self._line.expression)
        return replace(
            told, before=self._bound, after=statistics.median(self._norms), place=place, expression=expression
        )

    def _value(
        self, original: Callable[..., None], parameters: Any, clip_value: float, foreach: bool | None = None
    ) -> None:
        tensors = [parameters] if isinstance(parameters, Tensor) else parameters
        gradients = [tensor.grad for tensor in tensors if tensor.grad is not None]
        largest = max((float(gradient.abs().max()) for gradient in gradients if gradient.numel()), default=0.0)
        self._leaves(largest, float(clip_value), "clip_value")

    def _with_norm(
        self,
        original: Callable[..., None],
        parameters: Any,
        max_norm: float,
        total_norm: Tensor,
        foreach: bool | None = None,
    ) -> None:
        self._leaves(float(total_norm), float(max_norm), "max_norm")

    def _leaves(self, size: float, bound: float, argument: str) -> None:
        if not size > bound:
            return
        if self._bound is None:
            self._bound, self._line = bound, users_line()
        if len(self._norms) < _MOST_NORMS:
            self._norms.append(size)
        self.note(f"gradients clipped to a {_BOUNDS[argument]} of {bound:.3g}", ChangedPart(name=argument))
