"""A result's rows for a reader: on a terminal, and as Markdown."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from rectifier._formatting import duration, percent
from rectifier.reproduce.result import Result
from rectifier.reproduce.row import FALSE_ALARM, Known, Row

HEAD = ("", "published or exact", "ours", "interval", "", "n")
"""The last column is for the page only, which is wide."""


def cells(row: Row) -> tuple[str, ...]:
    """The row's texts, in the order of the head."""
    agrees = {True: "yes", False: "NO", None: ""}[row.agrees]
    interval = f"[{number(row.low)}, {number(row.high)}]"
    return row.what, _known(row.known), number(row.ours), interval, agrees, f"{row.n:,}"


def number(value: float) -> str:
    """Three decimals where they say enough, otherwise three digits."""
    if value == 0:
        return "0"
    return f"{value:.3f}" if 0.01 <= abs(value) < 100 else f"{value:.2e}" if abs(value) < 0.001 else f"{value:.3g}"


def _known(known: Known | None) -> str:
    if known is None:
        return "—"
    middle, reach = (known.low + known.high) / 2, (known.high - known.low) / 2
    if not reach:
        text = number(middle)
    elif known.kind == "published":
        text = f"{number(known.low)} to {number(known.high)}"
    else:
        text = f"{number(middle)} ± {number(reach)}"
    return f"{text} {known.kind}"


def print_result(result: Result, rows: Sequence[Row], seconds: float, console: Console) -> None:
    """Print one result's table and what it says."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in HEAD[:-1]:
        table.add_column(name, justify="right" if name in ("ours", "interval") else "left", overflow="fold")
    for row in rows:
        table.add_row(*cells(row)[:-1], style="bold red" if row.agrees is False else None)
    console.print(f"\n{result.name}: {result.title}", style="bold", highlight=False, markup=False)
    console.print(f"Source: {result.source}.\n{result.setting}.\n", highlight=False, markup=False)
    console.print(table, highlight=False, markup=False)
    console.print(f"\n{verdict(rows)} ({duration(seconds)} of one processor)", highlight=False, markup=False)


def verdict(rows: Sequence[Row]) -> str:
    """One line over a table."""
    judged = [row for row in rows if row.agrees is not None]
    wrong = [row.what for row in judged if row.agrees is False]
    if wrong:
        return f"{len(wrong)} of {len(judged)} known numbers lie outside of their intervals: {'; '.join(wrong)}."
    return f"All {len(judged)} known numbers lie within their intervals."


def explanation() -> str:
    """How to read the interval."""
    return (
        "The interval is where the known number has to lie if it and ours are about the same thing: exact for rates "
        "(Clopper-Pearson; Fisher's test where the known rate is itself a sample), Student's for means. It is "
        f"corrected for the rows of its table, so that an honest run fails in at most {percent(FALSE_ALARM)} of "
        "cases."
    )


def markdown(result: Result, rows: Sequence[Row]) -> str:
    """One result as a section of a page, which the same seed writes again."""
    lines = [f"## {result.name}", "", f"{result.title}.", "", f"Source: {result.source}. {result.setting}.", ""]
    lines += [f"| {' | '.join(HEAD)} |", "|---|---|---:|---:|---|---:|"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells(row))} |" for row in rows]
    return "\n".join([*lines, "", verdict(rows), ""])


def page(sections: Sequence[str], limits: Sequence[str], command: str, machine: str) -> str:
    """The page that holds all tables.

    Args:
        sections: A table each.
        limits: What they say against Leaky ReLU, each in one sentence.
        command: That it was made by.
        machine: On what.
    """
    against = ["## Where Leaky ReLU does not help", "", *(f"- {limit}" for limit in limits), ""] if limits else []
    return "\n".join(
        [
            "# Published and exact results, measured again",
            "",
            f"Made by `{command}` on {machine}. The command exits with 1 when a known number lies outside.",
            "",
            explanation(),
            "",
            "*exact*: proved. *published*: in the named paper. *measured*: an earlier simulation of our own.",
            "",
            *against,
            *sections,
        ]
    )
