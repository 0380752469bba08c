"""Many parameters in few words: the modules that hold all of them, and the rest one by one."""

from collections.abc import Iterable


def compact(paths: Iterable[str], everyone: Iterable[str]) -> tuple[str, ...]:
    """The largest modules of which every parameter is meant, and single parameters for the rest.

    Args:
        paths: Those that are meant.
        everyone: All of the model.

    Returns:
        Paths of modules and of parameters, in the order of `everyone`; "" alone for the whole model.

    Example:
        >>> compact(["a.weight", "a.bias", "b.0.weight"], ["a.weight", "a.bias", "b.0.weight", "b.1.weight"])
        ('a', 'b.0.weight')
    """
    meant = set(paths)
    others = {prefix for path in everyone if path not in meant for prefix in _prefixes(path)}
    found = dict.fromkeys(
        next((prefix for prefix in _prefixes(path) if prefix not in others), path)
        for path in dict.fromkeys(everyone)
        if path in meant
    )
    # A module of a single parameter is told as that parameter: its kind is known then.
    holds = {place: [path for path in meant if _is_in(path, place)] for place in found}
    return tuple(held[0] if len(held) == 1 else place for place, held in holds.items())


def _prefixes(path: str) -> list[str]:
    """The modules around a parameter, from the model itself down."""
    parts = path.split(".")
    return ["", *(".".join(parts[:length]) for length in range(1, len(parts)))]


def _is_in(path: str, place: str) -> bool:
    return place in ("", path) or path.startswith(f"{place}.")
