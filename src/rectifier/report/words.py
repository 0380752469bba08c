"""How numbers and counts are written, on a terminal and on a page alike."""

from collections.abc import Sequence


def share(value: float) -> str:
    """`33 %`, `0.4 %`: never a 0 for what is more, never a 100 for what is less."""
    percent = 100 * value
    if value in (0.0, 1.0) or 1 <= percent < 99.5:
        return f"{percent:.0f} %"
    return f"{percent:.2g} %" if percent < 1 else f"{min(percent, 99.9):.1f} %"


def signed(value: float) -> str:
    """A difference with its sign, in three digits."""
    return f"{value:+.3g}".replace("-", "−")


def counted(count: int, noun: str) -> str:
    """`1 layer`, `2,000 layers`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def duration(seconds: float) -> str:
    """In the unit that says it in two or three digits.

    Example:
        >>> duration(0.3), duration(42), duration(600), duration(7_200)
        ('0.3 s', '42 s', '10 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"


def looks_told(looks: Sequence[int]) -> str:
    """What a reader of a comparison must know of its looks; nothing where there is one, at the end."""
    if not looks[1:]:
        return ""
    return (
        f"Looks at {listed([f'{n:,}' for n in looks])} seeds: an arm that one settles is trained no more. Each is "
        "stricter than 5 %, so that all together keep to it; their intervals likewise."
    )


_FINDINGS = {"serious": "serious finding", "warning": "warning", "info": "remark"}


def findings_counted(severities: list[str]) -> str:
    """`1 serious finding, 3 warnings and 4 remarks`."""
    counts = [(severities.count(severity), noun) for severity, noun in _FINDINGS.items()]
    return listed([counted(count, noun) for count, noun in counts if count])
