"""One number, known and measured again, and the interval in which the known one has to lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import hypergeom
from scipy.stats import t as student

from rectifier.comparison.statistics.exact import clopper_pearson

FALSE_ALARM = 0.01
"""Chance that an honest run of one result contradicts any of its rows: each of m rows is tested at this ÷ m."""

Kind = Literal["exact", "published", "measured"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a number beforehand.

    Attributes:
        low: The number itself, or the lower end of where it is known to lie.
        high: The same as `low` for a number that is known exactly.
        kind: `exact` is proved, `published` stands in the named paper, `measured` comes from an earlier simulation
            of ours.
        runs: How many trainings the known number is itself the mean of, None when it has no sampling error.
    """

    low: float
    high: float
    kind: Kind
    runs: int | None = None


def exactly(value: float, error: float = 0.0) -> Known:
    """A proved number, with the error of its own evaluation."""
    return Known(value - error, value + error, "exact")


class Sample(Protocol):
    """What was measured: an estimate, and where the known number may lie if both are about the same thing."""

    @property
    def estimate(self) -> float:
        """The number itself."""

    @property
    def n(self) -> int:
        """Independent cases behind it."""

    def interval(self, level: float, runs: int | None) -> tuple[float, float]:
        """Where the known number may lie; outside of it, an honest one lies with the chance `level`."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `n` independent cases."""

    count: int
    n: int

    @property
    def estimate(self) -> float:
        """The observed share."""
        return self.count / self.n

    def interval(self, level: float, runs: int | None) -> tuple[float, float]:
        """Clopper and Pearson's; beside another sample, the rates that Fisher's exact test does not tell from ours.

        Args:
            level: Chance that an honest number lies outside.
            runs: Size of the other sample, None for a rate that is known without error.
        """
        if runs is None:
            return clopper_pearson(self.count, self.n, 1 - level)
        others = np.arange(runs + 1)
        table = hypergeom(self.n + runs, self.count + others, self.n)
        tail = np.minimum(table.cdf(self.count), table.sf(self.count - 1))
        kept = others[2 * tail > level]
        return float(kept[0] / runs), float(kept[-1] / runs)


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of `n` independent numbers with the sample standard deviation `deviation`."""

    mean: float
    deviation: float
    n: int

    @property
    def estimate(self) -> float:
        """The mean."""
        return self.mean

    def interval(self, level: float, runs: int | None) -> tuple[float, float]:
        """Student's; a known mean of `runs` others is taken to scatter as ours does.

        Args:
            level: Chance that an honest number lies outside (the central limit theorem's, for large n).
            runs: Size of the other sample, None for a mean that is known without error.
        """
        error = self.deviation * math.sqrt(1 / self.n + (0.0 if runs is None else 1 / runs))
        reach = float(student.ppf(1 - level / 2, self.n - 1)) * error
        return self.mean - reach, self.mean + reach


def mean_of(values: ArrayLike) -> Mean:
    """Summarise independent numbers.

    Example:
        >>> mean_of([1.0, 2.0, 3.0])
        Mean(mean=2.0, deviation=1.0, n=3)
    """
    array = np.asarray(values, dtype=np.float64)
    return Mean(float(array.mean()), float(array.std(ddof=1)), len(array))


@dataclass(frozen=True, slots=True)
class Measured:
    """A row as a result measures it: judged only beside all others of its table.

    Attributes:
        what: The number in words, with the sizes that it depends on.
        known: None for a number that is shown and not judged.
    """

    what: str
    known: Known | None
    sample: Sample


@dataclass(frozen=True, slots=True)
class Row:
    """A judged row.

    Attributes:
        low: Lower end of the interval in which the known number has to lie.
        agrees: None for a row without a known number.
    """

    what: str
    known: Known | None
    ours: float
    n: int
    low: float
    high: float
    agrees: bool | None


def judge(measured: Sequence[Measured]) -> list[Row]:
    """Give every row its interval, corrected for the number of rows that can disagree.

    Example:
        >>> [row.agrees for row in judge([Measured("a coin", exactly(0.5), Rate(52, 100)),
        ...                               Measured("a die", exactly(0.5), Rate(17, 100))])]
        [True, False]
    """
    level = FALSE_ALARM / max(1, sum(row.known is not None for row in measured))
    rows = []
    for row in measured:
        low, high = row.sample.interval(level, None if row.known is None else row.known.runs)
        # A sample without any spread leaves the rounding of the known number as its only error.
        slack = 1e-9 * max(abs(low), abs(high))
        agrees = None if row.known is None else row.known.low <= high + slack and low - slack <= row.known.high
        rows.append(Row(row.what, row.known, row.sample.estimate, row.sample.n, low, high, agrees))
    return rows
