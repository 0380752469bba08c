"""Numbers over steps: the losses that are back-propagated, the norms before clipping, and what the user logs.

Losses and norms wait on their device until a window is written, and are then brought over in one copy. What lies on the
host is read at once, which costs less than keeping a tensor.
"""

import numpy as np
import torch
from torch import Tensor

from rectifier.records import NORM_BEFORE_CLIPPING, FloatArray, Series

_LOSS, _LOGGED_LOSS = "loss", "logged loss"
# Above so many bytes a loss is one number of many, which it would keep alive.
_SMALL = 64


class Numbers:
    """Series of one process, since the last finished window."""

    def __init__(self) -> None:
        # In pairs: an exception that a signal's handler raises between two lists would leave one longer.
        self._series: dict[str, list[tuple[int, float]]] = {}
        self._every: dict[str, int] = {}
        self._losses: list[tuple[int, Tensor | float]] = []
        self._norms: list[tuple[int, Tensor | float]] = []

    def __bool__(self) -> bool:
        return any(self._series.values())

    def log(self, name: str, value: float, step: int) -> None:
        """Keep a number of the user's; what is called `loss` stays apart from what is back-propagated."""
        self._series.setdefault(_LOGGED_LOSS if name == _LOSS else name, []).append((step, value))

    def back_propagate(self, loss: Tensor, unscaled: Tensor, step: int) -> None:
        """Keep a loss, as it was before a GradScaler."""
        if unscaled.is_cpu and type(unscaled) is Tensor:
            self._losses.append((step, unscaled.item()))
            return
        value = unscaled.detach()
        # Asking for the storage at every step is dear; only a view looks into a larger one.
        if (unscaled is not loss or loss._is_view()) and value.untyped_storage().nbytes() > _SMALL:
            value = value.clone()
        self._losses.append((step, value))

    def clip(self, norm: Tensor, step: int) -> None:
        """Keep the norm of gradients before they are clipped."""
        if norm.is_cpu and type(norm) is Tensor:
            self._norms.append((step, norm.item()))
            return
        # A copy: the tensor is the user's from here on, and its one number costs less than asking who holds it.
        self._norms.append((step, norm.detach().clone()))

    def collect(self, before: int) -> dict[str, Series]:
        """What came since the window began; of the step `before` and later ones it waits. Waits for the device.

        The losses of one step are averaged; of norms, which belong to several groups of parameters, the largest counts.
        In a long training late values are thinned, here and in memory.
        """
        self._losses = self._bring(_LOSS, self._losses, before, mean=True)
        self._norms = self._bring(NORM_BEFORE_CLIPPING, self._norms, before, mean=False)
        return {name: self._thinned(name) for name, pairs in self._series.items() if pairs}

    def _thinned(self, name: str) -> Series:
        steps, values = zip(*self._series[name], strict=True)
        series = Series(
            steps=np.array(steps, np.int64), values=np.array(values, np.float64), every=self._every.get(name, 1)
        ).thin()
        if len(series.steps) < len(steps):
            self._series[name] = list(zip(series.steps.tolist(), series.values.tolist(), strict=True))
            self._every[name] = series.every
        return series

    def begin_window(self) -> None:
        """Forget what has been collected."""
        self._series.clear()
        self._every.clear()

    def _bring(
        self, name: str, pending: list[tuple[int, Tensor | float]], before: int, *, mean: bool
    ) -> list[tuple[int, Tensor | float]]:
        """Bring the numbers of finished steps to the host, one a step; returns those that wait."""
        kept = self._series.setdefault(name, [])
        # What was brought before and waits all the same: an exception came between.
        last = kept[-1][0] if kept else -1
        ready = [(step, value) for step, value in pending if last < step < before]
        if ready:
            values = _to_host([value for _, value in ready])
            steps, starts = np.unique([step for step, _ in ready], return_index=True)
            together = np.add.reduceat(values, starts) if mean else np.maximum.reduceat(values, starts)
            together = together / np.diff([*starts, len(values)]) if mean else together
            kept.extend(zip(steps.tolist(), together.tolist(), strict=True))
        return [(step, value) for step, value in pending if step >= before]


def _to_host(numbers: list[Tensor | float]) -> FloatArray:
    """Many numbers from the device in one copy."""
    tensors = [number for number in numbers if isinstance(number, Tensor)]
    if len(tensors) < len(numbers) or len({tensor.device for tensor in tensors}) > 1:
        # Of a complex loss, which is back-propagated with a gradient of its own, the real part.
        return np.array([float(number.real) for number in numbers])
    together = torch.stack([tensor.reshape(()) if tensor.ndim else tensor for tensor in tensors])
    return together.cpu().double().numpy()
