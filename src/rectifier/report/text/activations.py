"""The catalogue as text: a table that fits the terminal, and one row told in full."""

from rich.console import Console
from rich.table import Table

from rectifier.catalogue import CATALOGUE, Choice

# From how many columns on the table shows more: at 60 the name, the formula and where the unit cannot learn.
_SHAPE_FROM, _DERIVATIVE_FROM, _PAPER_FROM = 90, 120, 170


def print_catalogue(console: Console) -> None:
    """Print every activation as one row; the narrower the terminal, the fewer columns.

    Args:
        console: Where to print; its width decides.

    Example:
        >>> print_catalogue(Console(width=60))
                                 Activations...
    """
    width = console.width
    table = Table(title="Activations", show_edge=False, pad_edge=False, title_style="bold")
    # A formula that is wider than its column goes on in the next line; nothing of it is cut off.
    table.add_column("name", no_wrap=True)
    table.add_column("f(z)", ratio=3, overflow="fold")
    if width >= _DERIVATIVE_FROM:
        table.add_column("f′(z)", ratio=3, overflow="fold")
    table.add_column("f′(z) = 0", ratio=2, overflow="fold")
    if width >= _SHAPE_FROM:
        table.add_column("gain", justify="right", no_wrap=True)
        table.add_column("shape", no_wrap=True)
    if width >= _PAPER_FROM:
        table.add_column("paper", ratio=3, overflow="fold")
    for row in CATALOGUE.values():
        choice = Choice(row, row.default)
        cells = [choice.spec, row.formula]
        if width >= _DERIVATIVE_FROM:
            cells.append(row.derivative)
        cells.append(row.flat)
        if width >= _SHAPE_FROM:
            cells += [f"{choice.gain:.3f}", _letters(choice)]
        if width >= _PAPER_FROM:
            cells.append(row.paper)
        table.add_row(*cells)
    console.print(table, markup=False, highlight=False)
    if width >= _SHAPE_FROM:
        _say(console, "gain: 1/√E[f(z)²], z ~ N(0, 1). shape: s signed, c with a continuous derivative, m monotone.")
    _say(console, "After a colon stands the parameter, here its default: leaky_relu:0.1.")
    _say(console, "More about one: rectifier activations leaky_relu [--plot PAGE.html]")


def print_activation(choice: Choice, console: Console) -> None:
    """Print all that the catalogue knows of one activation, at its parameter.

    Args:
        choice: The activation and its parameter.
        console: Where to print.

    Example:
        >>> from rectifier.catalogue import parse
        >>> print_activation(parse("relu"), Console(width=60))
        relu
        f(z)         max(0, z)
        ...
    """
    row = choice.activation
    facts = [("f(z)", row.formula), ("f′(z)", row.derivative), ("f′(z) = 0", row.flat)]
    if row.parameter is not None:
        facts.append(("parameter", f"{row.parameter} = {choice.parameter:g} (default {row.default:g})"))
    facts += [
        ("gain", f"{choice.gain:.6g}, which is 1/√E[f(z)²] for z ~ N(0, 1)"),
        ("f(0)", f"{choice.value(0.0).item():.6g}"),
        ("signed", "yes, it takes negative values" if row.signed else "no"),
        ("smooth", "yes, its derivative is continuous" if row.smooth else "no"),
        ("monotone", "yes, it never decreases" if row.monotone else "no"),
        ("in torch", _in_torch(choice)),
        ("in rectifier", f"write {choice.spec} wherever an activation is asked for"),
        ("also called", ", ".join(row.aliases) or "—"),
        ("paper", row.paper),
    ]
    if choice.parameter != row.default:
        facts.insert(4, ("", "signed, smooth and monotone are told for the default"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for name, fact in facts:
        grid.add_row(name, fact)
    console.print(choice.spec, style="bold", markup=False, highlight=False)
    console.print(grid, markup=False, highlight=False)


def _in_torch(choice: Choice) -> str:
    row = choice.activation
    if row.module is None:
        return "torch.nn.Identity" if row.name == "identity" else "not there; rectifier.nn and rectifier.functional"
    approximate = 'approximate="tanh"' if row.name == "gelu_tanh" else ""
    return f"torch.nn.{row.module}({approximate}), torch.nn.functional.{row.function}"


def _letters(choice: Choice) -> str:
    row = choice.activation
    shape = (("s", row.signed), ("c", row.smooth), ("m", row.monotone))
    return " ".join(letter if true else "·" for letter, true in shape)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)
