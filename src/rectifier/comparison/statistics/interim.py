"""When a comparison is looked at before its end, and how much of the error rate each look may spend.

An error rate α is spent along the seeds, α(n/N)² of it up to n of N seeds, and each look tests at what it may spend
itself. The chance that any look raises a false alarm is then at most the sum, α, for every test that keeps its level at
each single look and whatever the distribution: exact sign flips and McNemar's test alike. Taking the dependence of the
looks into account would ask for it to be known, and gain little: here the last of three looks tests at .0375 instead
of .0426 (normal differences, looks at a quarter, a half and all).

Source: Lan & DeMets 1983, Biometrika 70, 659–663 (spending); Kim & DeMets 1987, Biometrika 74, 149–154 (powers of n/N);
Slud & Wei 1982, JASA 77, 862–868 (shares of α that are fixed beforehand); Jennison & Turnbull 1989, JRSS B 51, 305–361
(repeated confidence intervals: at each look the interval of what its own test does not reject).
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
"""Of the spending function. 1 spends evenly and costs the last look much power; 3, about O'Brien & Fleming's limits,
spends so little at a quarter of 48 seeds that no exact test could use it."""

_EXAMPLE = "12,24,48"


def shares(looks: Sequence[float]) -> tuple[float, ...]:
    """Parts of the error rate that each look may spend; their sum is 1.

    Args:
        looks: Numbers of seeds, rising; the last is all.

    Example:
        >>> shares((12, 24, 48))
        (0.0625, 0.1875, 0.75)
    """
    spent = [0.0, *[(n / looks[-1]) ** EXPONENT for n in looks]]
    return tuple(after - before for before, after in pairwise(spent))


def smallest_look(seeds: int, tests: int, *, before: int = 0, alpha: float = ALPHA) -> int:
    """The fewest seeds at which a look could find anything in a comparison that ends with `seeds`.

    Args:
        seeds: Of the last look.
        tests: In the family.
        before: Seeds of the look before, which has spent its part; 0 for the first.
        alpha: Error rate of the family.

    Returns:
        More than `seeds` when not even the last look could.

    Example:
        >>> smallest_look(48, tests=2), smallest_look(48, tests=12), smallest_look(9, tests=12)
        (11, 13, 9)
    """
    spent = (before / seeds) ** EXPONENT
    for n in range(before + 1, seeds):
        if smallest_pairs(tests, alpha * ((n / seeds) ** EXPONENT - spent)) <= n:
            return n
    return max(seeds, smallest_pairs(tests, alpha * (1 - spent)))


def default_looks(seeds: int, arms: int) -> tuple[int, ...]:
    """A quarter (three eighths at most), a half, and all of the seeds, where something could be found at them.

    Example:
        >>> default_looks(12, arms=6), default_looks(24, arms=6), default_looks(48, arms=6), default_looks(48, arms=3)
        ((12,), (12, 24), (13, 24, 48), (12, 24, 48))
    """
    tests, half = ENDPOINTS * max(arms, 1), seeds // 2
    looks: list[int] = []
    quarter = max(seeds // 4, smallest_look(seeds, tests))
    if quarter <= 3 * seeds / 8:
        looks.append(quarter)
    if half >= smallest_look(seeds, tests, before=max(looks, default=0)):
        looks.append(half)
    return (*looks, seeds)


def looks_from(text: str, seeds: int | None, arms: int) -> tuple[int, ...]:
    """Read `12,24,48`: the last look is at the end, and at each of them something can be found.

    Args:
        text: Numbers of seeds, separated by commas.
        seeds: All seeds where that was said; they are the last look, named or not.
        arms: To be judged.

    Raises:
        NothingToCompare: These are no rising numbers, go beyond the seeds, or nothing could be found at one of them.

    Example:
        >>> looks_from("12,24", 48, arms=3), looks_from("24", None, arms=3)
        ((12, 24, 48), (24,))
    """
    try:
        looks = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise NothingToCompare(f"--looks {text!r} are no numbers of seeds. Write for example: {_EXAMPLE}") from error
    return checked_looks(looks, seeds, arms)


def checked_looks(looks: Sequence[int], seeds: int | None, arms: int) -> tuple[int, ...]:
    """The looks with the last one at the end.

    Raises:
        NothingToCompare: They do not rise, go beyond the seeds, or nothing could be found at one of them.
    """
    if not looks or looks[0] < 1 or sorted(set(looks)) != list(looks):
        told = ",".join(map(str, looks))
        raise NothingToCompare(f"looks at {told} seeds do not come one after another. Write for example: {_EXAMPLE}")
    if seeds is not None and looks[-1] > seeds:
        raise NothingToCompare(
            f"a look at {looks[-1]} seeds comes after the end, which is at {seeds}: the last look is at all seeds."
        )
    looks = (*looks, *([] if seeds in (None, looks[-1]) else [seeds]))
    tests = ENDPOINTS * max(arms, 1)
    before = 0
    for n in looks[:-1]:
        smallest = smallest_look(looks[-1], tests, before=before)
        if n < smallest:
            raise NothingToCompare(
                f"a look at {n} of {looks[-1]} seeds could find nothing: no exact test, corrected for {tests} tests "
                f"and for the looks, can reject there. The first one after {before} seeds that could is at {smallest}."
            )
        before = n
    return tuple(looks)
