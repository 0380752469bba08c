"""An inspection in the terminal: what has not learned on top, then a row a weight, then what could not be told."""

import math
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rectifier._formatting import counted
from rectifier.records import CauseKind, Inspection, LayerInspection, NotTold, Remark
from rectifier.report.sentences import checkpoint, describe, fixes
from rectifier.report.text.findings import print_suppressed, print_title
from rectifier.report.text.lines import fit, print_table, say
from rectifier.report.words import findings_counted

_MOST_TOLD = 8
_MOST_LAYERS = 20


def print_inspection(inspection: Inspection, console: Console, *, everything: bool = False) -> None:
    """Print an inspection.

    Args:
        inspection: What is to be told.
        console: Where to; its width, colour and encoding are respected.
        everything: Name every weight in the table; otherwise those without a remark are counted where there are many.
    """
    say(console, _head(inspection))
    severities: list[str] = [finding.severity for finding in inspection.findings]
    if severities:
        say(console, f"{findings_counted(severities)}.", style="bold")
    else:
        say(console, _nothing_found(inspection), style="bold")
    for finding in inspection.findings[:_MOST_TOLD]:
        console.print()
        print_title(finding, console)
        texts = describe(finding)
        said = [texts.detail]
        if finding.severity != "info" or finding.cause.kind is not CauseKind.UNKNOWN:
            said.append(f"Why: {texts.cause}")
        if finding.severity != "info" and texts.advised:
            said.append(f"What to do: {texts.advice}")
        for text in said:
            say(console, text, indent=4)
        for fix in finding.fixes:
            say(console, f"Next: {fixes.fix_text(fix.kind)}", indent=4)
    if len(inspection.findings) > _MOST_TOLD:
        console.print()
        say(console, f"and {counted(len(inspection.findings) - _MOST_TOLD, 'more finding')}; --json lists all of them.")
    print_suppressed(inspection, console)
    if inspection.layers:
        console.print()
        _print_layers(inspection, console, everything)
    if inspection.untold:
        console.print()
    for reason in inspection.untold:
        head = "Note: " if reason.why.kind is NotTold.FROZEN else "Not told: "
        say(console, checkpoint.untold(reason), head=Text(head), indent=10)


def _head(inspection: Inspection) -> str:
    text = f"{inspection.path}: {inspection.layout}, {counted(len(inspection.layers), 'weight')}"
    if inspection.step is not None:
        text += f", {counted(inspection.step, 'step')}"
    if inspection.earlier is not None:
        between = "" if inspection.steps_between is None else f", {counted(inspection.steps_between, 'step')} before"
        text += f"; beside {inspection.earlier}{between}"
    return f"{text}."


def _nothing_found(inspection: Inspection) -> str:
    if any(layer.silent is not None for layer in inspection.layers) or not inspection.layers:
        return "Every row learns, as far as the file tells."
    return "Nothing can be said against any row; whether they learn, the file does not tell."


def _print_layers(inspection: Inspection, console: Console, everything: bool) -> None:
    layers = inspection.layers
    plain = [layer for layer in layers if not _is_remarkable(layer)]
    short = len(layers) > _MOST_LAYERS and not everything
    shown = [layer for layer in layers if _is_remarkable(layer)] if short else list(layers)
    columns: list[tuple[str, Literal["left", "right"], list[str]]] = [
        ("weight", "left", [layer.name for layer in shown]),
        ("rows", "right", [f"{layer.rows:,}" for layer in shown]),
        ("no gradient", "right", [_number(layer.silent) for layer in shown]),
        ("for steps", "left", [_steps(layer) for layer in shown]),
        ("unmoved", "right", [_number(layer.unmoved) for layer in shown]),
        ("cannot fire", "right", [_firing(layer) for layer in shown]),
        ("", "left", [checkpoint.remark(layer) for layer in shown]),
    ]
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    # Where nobody has anything to say in a column, names get its room.
    told = [column for column in columns if column in columns[:3] or set(column[2]) - {"", "?", "0"}]
    for name, justify, _ in told:
        table.add_column(name, justify=justify, overflow="fold")
    for cells in zip(*(column[2] for column in told), strict=True):
        table.add_row(*(Text(fit(cell, console)) for cell in cells))
    if shown:
        print_table(console, table)
    if short and plain:
        say(console, f"{counted(len(plain), 'more weight')} without anything to remark; --all names them.")
    if any(layer.remark is Remark.EMBEDDING and layer.silent for layer in layers):
        say(console, "Unused rows of an embedding are normal.")


def _is_remarkable(layer: LayerInspection) -> bool:
    return any((layer.silent, layer.unmoved, layer.blocked, layer.out_of_reach))


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _firing(layer: LayerInspection) -> str:
    """`3` for what is certain with inputs ≥ 0, `3+2?` with what is out of reach."""
    if layer.blocked is None or layer.out_of_reach is None:
        return ""
    if not layer.out_of_reach:
        return f"{layer.blocked:,}"
    return f"{layer.blocked:,}+{layer.out_of_reach:,}?" if layer.blocked else f"{layer.out_of_reach:,}?"


def _steps(layer: LayerInspection) -> str:
    """`≈ 500 (478–531)`, `≥ 732`, `2 ever, ≥ 736`: as long as the training itself."""
    if not layer.silent:
        return ""
    if layer.never == layer.silent:
        return "ever"
    ever = f"{layer.never:,} ever, " if layer.never else ""
    if layer.steps_low is None:
        return f"{ever}?"
    low = f"{math.floor(layer.steps_low):,}"
    if layer.steps is None:
        return f"{ever}≥ {low}"
    high = "…" if layer.steps_high is None else f"{math.ceil(layer.steps_high):,}"
    return f"{ever}≈ {layer.steps:,.0f} ({low}–{high})"
