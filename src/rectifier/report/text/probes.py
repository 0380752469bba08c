"""What a model showed without being trained, on a terminal: a census, a check."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rectifier._formatting import counted, listed, percent
from rectifier.records import Census, LayerCensus, LayerCheck, Preflight
from rectifier.report.text.findings import print_findings
from rectifier.report.text.lines import fit, print_table, say

_MOST_UNITS = 12
_NOTHING_SEEN = (
    "No activation was seen. Calls inside torch.compile or TorchScript and activations written by hand (torch.where) "
    "cannot be."
)


def print_census(census: Census, console: Console) -> None:
    """Print a census: on what it rests, one row a layer, and which units are silent."""
    if census.samples is None:
        rests = "how many samples are in them cannot be told, so there are no bounds"
    elif census.distinct_samples is None:
        rests = f"{counted(census.samples, 'sample')}"
    else:
        rests = f"{counted(census.samples, 'sample')}, {census.distinct_samples:,} of them distinct"
    batches = counted(census.batches, "batch", "batches")
    say(console, f"{census.model} on {batches}: {rests}.", style="bold")
    if not census.layers:
        say(console, _NOTHING_SEEN)
        return
    console.print()
    print_table(console, _table(census, console))
    console.print()
    for layer in census.layers:
        _say_units(layer, console)
    bound = census.layers[0].firing_bound
    if bound is not None:
        say(
            console,
            f"A unit that was silent fires on less than {percent(bound)} of data like these "
            f"(95%, {census.distinct_samples:,} distinct samples).",
        )
    say(console, "Silent, rare and always-on units alone are no fault: healthy networks have them.")


def _table(census: Census, console: Console) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("activation", overflow="fold")
    for name in ("units", "dead", "stuck", "rare", "always on", "fires"):
        table.add_column(name, justify="right", overflow="fold")
    for layer in census.layers:
        table.add_row(*(Text(fit(cell, console)) for cell in _cells(layer)))
    return table


def _cells(layer: LayerCensus) -> list[str]:
    if layer.units is None:
        return [layer.name, layer.activation, *"??????"]
    stuck = f"{layer.silent}" if layer.silent_means == "stuck" else ""
    dead = "" if stuck else f"{layer.silent}" + ("?" if layer.silent and layer.silent_means == "suspected" else "")
    fires = "?" if layer.firing_fraction is None else percent(layer.firing_fraction)
    return [layer.name, layer.activation, f"{layer.units}", dead, stuck, f"{layer.rare}", f"{layer.always_on}", fires]


def _say_units(layer: LayerCensus, console: Console) -> None:
    parts = [
        f"{word} {_numbers(units)}"
        for word, units in (
            ("suspected dead" if layer.silent_means == "suspected" else layer.silent_means, layer.silent_units),
            ("rare", layer.rare_units),
            ("always on", layer.always_on_units),
        )
        if units
    ]
    if layer.not_finite:
        parts.append(f"{counted(layer.not_finite, 'unit')} with NaN or an infinity, which count as nothing else")
    if parts:
        say(console, f"{layer.name}: {'; '.join(parts)}.")


def _numbers(units: tuple[int, ...]) -> str:
    return listed([str(unit) for unit in units], _MOST_UNITS, "more (--json has all)")


def print_check(found: Preflight, console: Console) -> None:
    """Print a check: the findings, most serious first, and one row a layer."""
    print_findings(found, console)
    if not found.layers:
        say(console, _NOTHING_SEEN)
        return
    console.print()
    print_table(console, _check_table(found, console))
    console.print()
    offset = "" if found.input_offset is None else f" The input's offset γ = ‖μ‖/‖σ‖ is {found.input_offset:.2g}."
    say(
        console,
        f"{found.model} on {counted(found.samples, 'sample')}, one forward and one backward pass with {found.loss}; "
        f"nothing was trained.{offset} A gain is the size of a layer's output over that of the layer before; sensitive "
        "is what is left of the differences between samples; gradient is ‖∂L/∂z‖ over that of the last layer. None of "
        "them alone is a fault.",
    )


def _check_table(found: Preflight, console: Console) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("activation", overflow="fold")
    for name in ("units", "silent", "gain", "sensitive", "alike", "gradient"):
        table.add_column(name, justify="right", overflow="fold")
    for layer in found.layers:
        table.add_row(*(Text(fit(cell, console)) for cell in _check_cells(layer)))
    return table


def _check_cells(layer: LayerCheck) -> list[str]:
    counts = ["?" if number is None else f"{number}" for number in (layer.units, layer.silent)]
    sizes = ["?" if size is None else f"{size:.2g}" for size in (layer.gain, layer.sensitivity)]
    alike = "?" if layer.similarity is None else f"{layer.similarity:.3f}"
    return [
        layer.name,
        layer.activation,
        *counts,
        *sizes,
        alike,
        "?" if layer.gradient is None else f"{layer.gradient:.2g}",
    ]
