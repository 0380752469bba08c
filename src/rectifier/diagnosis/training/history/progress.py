"""Does the training get anywhere? Asked of the loss, and "cannot tell" is an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.records import Consequence, FloatArray, IntArray, LossPath, Series

# A normal sample's median has 1.2533 times the standard error of its mean; a median absolute deviation times 1.4826 is
# its standard deviation.
_MEDIAN_ERROR = 1.2533 * 1.4826
_SHORTEST_PLATEAU = 5


@dataclass(frozen=True)
class Progress:
    """How the loss moved.

    Attributes:
        state: `none` when it ends within 5% of where it began or above; `unknown` with too few losses, when their
            noise hides a change of 5%, when they fall by more than their noise and as fast as by 5% in 100 steps, of
            which they are fewer, or when a loss at or below zero makes a relative comparison meaningless.
        start: Median over the starting plateau, NaN without enough losses.
        end: Median over the plateau at the end, NaN without enough losses.
        steps: Number of losses; of a long run, of which late ones are thinned, as many as those kept stand for.
        settled: Whether the last third of the losses is one plateau.
    """

    state: Literal["some", "none", "unknown"]
    start: float
    end: float
    steps: int
    settled: bool = False

    @property
    def loss(self) -> LossPath:
        """As findings have it."""
        known = [value if np.isfinite(value) else None for value in (self.start, self.end)]
        return LossPath(loss_start=known[0], loss_end=known[1], loss_steps=self.steps)

    @property
    def consequence(self) -> Consequence:
        """What may be said of it in a finding."""
        return {
            "some": Consequence.PROGRESS,
            "none": Consequence.NO_PROGRESS,
            "unknown": Consequence.UNKNOWN,
        }[self.state]


def judge_progress(loss: Series) -> Progress:
    """Compare the end of a loss curve with its starting plateau.

    The starting plateau begins with the first five losses and is doubled as long as its second half does not differ
    from its first by more than the noise: it stays short when training is quick, and grows long where the loss is
    flat. The end is found in the same way, from the last tenth. Medians, so that single bad batches do not decide.

    Args:
        loss: The loss of each step.
    """
    even = loss.even
    values = even.values[np.isfinite(even.values)]
    n = len(values)
    # Of a long run not every loss is kept.
    steps = n * loss.every
    if n < limit.LEAST_LOSSES:
        return Progress("unknown", float("nan"), float("nan"), steps)
    begin = _plateau(values, _SHORTEST_PLATEAU)
    finish = _plateau(values[::-1], max(_SHORTEST_PLATEAU, n // 10))
    start, end = float(np.median(begin)), float(np.median(finish))
    if start <= 0 or end <= 0:
        return Progress("unknown", start, end, steps)
    error = float(np.hypot(_error(begin), _error(finish)))
    settled = 2 * len(finish) > n // 3
    if end < (1 - limit.PLATEAU_FRACTION) * start:
        return Progress("some" if start - end > limit.NOISE_ERRORS * error else "unknown", start, end, steps, settled)
    above = end - (1 - limit.PLATEAU_FRACTION) * start
    sure = error <= limit.PLATEAU_FRACTION * start or above > limit.NOISE_ERRORS * error
    if end < 2 * start and _noise(values[-max(limit.LEAST_LOSSES, n // 3) :]) > limit.CONVERGED_NOISE:
        sure = False
    in_time = (start - end) * limit.STALLED_STEPS / steps > limit.PLATEAU_FRACTION * start
    if steps < limit.STALLED_STEPS and in_time and start - end > limit.NOISE_ERRORS * error:
        # It falls, and had no time to fall far.
        sure = False
    return Progress("none" if sure else "unknown", start, end, steps, settled)


def own_stretch(
    model: str, histories: Sequence[SiteHistory], series: Series, more: Mapping[str, tuple[int, int]] | None = None
) -> Series:
    """The part of a process's series that belongs to one of its models; empty where that cannot be told.

    The losses of a process, and its norms before clipping, are those of all models. Where another model trains at the
    same time (a GAN) nobody's can be told from them; where models train one after the other, each has its own stretch.

    Args:
        model: Its name.
        histories: Of all sites of the process.
        series: Of the process.
        more: First and last step of models, as far as they are known otherwise.
    """
    spans: dict[str, tuple[int, int]] = dict(more or {})
    for history in histories:
        steps = history.steps()
        first, last = spans.get(history.site.model, (int(steps[0]), int(steps[-1])))
        spans[history.site.model] = min(first, int(steps[0])), max(last, int(steps[-1]))
    if len(spans) < 2:
        return series
    first, last = spans[model]
    own = (series.steps >= first) & (series.steps <= last)
    if any(name != model and first <= others[1] and others[0] <= last for name, others in spans.items()):
        own[:] = False
    return replace(series, steps=series.steps[own], values=series.values[own])


def loss_lives(loss: Series, steps: IntArray) -> bool:
    """Whether there was anything to learn: a loss of exactly 0 teaches nothing, and rightly."""
    values = loss.values[(loss.steps >= steps[0]) & (loss.steps <= steps[-1])]
    return len(values) > 0 and bool(np.median(np.abs(values)) > 0)


def _plateau(values: FloatArray, length: int) -> FloatArray:
    """The beginning of the curve, at least this long, during which nothing stands out of the noise."""
    while 2 * length <= len(values) // 3:
        one, other = values[:length], values[length : 2 * length]
        difference = abs(float(np.median(one) - np.median(other)))
        if difference > limit.NOISE_ERRORS * np.hypot(_error(one), _error(other)):
            break
        length *= 2
    return values[:length]


def _noise(values: FloatArray) -> float:
    """Median absolute deviation over the median; infinite where that is not above zero, and tells nothing."""
    level = float(np.median(values))
    if level <= 0:
        return float("inf")
    return float(np.median(np.abs(values - level))) / level


def _error(values: FloatArray) -> float:
    """Standard error of the median, from the median absolute deviation."""
    spread = float(np.median(np.abs(values - np.median(values))))
    return _MEDIAN_ERROR * spread / float(np.sqrt(len(values)))
