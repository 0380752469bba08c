"""How numbers and lists are written, in messages, reports and pages alike."""

from collections.abc import Sequence


def percent(share: float) -> str:
    """Two significant digits; never 0% for what is more, never 100% for what is less.

    Example:
        >>> percent(0.333), percent(0.042), percent(0.00037), percent(0.9999), percent(42.0)
        ('33%', '4.2%', '0.037%', '99.9%', '4,200%')
    """
    value = 100 * share
    if value >= 100_000:
        return f"{value:.1e}%"
    if 99.5 <= value < 100:
        return f"{min(value, 99.9):.1f}%"
    return f"{value:,.0f}%" if value >= 10 else f"{value:.2g}%"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "layer"), counted(2000, "layer"), counted(2, "batch", "batches")
        ('1 layer', '2,000 layers', '2 batches')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def listed(parts: Sequence[str], most: int | None = None, rest: str = "more") -> str:
    """The parts with commas and `and`; beyond `most` only how many there are.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], most=2)
        ('a', 'a, b and c', 'a, b and 2 more')
    """
    if most is not None and len(parts) > most:
        parts = [*parts[:most], f"{len(parts) - most:,} {rest}"]
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def duration(seconds: float) -> str:
    """In the unit that says it in two or three digits.

    Example:
        >>> duration(0.034), duration(4.2), duration(42), duration(600), duration(7_200)
        ('0.034 s', '4.2 s', '42 s', '10 min', '2.0 h')
    """
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"


def printable(text: str, keep: str = "") -> str:
    r"""The text with every character spelled that would command a terminal.

    Args:
        text: From a file, or from the user.
        keep: Characters that stay all the same.

    Example:
        >>> printable("a name\x1b[2J")
        'a name\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
