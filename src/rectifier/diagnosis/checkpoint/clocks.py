"""For how long a row has gone without gradient, read from what its optimizer has not forgotten yet.

With a zero gradient momentum falls by β₁ and the second moment by β₂ a step. Two clocks follow:

- |m|/√v falls by β₁/√β₂ a step from a value that is known, because it cannot exceed Cauchy and Schwarz's bound and
  lies near √((1 − β₁)/(1 + β₁)) for noise. It is good to some twenty steps, and stops when m underflows, after 700.
- v alone falls slowly and can be read for 80,000 steps at β₂ = .999. But what it fell from is taken from the rows
  that still learn, so it is only as good as the likeness of their gradients.

Both stop where the number's type, or weight decay that acts as a gradient, keeps the moments up.
"""

import math
from dataclasses import dataclass

import numpy as np

from rectifier.diagnosis import thresholds as limit
from rectifier.records import FloatArray, Memory, NotTold, Why
from rectifier.records.arrays import BoolArray


@dataclass(frozen=True, slots=True)
class Silence:
    """Steps without gradient, row by row.

    Attributes:
        low: At least so many; NaN or less than 0 where nothing can be told.
        estimate: The likeliest number; NaN where there is only a least one.
        high: At most so many; infinite where there is no upper end.
        never: No gradient ever came: the moments are exactly 0.
        untold: Why nothing can be told of any row, None where something can.
    """

    low: FloatArray
    estimate: FloatArray
    high: FloatArray
    never: BoolArray
    untold: Why | None = None

    @property
    def silent(self) -> BoolArray:
        """Rows that surely went long enough without gradient to say so."""
        # A row that never had one is silent from the start; `low` is NaN where nobody counted the steps.
        return (self.low >= limit.SILENT_STEPS) | (self.never & np.isnan(self.low))


@dataclass(frozen=True, slots=True)
class _Falling:
    """Logarithms by which a moment falls in a step, as it should and as rounding may make it."""

    nominal: float
    slow: float
    fast: float


def silence_of(memory: Memory) -> Silence:
    """Read both clocks of every row.

    Warning:
        "No gradient" means none that shows. For Adam that is less than about 1e-5 of the row's usual one; with one
        moment only (SGD, RMSprop) it is measured against the other rows, and a gradient a thousand times smaller than
        theirs may pass for none.

    Args:
        memory: What an optimizer remembers of a weight's rows.

    Example:
        >>> import numpy as np
        >>> t = np.array([0, 0, 0, 300])  # the last row has had no gradient for 300 steps
        >>> momentum, second = 1e-3 * 0.9**t, 1e-5 * 0.999**t
        >>> floor = np.full(4, 1e-38)
        >>> silence = silence_of(Memory(first_decay=0.9, second_decay=0.999, first=momentum, first_floor=floor,
        ...     second=second, second_floor=floor, ratio=momentum / np.sqrt(second), rounding=6e-8, coupled=False,
        ...     decays=False, step=1_000))
        >>> silence.silent.tolist(), silence.low[3].round(), silence.estimate[3].round(), silence.high[3].round()
        ([False, False, False, True], np.float64(278.0), np.float64(300.0), np.float64(330.0))
    """
    kept = memory.second if memory.second is not None else memory.first
    if kept is None or not len(kept):
        return _nothing(0, Why(NotTold.NO_MOMENT))
    never = _never(memory)
    if never.all():
        nan = np.full(len(kept), np.nan)
        return _bounded(Silence(nan, nan, np.full(len(kept), np.inf), never), memory, never)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if memory.first is None or memory.first_decay is None:
            silence = _one_clock(memory, memory.second, memory.second_floor, memory.second_decay, power=2)
        elif memory.second is None:
            silence = _one_clock(memory, memory.first, memory.first_floor, memory.first_decay, power=1)
        else:
            silence = _two_clocks(memory)
    return _bounded(silence, memory, never)


