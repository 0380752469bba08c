"""Counters per unit, kept on the device; nothing here waits for the device except `read`.

All of them are sums, maxima and minima, so windows and ranks can be merged in any order.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rectifier.records import FloatArray, IntArray

_HALF = (torch.float16, torch.bfloat16)
_LIGHT_BYTES = 1 << 18
_NEVER = torch.iinfo(torch.int64).max


@dataclass(frozen=True, slots=True)
class UnitCounts:
    """What `UnitCounters.read` brings to the host; fields as in `records.SiteWindow`.

    Attributes:
        bad_light_step: The first lightly sampled step of the window that met NaN or an infinity; None for none.
    """

    visits: int
    seen: int
    bad_light_step: int | None
    fired: IntArray
    mean: FloatArray
    mean_abs: FloatArray
    highest: FloatArray
    lowest: FloatArray
    last_fired: IntArray
    silent_visits: IntArray
    pre_mean: FloatArray
    saturated: IntArray | None


class UnitCounters:
    """Counts on how many samples each unit of one site fired, and since when it has not.

    Device memory is at most 60 bytes a unit, and up to 256 KiB for lightly sampled steps of small layers. Reductions
    run in float32 for half-precision outputs; counts are exact up to 2²⁴ samples in one call.

    Args:
        units: Number of units.
        device: Where the activations live.
        threshold: A unit fires on a sample when its output is above this at any position: f(0).
        signed: Whether outputs can be negative.
        saturation: (middle, half) of the outputs between which f still has a slope worth the name; a sample on which
            the unit is outside at every position counts as saturated. None where the activation has no such limits.

    Example:
        >>> counters = UnitCounters(2, torch.device("cpu"))
        >>> _ = counters.observe(torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]]), axis=-1, step=0)
        >>> counts = counters.read()
        >>> counts.fired.tolist(), counts.silent_visits.tolist(), counts.last_fired.tolist()
        ([2, 0], [0, 3], [0, -1])
    """

    def __init__(
        self,
        units: int,
        device: torch.device,
        threshold: float = 0.0,
        *,
        signed: bool = False,
        saturation: tuple[float, float] | None = None,
    ) -> None:
        self.units = units
        self.threshold = threshold
        self._signed = signed
        self._saturation = saturation
        self._saturated = torch.zeros(units if saturation else 0, dtype=torch.int64, device=device)
        # MPS has no float64.
        wide = torch.float32 if device.type == "mps" else torch.float64
        self._last_fired = torch.full((units,), -1, dtype=torch.int32, device=device)
        self._silent = torch.zeros(units, dtype=torch.int64, device=device)
        self._fired = torch.zeros(units, dtype=torch.int64, device=device)
        self._sum = torch.zeros(units, dtype=wide, device=device)
        self._sum_abs = torch.zeros(units if signed else 0, dtype=wide, device=device)
        self._sum_before = torch.zeros(units, dtype=wide, device=device)
        self._values_before = 0
        self._high = torch.full((units,), -torch.inf, device=device)
        self._low = torch.full((units,), torch.inf, device=device)
        self._first_bad = torch.full((), _NEVER, dtype=torch.int64, device=device)
        self._light: list[tuple[int, int, Tensor]] = []
        self._most_light = min(64, max(1, _LIGHT_BYTES // (4 * max(units, 1))))
        self._visits = self._seen = 0
        self._values = 0

    def observe_lightly(self, output: Tensor, axis: int, step: int) -> None:
        """Note which units fired at all; a tenth of the work of `observe`, and all that death needs.

        Args:
            output: As for `observe`.
            axis: 1 or -1.
            step: The training step it belongs to.
        """
        values = output.detach()
        if not values.numel():
            return
        if axis == 1 and values.ndim > 2:
            samples, high = values.shape[0], values.amax((0, *range(2, values.ndim)))
        else:
            values = values.reshape(-1, self.units)
            samples, high = values.shape[0], values.amax(0)
        self._light.append((step, samples, high))
        if len(self._light) >= self._most_light:
            self._settle()

    def _settle(self) -> None:
        """Work the lightly sampled steps into the counters, as `observe` would have."""
        if not self._light:
            return
        steps, samples, highs = zip(*self._light, strict=True)
        self._light.clear()
        device = self._silent.device
        high = torch.stack(highs)
        # NaN is no silence: it compares false.
        fired = ~(high <= self.threshold)
        number = torch.arange(len(steps), device=device).unsqueeze(1)
        latest = torch.where(fired, number, -1).amax(0)
        # Samples that came after each of them, and before the first of them: all.
        after = torch.tensor([sum(samples[n:]) for n in range(len(samples) + 1)], device=device)
        at = torch.tensor(steps, device=device)
        self._silent.copy_(after[latest + 1] + torch.where(latest < 0, self._silent, 0))
        self._last_fired = torch.where(latest < 0, self._last_fired, at[latest].to(torch.int32))
        bad = torch.where(high.isfinite().all(1), _NEVER, at).amin()
        self._first_bad = torch.minimum(self._first_bad, bad)
        self._seen += sum(samples)

    def observe(self, output: Tensor, axis: int, step: int) -> tuple[Tensor, Tensor, int]:
        """Count one output of the activation.

        Args:
            output: (N, U, *positions) for axis 1, (*samples, U) for axis -1.
            axis: 1 or -1.
            step: The training step it belongs to.

        Returns:
            Largest and smallest value as 0-dimensional tensors on the device (NaN where there is one), and the
            number of samples.
        """
        values = output.detach()
        if values.dtype in _HALF:
            values = values.float()
        if axis == 1 and values.ndim > 2:
            positions = tuple(range(2, values.ndim))
            per_sample = values.amax(positions) if values.numel() else values.new_zeros(0, self.units)
            over = (0, *positions)
        else:
            values = per_sample = values.reshape(-1, self.units)
            over = (0,)
        samples = per_sample.shape[0]
        if values.numel() == 0:
            nothing = values.new_zeros(())
            return nothing, nothing, 0
        self._settle()
        high, low = per_sample.amax(0), values.amin(over)
        # sign, then a sum in floats: several times faster on CPU than the sum of a boolean mask.
        fired = (per_sample - self.threshold if self.threshold else per_sample).sign()
        if self._signed or self.threshold:
            fired = torch.where(fired > 0, fired, 0)
        fired = fired.sum(0).nan_to_num(0.0).to(torch.int64)
        alive = fired > 0
        self._fired += fired
        self._last_fired.masked_fill_(alive, step)
        self._silent.add_(samples).masked_fill_(alive, 0)
        self._sum += values.sum(over)
        if self._signed:
            self._sum_abs += values.abs().sum(over)
        if self._saturation is not None:
            middle, half = self._saturation
            away = (values - middle).abs()
            outside = away.amin(positions) if values is not per_sample else away
            self._saturated += (outside >= half).sum(0)
        self._high = torch.maximum(self._high, high)
        self._low = torch.minimum(self._low, low)
        self._visits += samples
        self._seen += samples
        self._values += values.numel() // self.units
        return high.amax(), low.amin(), samples

    def observe_input(self, tensor: Tensor, axis: int) -> None:
        """Add up the pre-activation; before the activation, which may overwrite it."""
        values = tensor.detach()
        over = tuple(index for index in range(values.ndim) if index != axis % values.ndim)
        # Sums of half-precision values are kept in float32 inside of the reduction.
        self._sum_before += values.sum(over, dtype=torch.float32 if values.dtype in _HALF else None)
        self._values_before += values.numel() // self.units

    def read(self) -> UnitCounts:
        """Bring the counters to the host; this waits for the device."""
        self._settle()
        bad = int(self._first_bad)
        count = max(self._values, 1)
        total = self._sum.cpu().numpy()
        total_abs = self._sum_abs.cpu().numpy() if self._signed else np.abs(total)
        return UnitCounts(
            visits=self._visits,
            seen=self._seen,
            bad_light_step=None if bad == _NEVER else bad,
            fired=self._fired.cpu().numpy().copy(),
            mean=(total / count).astype(np.float64),
            mean_abs=(total_abs / count).astype(np.float64),
            highest=self._high.cpu().numpy().astype(np.float64),
            lowest=self._low.cpu().numpy().astype(np.float64),
            last_fired=self._last_fired.cpu().numpy().astype(np.int64),
            silent_visits=self._silent.cpu().numpy().copy(),
            saturated=None if self._saturation is None else self._saturated.cpu().numpy().copy(),
            pre_mean=(self._sum_before.cpu().numpy() / max(self._values_before, 1)).astype(np.float64),
        )

    def begin_window(self) -> None:
        """Start the next window; what is counted since the beginning (last fired, silent) stays."""
        self._fired.zero_()
        self._saturated.zero_()
        self._sum.zero_()
        self._sum_abs.zero_()
        self._sum_before.zero_()
        self._high.fill_(-torch.inf)
        self._low.fill_(torch.inf)
        self._first_bad.fill_(_NEVER)
        self._visits = self._seen = self._values = self._values_before = 0
