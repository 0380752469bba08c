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
        self._series: dict[str, tuple[list[int], list[float]]] = {}
        self._every: dict[str, int] = {}
        self._losses: list[tuple[int, Tensor | float]] = []
        self._norms: list[tuple[int, Tensor | float]] = []

    def __bool__(self) -> bool:
        return bool(self._series)

    def log(self, name: str, value: float, step: int) -> None:
        """Keep a number of the user's; what is called `loss` stays apart from what is back-propagated."""
        steps, values = self._series.setdefault(_LOGGED_LOSS if name == _LOSS else name, ([], []))
        steps.append(step)
        values.append(value)

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
        return {name: self._thinned(name) for name, (steps, _) in self._series.items() if steps}

    def _thinned(self, name: str) -> Series:
        steps, values = self._series[name]
        series = Series(
            steps=np.array(steps, np.int64), values=np.array(values, np.float64), every=self._every.get(name, 1)
        ).thin()
        if len(series.steps) < len(steps):
            self._series[name] = series.steps.tolist(), series.values.tolist()
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
        ready = [(step, value) for step, value in pending if step < before]
        if ready:
            values = _to_host([value for _, value in ready])
            steps, starts = np.unique([step for step, _ in ready], return_index=True)
            kept_steps, kept_values = self._series.setdefault(name, ([], []))
            kept_steps.extend(steps.tolist())
            together = np.add.reduceat(values, starts) if mean else np.maximum.reduceat(values, starts)
            kept_values.extend((together / np.diff([*starts, len(values)]) if mean else together).tolist())
        return pending[len(ready) :]


def _to_host(numbers: list[Tensor | float]) -> FloatArray:
    """Many numbers from the device in one copy."""
    tensors = [number for number in numbers if isinstance(number, Tensor)]
    if len(tensors) < len(numbers) or len({tensor.device for tensor in tensors}) > 1:
        # Of a complex loss, which is back-propagated with a gradient of its own, the real part.
        return np.array([float(number.real) for number in numbers])
    together = torch.stack([tensor.reshape(()) if tensor.ndim else tensor for tensor in tensors])
    return together.cpu().double().numpy()