def since_earlier(now: Silence, memory: Memory, then: Memory, steps: int) -> Silence:
    """What an earlier checkpoint adds: a second moment that fell by exactly β₂ a step had no gradient in between.

    Args:
        now: What the later checkpoint tells alone.
        memory: Of the later checkpoint.
        then: Of the earlier one.
        steps: Between the two.
    """
    falling = _falling(memory.second_decay or 0.0, memory.rounding)
    if falling is None or memory.second is None or then.second is None or memory.second_decay != then.second_decay:
        return now
    if memory.second_floor is None or len(memory.second) != len(then.second) or steps < 1:
        return now
    before = silence_of(then)
    with np.errstate(divide="ignore", invalid="ignore"):
        fell = np.log(then.second / memory.second)
        error = steps * memory.rounding + limit.FADING_ERROR
        faded = (np.abs(fell - steps * falling.nominal) <= error) & (memory.second > memory.second_floor)
    low = np.where(faded, steps + np.fmax(before.low, 0), now.low)
    estimate = np.where(faded, steps + before.estimate, now.estimate)
    high = np.where(faded, steps + before.high, now.high)
    # Two ends that exclude each other: what is proven between the checkpoints stands.
    return Silence(low, estimate, np.maximum(high, low), now.never, None if faded.any() else now.untold)


def _nothing(rows: int, why: Why) -> Silence:
    nan = np.full(rows, np.nan)
    return Silence(nan, nan, np.full(rows, np.inf), np.zeros(rows, bool), why)


def _falling(decay: float, rounding: float) -> _Falling | None:
    if not 0 < decay < 1:
        return None
    nominal = -math.log(decay)
    # From where rounding can hold up a third of the fall, the clock is worth nothing.
    return None if rounding > nominal / 3 else _Falling(nominal, nominal - rounding, nominal + rounding)


def _never(memory: Memory) -> BoolArray:
    moments = [moment for moment in (memory.first, memory.second) if moment is not None]
    zero: BoolArray = np.logical_and.reduce([moment == 0 for moment in moments])
    return zero & memory.fine


def _one_clock(
    memory: Memory, moment: FloatArray | None, floor: FloatArray | None, decay: float | None, *, power: int
) -> Silence:
    """RMSprop, SGD with momentum: the rows are measured against each other."""
    assert moment is not None
    assert floor is not None
    falling = _falling(decay or 0.0, memory.rounding)
    if falling is None:
        return _nothing(len(moment), _why_no_clock(decay, memory))
    strongest = moment.max()
    live = moment >= strongest * limit.LIVE_SHARE**power
    seen = np.maximum(moment, floor)
    if not strongest > floor.max():
        return _nothing(len(moment), Why(NotTold.NOTHING_ABOVE_FLOOR))
    usual = float(np.median(moment[live]))
    unlike = limit.UNLIKE_MOMENTUM if power == 1 else limit.UNLIKE_GRADIENT**2
    low = np.log(usual / unlike / seen) / falling.fast
    told = moment > floor * (limit.BESIDE_DECAY if memory.coupled else 1)
    estimate = np.where(told, np.log(usual / seen) / falling.nominal, np.nan)
    high = np.where(told, np.log(usual * unlike / seen) / falling.slow, np.inf)
    return Silence(low, estimate, high, np.zeros(len(moment), bool))


