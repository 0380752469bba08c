"""Which sites feed which: what may be compared with what, along the autograd graph.

Where no graph was read, the order of their first call stands for it. Calls of one module over time, with one weight,
are one layer.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rectifier.diagnosis.training.history.sites import SiteHistory


def reached(pairs: Iterable[tuple[int, int]], sites: int) -> tuple[frozenset[int], ...]:
    """For each site the ones that its output reaches, through others or directly.

    Args:
        pairs: Sites that feed each other directly, by index.
        sites: How many there are.

    Example:
        >>> [sorted(one) for one in reached([(0, 1), (1, 2)], 4)]
        [[1, 2], [2], [], []]
    """
    direct: list[set[int]] = [set() for _ in range(sites)]
    for one, other in pairs:
        direct[one].add(other)
    if any(other <= site for site, others in enumerate(direct) for other in others):
        return tuple(_searched(direct, site) for site in range(sites))
    # Each feeds later ones only: those are known already, with all that they reach.
    found: list[frozenset[int]] = [frozenset()] * sites
    for site in reversed(range(sites)):
        seen: set[int] = set()
        for one in sorted(direct[site]):
            if one not in seen:
                seen.add(one)
                seen |= found[one]
        found[site] = frozenset(seen)
    return tuple(found)


def _searched(direct: Sequence[set[int]], site: int) -> frozenset[int]:
    """What a site reaches where sites may feed earlier ones, or themselves."""
    seen: set[int] = set()
    waiting = list(direct[site])
    while waiting:
        if (one := waiting.pop()) not in seen:
            seen.add(one)
            waiting += direct[one]
    return frozenset(seen)


def same_layer(one: "SiteHistory", other: "SiteHistory") -> bool:
    """Whether two sites are calls of one module with one weight."""
    return _layer(one) == _layer(other)


def feeds(one: "SiteHistory", other: "SiteHistory") -> bool:
    """Whether what one site gives reaches another layer's site: by the graph, else by the order of their first call.

    Args:
        one: Of one model.
        other: Of the same.
    """
    if same_layer(one, other):
        return False
    if one.feeds is None:
        return one.index < other.index
    return other.index in one.feeds


def below(history: "SiteHistory", histories: Sequence["SiteHistory"]) -> list["SiteHistory"]:
    """The sites that feed one, in the order of their first call."""
    return [one for one in histories if feeds(one, history)]


def above(history: "SiteHistory", histories: Sequence["SiteHistory"]) -> list["SiteHistory"]:
    """The sites that one feeds."""
    return [one for one in histories if feeds(history, one)]


def as_layers(histories: Sequence["SiteHistory"]) -> list["SiteHistory"]:
    """One site for each layer: the first call."""
    layers: dict[tuple[str, str, str | None], SiteHistory] = {}
    for history in histories:
        layers.setdefault(_layer(history), history)
    return list(layers.values())


def chains(histories: Sequence["SiteHistory"]) -> list[tuple["SiteHistory", ...]]:
    """The longest chain from each first layer to each last one that it feeds; chains of one layer are none.

    Args:
        histories: Of one model, in the order of their first call.
    """
    layers = as_layers(histories)
    if all(one.feeds is None for one in layers):
        return [tuple(layers)] if len(layers) > 1 else []
    reach = _reach(layers)
    fed = frozenset[int]().union(*reach.values())
    # Whatever feeds another reaches all that the other reaches, and more.
    layers.sort(key=lambda one: (-len(reach[one.index]), one.index))
    lasts = [one for one in layers if not reach[one.index]]
    found = []
    for first in (one for one in layers if one.index not in fed):
        longest: dict[int, tuple[SiteHistory, ...]] = {first.index: (first,)}
        for one in layers:
            before = [chain for index, chain in longest.items() if one.index in reach[index]]
            if before:
                longest[one.index] = (*max(before, key=len), one)
        found += [chain for last in lasts if len(chain := longest.get(last.index, ())) > 1]
    return found


def _reach(layers: Sequence["SiteHistory"]) -> dict[int, frozenset[int]]:
    """What `feeds` says of each two of these layers."""
    every = frozenset(one.index for one in layers)
    return {
        one.index: frozenset(index for index in every if index > one.index)
        if one.feeds is None
        else (one.feeds & every) - {one.index}
        for one in layers
    }


def longest_chain(histories: Sequence["SiteHistory"]) -> tuple["SiteHistory", ...]:
    """The longest of all; empty where no site feeds another."""
    return max(chains(histories), key=len, default=())


def _layer(history: "SiteHistory") -> tuple[str, str, str | None]:
    return history.site.model, history.site.path, history.site.fed_by
