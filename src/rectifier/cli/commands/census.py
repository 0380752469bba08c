"""`rectifier census`: the dead, rare and always-on units of a trained network over a data set."""

import json

import click

from rectifier.cli.named import made_by
from rectifier.report.json.documents import census_json
from rectifier.report.text.probes import print_census
from rectifier.report.text.terminal import echo, open_console


@click.command("census")
@click.argument("model", metavar="PACKAGE.MODULE:MODEL")
@click.option(
    "--data", "loader", required=True, metavar="PACKAGE.MODULE:LOADER", help="Batches, or what makes them: a loader."
)
@click.option("--json", "machine", is_flag=True, help="Print JSON on standard output, with every unit.")
def command(model: str, loader: str, machine: bool) -> None:
    """Count over a data set which units of a trained network are dead, rare or always on.

    MODEL and LOADER are objects, or functions without arguments that make them; the model's weights are those that it
    comes with. It runs in eval mode, without gradients. Of a batch that is a tuple the model gets as many of the first
    entries as its forward requires, mostly one.
    """
    import rectifier  # noqa: PLC0415 - `--help` never pays for torch

    census = rectifier.census(made_by(model, "a model"), made_by(loader, "data"))
    if machine:
        echo(json.dumps(census_json(census), indent=2, allow_nan=False))
    else:
        print_census(census, open_console())
