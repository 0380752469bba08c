"""When a comparison is analysed before its end, and how much of the error rate each analysis may spend.

An error rate α is spent along the seeds, α(n/N)² of it up to n of N seeds, and each analysis tests at what it may spend
itself. The chance that any analysis raises a false alarm is then at most the sum, α, for every test that keeps its
level at each single analysis and whatever the distribution: exact sign flips and McNemar's test alike. Taking the
dependence of the analyses into account would ask for it to be known, and gain little: here the last of three analyses
tests at .0375 instead of .0426 (normal differences, analyses at a quarter, a half and all).

Source: Lan & DeMets 1983, Biometrika 70, 659–663 (spending); Kim & DeMets 1987, Biometrika 74, 149–154 (powers of n/N);
Slud & Wei 1982, JASA 77, 862–868 (shares of α that are fixed beforehand); Jennison & Turnbull 1989, JRSS B 51, 305–361
(repeated confidence intervals: at each analysis the interval of what its own test does not reject).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rectifier.comparison.statistics.exact import smallest_pairs
from rectifier.errors import NothingToCompare

ALPHA: Final = 0.05

ENDPOINTS: Final = 2
"""Failures and the metric: tests per arm."""

EXPONENT: Final = 2
"""Of the spending function. 1 spends evenly and costs the last analysis much power; 3, about O'Brien & Fleming's
limits, spends so little at a quarter of 48 seeds that no exact test could use it."""

_EXAMPLE = "12,24,48"


def shares(interim: Sequence[float]) -> tuple[float, ...]:
    """Parts of the error rate that each analysis may spend; their sum is 1.

    Args:
        interim: Numbers of seeds, rising; the last is all.

    Example:
        >>> shares((12, 24, 48))
        (0.0625, 0.1875, 0.75)
    """
    spent = [0.0, *[(n / interim[-1]) ** EXPONENT for n in interim]]
    return tuple(after - before for before, after in pairwise(spent))


def smallest_analysis(seeds: int, tests: int, *, before: int = 0, alpha: float = ALPHA) -> int:
    """The fewest seeds at which an analysis could find anything in a comparison that ends with `seeds`.

    Args:
        seeds: Of the last analysis.
        tests: In the family.
        before: Seeds of the analysis before, which has spent its part; 0 for the first.
        alpha: Error rate of the family.

    Returns:
        More than `seeds` when not even the last analysis could.

    Example:
        >>> smallest_analysis(48, tests=2), smallest_analysis(48, tests=12), smallest_analysis(9, tests=12)
        (11, 13, 9)
    """
    spent = (before / seeds) ** EXPONENT
    for n in range(before + 1, seeds):
        if smallest_pairs(tests, alpha * ((n / seeds) ** EXPONENT - spent)) <= n:
            return n
    return max(seeds, smallest_pairs(tests, alpha * (1 - spent)))


def default_interim(seeds: int, arms: int) -> tuple[int, ...]:
    """A quarter (three eighths at most), a half, and all of the seeds, where something could be found at them.

    Example:
        >>> [default_interim(seeds, arms=6) for seeds in (12, 24, 48)], default_interim(48, arms=3)
        ([(12,), (12, 24), (13, 24, 48)], (12, 24, 48))
    """
    tests, half = ENDPOINTS * max(arms, 1), seeds // 2
    interim: list[int] = []
    quarter = max(seeds // 4, smallest_analysis(seeds, tests))
    if quarter <= 3 * seeds / 8:
        interim.append(quarter)
    if half >= smallest_analysis(seeds, tests, before=max(interim, default=0)):
        interim.append(half)
    return (*interim, seeds)


def interim_from(text: str, seeds: int | None, arms: int) -> tuple[int, ...]:
    """Read `12,24,48`: the last analysis is at the end, and at each of them something can be found.

    Args:
        text: Numbers of seeds, separated by commas.
        seeds: All seeds where that was said; they are the last analysis, named or not.
        arms: To be judged.

    Raises:
        NothingToCompare: These are no rising numbers, go beyond the seeds, or nothing could be found at one of them.

    Example:
        >>> interim_from("12,24", 48, arms=3), interim_from("24", None, arms=3)
        ((12, 24, 48), (24,))
    """
    try:
        interim = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise NothingToCompare(f"--interim {text!r} are no numbers of seeds. Write for example: {_EXAMPLE}") from error
    return checked_interim(interim, seeds, arms)


def checked_interim(interim: Sequence[int], seeds: int | None, arms: int) -> tuple[int, ...]:
    """The analyses with the last one at the end.

    Raises:
        NothingToCompare: They do not rise, go beyond the seeds, or nothing could be found at one of them.
    """
    if not interim or interim[0] < 1 or sorted(set(interim)) != list(interim):
        told = ",".join(map(str, interim))
        raise NothingToCompare(f"analyses at {told} seeds do not come one after another. Write for example: {_EXAMPLE}")
    if seeds is not None and interim[-1] > seeds:
        raise NothingToCompare(
            f"an analysis at {interim[-1]} seeds comes after the end, which is at {seeds}: "
            "the last analysis is at all seeds."
        )
    interim = (*interim, *([] if seeds in (None, interim[-1]) else [seeds]))
    tests = ENDPOINTS * max(arms, 1)
    before = 0
    for n in interim[:-1]:
        smallest = smallest_analysis(interim[-1], tests, before=before)
        if n < smallest:
            raise NothingToCompare(
                f"an analysis at {n} of {interim[-1]} seeds could find nothing: no exact test, corrected for "
                f"{tests} tests and for the analyses, can reject there. The first one after {before} "
                f"seeds that could is at {smallest}."
            )
        before = n
    return tuple(interim)
