"""How numbers and counts are written, on a terminal and on a page alike."""

from collections.abc import Sequence

from rectifier._formatting import counted, listed


def signed(value: float) -> str:
    """A difference with its sign, in three digits."""
    return f"{value:+.3g}".replace("-", "−")


def interim_told(interim: Sequence[int]) -> str:
    """What a reader of a comparison must know of its interim analyses; nothing where there is none."""
    if not interim[1:]:
        return ""
    return (
        f"Interim analyses at {listed([f'{n:,}' for n in interim])} seeds; arms with a verdict stop early. Each "
        "analysis is stricter than 5%, so that all together keep to 5%; so are their intervals."
    )


_FINDINGS = {"serious": "serious finding", "warning": "warning", "info": "remark"}


def findings_counted(severities: list[str]) -> str:
    """`1 serious finding, 3 warnings and 4 remarks`."""
    counts = [(severities.count(severity), noun) for severity, noun in _FINDINGS.items()]
    return listed([counted(count, noun) for count, noun in counts if count])
