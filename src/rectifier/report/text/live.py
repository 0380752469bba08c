"""A run that is going on, in a few lines: where it is, what is wrong, the layers with most silent units."""

import io
import os
from collections.abc import Sequence

from rich.console import Console

from rectifier._formatting import percent
from rectifier.records import Diagnosis, Process, Run
from rectifier.report.rows import silent_fraction
from rectifier.report.sentences import describe
from rectifier.report.text.layers import layer_table
from rectifier.report.text.lines import fit, print_table, takes
from rectifier.report.words import findings_counted


def live_lines(
    run: Run | None, diagnoses: Sequence[Diagnosis], columns: int, rows: int, encoding: str | None = None
) -> list[str]:
    """Exactly so many lines, none of them longer than the terminal is wide.

    Args:
        run: As far as it has come; None before anything is on record.
        diagnoses: One per process, in the same order.
        columns: Width of the terminal.
        rows: How many lines there shall be.
        encoding: Of the terminal.
    """
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding or "utf-8", errors="replace")
    plain = bool(os.environ.get("NO_COLOR"))
    console = Console(
        file=file, width=columns, force_terminal=not plain, color_system=None if plain else "standard", highlight=False
    )
    rule = columns * ("─" if takes("─", console) else "-")
    lines = [rule, *_status(run, diagnoses, console)]
    seen = next((one for one in zip(run.processes, diagnoses, strict=True) if one[0].snapshots), None) if run else None
    if seen is not None and rows > len(lines) + 1:
        lines += _table(*seen, console, rows - len(lines) - 1)
    return [*lines[:rows], *[""] * (rows - len(lines))]


def _status(run: Run | None, diagnoses: Sequence[Diagnosis], console: Console) -> list[str]:
    last = [process.snapshots[-1] for process in run.processes if process.snapshots] if run else []
    if run is None or not last:
        return [_cut("rectifier: no training step has been observed yet", console)]
    process = next(process for process in run.processes if process.snapshots)
    loss = process.series("loss").values
    parts = [f"rectifier: step {last[0].cost.steps:,}"]
    parts += [f"loss {loss[-1]:.4g}"] if len(loss) else []
    parts += [f"watching {percent(last[0].cost.watching_fraction)}"]
    parts += [f"{len(run.processes)} processes"] if len(run.processes) > 1 else []
    findings = [finding for diagnosis in diagnoses for finding in diagnosis.findings]
    alarms = [finding for finding in findings if finding.severity != "info"]
    said = describe(alarms[0]).title if alarms else "nothing is wrong so far"
    if len(alarms) > 1:
        said += f" ({findings_counted([finding.severity for finding in alarms])})"
    return [_cut(", ".join(parts), console), _cut(said, console)]


def _cut(text: str, console: Console) -> str:
    text = fit(text, console)
    return (
        text if len(text) <= console.width else text[: console.width - 1] + ("…" if fit("…", console) == "…" else ".")
    )


def _table(process: Process, diagnosis: Diagnosis, console: Console, room: int) -> list[str]:
    """The layers with most silent units, in their order in the network."""
    layers = diagnosis.layers
    worst = sorted(range(len(layers)), key=lambda row: -silent_fraction(layers[row]))[:room]
    print_table(console, layer_table(process, diagnosis, console, rows=sorted(worst)))
    console.file.flush()
    assert isinstance(console.file, io.TextIOWrapper)
    written = console.file.buffer
    assert isinstance(written, io.BytesIO)
    # A name that takes two lines pushes the last layers out.
    return written.getvalue().decode(console.file.encoding).splitlines()[: room + 1]
