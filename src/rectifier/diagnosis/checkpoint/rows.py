"""The rows of one weight of a checkpoint, each judged by what the optimizer, the bits and the weights show."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.checkpoint.clocks import Silence, silence_of, since_earlier
from rectifier.records import LayerInspection, NotTold, Remark, WeightRows
from rectifier.records.arrays import BoolArray


@dataclass(frozen=True)
class Rows:
    """One weight, and what each of its rows shows."""

    weight: WeightRows
    steps: int | None = None
    steps_between: int | None = None

    @cached_property
    def silence(self) -> Silence | None:
        """For how long, by both checkpoints where there are two; None where nothing can be told."""
        memory, then, between = self.weight.memory, self.weight.earlier_memory, self.steps_between
        if memory is None:
            return None
        silence = silence_of(memory)
        if then is not None and memory.step is not None and then.step is not None:
            # A weight that was frozen for a while has taken fewer steps than the others.
            between = memory.step - then.step
        if then is not None and between is not None:
            silence = since_earlier(silence, memory, then, between)
        if silence.untold:
            return None
        if self.weight.unmoved is not None and between is not None:
            # Momentum goes on moving a row for a while: one that stood still had no gradient all the time.
            still = self.weight.unmoved & silence.silent & ~silence.never
            low = np.where(still, np.maximum(silence.low, between), silence.low)
            silence = replace(silence, low=low, estimate=np.where(silence.estimate < low, np.nan, silence.estimate))
        return silence

    @cached_property
    def silent(self) -> BoolArray | None:
        """Rows that surely had no gradient for long enough."""
        return None if self.silence is None else self.silence.silent

    @cached_property
    def idle(self) -> BoolArray | None:
        """Rows that did not learn, by either evidence."""
        seen = [rows for rows in (self.silent, self.weight.unmoved) if rows is not None]
        if not seen:
            return None
        idle: BoolArray = np.logical_or.reduce(seen)
        return idle

    @cached_property
    def broken(self) -> BoolArray | None:
        """Rows that hold a number which is not finite."""
        return None if self.weight.norm is None else ~np.isfinite(self.weight.norm)

    @cached_property
    def blocked(self) -> BoolArray | None:
        """Rows that give 0 behind a ReLU, whatever non-negative inputs come."""
        weight = self.weight
        if not self._speaks or weight.largest is None or weight.bias is None:
            return None
        rows: BoolArray = (weight.largest <= 0) & (weight.bias <= 0) & self._weighs & self._unproven
        return rows

    @cached_property
    def out_of_reach(self) -> BoolArray | None:
        """Rows whose bias no input of root mean square 1 can make up for: w·x ≤ ‖w‖·√n·rms(x) (Cauchy, Schwarz)."""
        weight, blocked = self.weight, self.blocked
        if blocked is None or weight.bias is None or weight.norm is None:
            return None
        reach = weight.norm * np.sqrt(weight.fan_in) * limit.REACHING_RMS
        rows: BoolArray = (weight.bias < 0) & (reach <= -weight.bias) & ~blocked & self._weighs & self._unproven
        return rows

    @property
    def _speaks(self) -> bool:
        # Without a bias a normalisation is likely to follow, and its shift decides the sign.
        return not self.weight.embedding and not self.weight.mixed and self.weight.bias is not None

    @property
    def _weighs(self) -> BoolArray:
        """A row of zeros is a layer that was initialised so, or pruned."""
        norm = self.weight.norm
        assert norm is not None
        return np.isfinite(norm) & (norm > 0)

    @property
    def _unproven(self) -> BoolArray:
        """Rows of which no recent gradient is proven: one that still learns is not dead, whatever its weights."""
        if self.silence is None:
            return np.ones(self.weight.rows, bool)
        return ~(self.silence.high <= limit.SILENT_STEPS)

    @property
    def whole(self) -> bool:
        """Whether no row at all has a gradient."""
        return self.silent is not None and bool(self.silent.all()) and not self.weight.embedding

    @cached_property
    def inputs_silent(self) -> bool:
        """No row has a gradient, yet the biases do: what comes in is 0."""
        memory = self.weight.bias_memory
        bias = silence_of(memory) if self.whole and memory is not None else None
        return bias is not None and not bias.untold and bool((bias.high <= limit.SILENT_STEPS).all())


def summary(layer: Rows) -> LayerInspection:
    """A weight's row of the table."""
    weight, silence, silent = layer.weight, layer.silence, layer.silent
    steps = low = high = None
    if silence is not None and silent is not None and silent.any():
        # Rows that never had a gradient are counted apart, unless there are no others.
        told = silent & ~silence.never if (silent & ~silence.never).any() else silent
        middle = silence.estimate[told]
        steps = None if np.isnan(middle).all() else float(np.nanmedian(middle))
        least, most = silence.low[told], float(silence.high[told].max())
        low = None if np.isnan(least).all() else float(np.nanmin(least))
        high = most if np.isfinite(most) else None
    remark, taken = _remark(layer), weight.memory.step if weight.memory is not None else None
    return LayerInspection(
        name=weight.name,
        shape=weight.shape,
        rows=weight.rows,
        silent=_total(silent),
        never=None if silence is None else int(silence.never.sum()),
        steps=steps,
        steps_low=low,
        steps_high=high,
        unmoved=_total(weight.unmoved),
        blocked=_total(layer.blocked),
        out_of_reach=_total(layer.out_of_reach),
        remark=remark,
        steps_taken=taken if remark is Remark.FROZEN_AT_TIMES else None,
        steps_of=layer.steps if remark is Remark.FROZEN_AT_TIMES else None,
    )


def _remark(layer: Rows) -> Remark | None:
    weight = layer.weight
    if weight.embedding:
        return Remark.EMBEDDING
    if weight.state is not None and weight.state.kind in _REMARKS:
        return _REMARKS[weight.state.kind]
    taken = weight.memory.step if weight.memory is not None else None
    if taken is not None and layer.steps is not None and taken < layer.steps:
        return Remark.FROZEN_AT_TIMES
    if weight.unmoved is not None and weight.unmoved.all() and not layer.whole:
        return Remark.DID_NOT_MOVE
    return None


_REMARKS = {NotTold.FROZEN: Remark.FROZEN, NotTold.NOT_IN_OPTIMIZER: Remark.NOT_IN_OPTIMIZER}


def _total(rows: BoolArray | None) -> int | None:
    return None if rows is None else int(rows.sum())