def _two_clocks(memory: Memory) -> Silence:
    first, first_floor, ratio = memory.first, memory.first_floor, memory.ratio
    second, second_floor = memory.second, memory.second_floor
    assert first is not None and first_floor is not None and ratio is not None  # noqa: PT018
    assert second is not None and second_floor is not None and memory.first_decay is not None  # noqa: PT018
    b1, b2 = memory.first_decay, memory.second_decay or 0.0
    momentum, slow = _falling(b1, memory.rounding), _falling(b2, memory.rounding)
    if momentum is None:
        return _nothing(len(first), _why_no_clock(b1, memory))
    if b2 >= 1:
        return _nothing(len(first), _why_no_clock(b2, memory))
    # What forgets at once falls infinitely fast.
    fall = -math.log(b2) if b2 > 0 else math.inf
    still = slow.nominal if slow is not None else 0.0
    between = momentum.nominal - still / 2
    # How slowly and how fast |m|/√v can fall: a second moment that rounding holds may fall, or not.
    slowest = momentum.slow - (slow.fast if slow is not None else fall) / 2
    fastest = momentum.fast - (slow.slow if slow is not None else 0.0) / 2
    if slowest <= 0:
        return _nothing(len(first), Why(NotTold.MOMENTUM_OUTLIVES, numbers=(b1, b2)))

    root = np.sqrt(second)
    above = first > first_floor
    seen, seen_ratio = np.maximum(first, first_floor), np.maximum(ratio, first_floor / root)
    most = _largest_ratio(b1, b2)
    latest = np.log(most / ratio) / slowest
    live = above & (latest <= limit.SILENT_STEPS)
    usual_ratio = float(np.median(ratio[live])) if live.any() else math.sqrt((1 - b1) / (1 + b1))
    low = np.log(usual_ratio / limit.USUAL_RATIO / seen_ratio) / fastest
    if live.any():
        # A row of which one old gradient was huge has a small ratio, too; its momentum is then as large as any.
        usual = float(np.median(first[live]))
        low = np.minimum(low, np.log(usual / limit.USUAL_RATIO / seen) / momentum.fast)
    estimate = np.where(above, np.log(usual_ratio / seen_ratio) / between, np.nan)
    high = np.where(above & (not memory.coupled), latest, np.inf)
    if slow is None or not live.any():
        return Silence(low, estimate, high, np.zeros(len(first), bool))
    return _by_second_moment(memory, Silence(low, estimate, high, np.zeros(len(first), bool)), live, slow)


def _by_second_moment(memory: Memory, by_momentum: Silence, live: BoolArray, slow: _Falling) -> Silence:
    """What v adds where momentum has nothing more to tell."""
    second, floor = memory.second, memory.second_floor
    assert second is not None and floor is not None and memory.first is not None  # noqa: PT018
    usual = float(np.median(second[live]))
    if memory.coupled:
        # A row that has only decay left had weights as large as the others' when that began.
        floor = np.maximum(floor, limit.BESIDE_DECAY * np.median(floor[live]))
    seen = np.maximum(second, memory.second_floor)  # type: ignore[arg-type]
    low = np.log(usual / limit.UNLIKE_GRADIENT**2 / seen) / slow.fast
    told = second > floor * (limit.BESIDE_DECAY if memory.coupled else 1)
    high = np.where(told, np.log(usual * limit.UNLIKE_GRADIENT**2 / seen) / slow.slow, np.inf)
    estimate = np.where(told, np.log(usual / seen) / slow.nominal, np.nan)
    # Momentum proves at least so many steps. Where v says fewer than that, gradients were larger then than now.
    contradicted = high < by_momentum.low
    high, estimate = np.where(contradicted, np.inf, high), np.where(contradicted, np.nan, estimate)
    read = ~np.isnan(by_momentum.estimate) & np.isfinite(by_momentum.high)
    return Silence(
        np.where(read, by_momentum.low, np.fmax(by_momentum.low, low)),
        np.where(read, by_momentum.estimate, estimate),
        np.where(read, by_momentum.high, high),
        by_momentum.never,
    )


def _largest_ratio(b1: float, b2: float) -> float:
    """The most that |m|/√v can be for any gradients, by Cauchy and Schwarz: 7.3 at (.9, .999)."""
    return math.sqrt((1 - b1) ** 2 / ((1 - b2) * (1 - b1 * b1 / b2)))


def _bounded(silence: Silence, memory: Memory, never: BoolArray) -> Silence:
    """No row has gone without gradient for more steps than there were."""
    steps = math.inf if memory.step is None else float(memory.step)
    low = np.where(never, steps if math.isfinite(steps) else np.nan, np.minimum(silence.low, steps))
    high = np.minimum(silence.high, steps)
    # An estimate out of these bounds only says that the row's gradients were unlike the others': it is none.
    within = (silence.estimate >= low) & (silence.estimate <= high)
    estimate = np.where(never, steps if math.isfinite(steps) else np.nan, np.where(within, silence.estimate, np.nan))
    return Silence(low, estimate, high, never, silence.untold)


def _why_no_clock(decay: float | None, memory: Memory) -> Why:
    if not decay:
        return Why(NotTold.FORGETS_AT_ONCE)
    if decay >= 1:
        return Why(NotTold.FORGETS_NOTHING, numbers=(decay,))
    return Why(NotTold.ROUNDED, numbers=(1 - decay, 2 * memory.rounding))
