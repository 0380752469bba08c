"""The table of layers on a terminal, with a small chart, and what its columns mean."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rectifier._formatting import percent
from rectifier.records import Diagnosis, LayerSummary, Process
from rectifier.report.rows import factors
from rectifier.report.text.lines import fit, say, takes

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.:-=+*#"
_CHART_WIDTH = 12
_WIDE = 100
_ROOMY = 80


def layer_table(process: Process, diagnosis: Diagnosis, console: Console, rows: Sequence[int] | None = None) -> Table:
    """The table of layers, with as many columns as the console has room for.

    Args:
        process: What was observed.
        diagnosis: Of this process.
        console: Where to.
        rows: Which layers; all when None.
    """
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    changes = factors(process, diagnosis)
    wide, roomy = console.width >= _WIDE, console.width >= _ROOMY and any(changes)
    sources = wide and any(layer.source for layer in diagnosis.layers)
    table.add_column("layer", overflow="fold")
    if wide:
        table.add_column("activation", overflow="fold")
    if sources:
        table.add_column("source", overflow="fold")
    for name in ("units", "dead", "rare", "stuck", "fires", fit("‖δ‖", console), *(["factor"] if roomy else [])):
        # Where there is no room a number is broken over two lines: cut off, it would be another number.
        table.add_column(name, justify="right", overflow="fold")
    if wide:
        table.add_column("share silent", no_wrap=True, overflow="crop")
    for index in range(len(diagnosis.layers)) if rows is None else rows:
        layer = diagnosis.layers[index]
        row = [layer.site.label, *([layer.activation] if wide else []), *([layer.source or "?"] if sources else [])]
        row += [_number(layer.units), _silent(layer), _number(layer.rare), _number(layer.stuck)]
        row += ["?" if layer.firing_fraction is None else percent(layer.firing_fraction), _size(layer.delta)]
        row += ["" if changes[index] is None else f"{changes[index]:.2g}"] if roomy else []
        row += [_chart(layer, console)] if wide else []
        table.add_row(*(Text(fit(cell, console)) for cell in row))
    return table


def print_legend(process: Process, diagnosis: Diagnosis, console: Console) -> None:
    """Print what the columns mean, as far as one could take them for something else."""
    layers = diagnosis.layers
    told = ["rare: fires on less than 1% of the samples.", "stuck: its input was negative on all of them."]
    if any(layer.suspected for layer in layers):
        told.insert(0, "A count with ? is suspected: silent, on too few samples for the definition of dead.")
    if any(layer.firing_fraction and _is_silent(layer) for layer in layers):
        told.append("fires: over the latest windows with enough samples; what died within them still has some.")
    told.append(fit("‖δ‖: size of the loss's gradient there, per sample.", console))
    if console.width >= _ROOMY and any(factors(process, diagnosis)):
        told.append("factor: how many times ‖δ‖ grows from the next layer down into this one.")
    if console.width >= _WIDE and any(layer.dead_history for layer in layers):
        told.append("share silent: of the units, from the first observation to the last.")
    say(console, " ".join(told), style="dim")


def _is_silent(layer: LayerSummary) -> bool:
    return layer.units is not None and (layer.dead or 0) + (layer.suspected or 0) >= layer.units


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value}"


def _silent(layer: LayerSummary) -> str:
    """`3`, `20?` for what is suspected only, `3+20?` for both."""
    if not layer.suspected:
        return _number(layer.dead)
    return f"{layer.dead}+{layer.suspected}?" if layer.dead else f"{layer.suspected}?"


def _size(value: float | None) -> str:
    return "?" if value is None else "0" if value == 0 else f"{value:.1e}"


def _chart(layer: LayerSummary, console: Console) -> str:
    """Share of silent units over the run, a character a stretch of windows."""
    shares = [share for _, share in layer.dead_history]
    if not shares:
        return ""
    bars = _BARS if takes(_BARS, console) else _PLAIN_BARS
    count = min(_CHART_WIDTH, len(shares))
    picked = [shares[round(index * (len(shares) - 1) / max(count - 1, 1))] for index in range(count)]
    return "".join(bars[min(len(bars) - 1, int(share * len(bars)))] for share in picked)
