"""`rectifier activations`: the catalogue as a table, one row in full, or drawn."""

from pathlib import Path

import click

from rectifier.catalogue import parse
from rectifier.report.text.activations import print_activation, print_catalogue
from rectifier.report.text.terminal import echo, open_console
from rectifier.storage.pages import write_page


@click.command("activations")
@click.argument("name", required=False, metavar="[NAME[:PARAMETER]]")
@click.option(
    "--plot", "page", type=click.Path(path_type=Path, dir_okay=False), help="Draw value and derivative on this page."
)
def command(name: str | None, page: Path | None) -> None:
    """List the activations that Rectifier knows, or tell all about one: leaky_relu, elu:0.5, swish."""
    if name is None:
        if page is not None:
            raise click.UsageError(f"--plot needs a name: rectifier activations leaky_relu --plot {page}")
        print_catalogue(open_console())
        return
    choice = parse(name)
    print_activation(choice, open_console())
    if page is not None:
        from rectifier.report.figures.activations import activation_page  # noqa: PLC0415 - plotly takes its time

        write_page(page, activation_page(choice))
        echo(f"Page: {page}", err=True)
