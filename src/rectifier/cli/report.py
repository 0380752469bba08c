"""`rectifier report`: a run or a comparison again, as text, as a page, as JSON."""

import json
from pathlib import Path

import click
from rich.console import Console

from rectifier.cli.ending import next_commands, print_observed
from rectifier.diagnosis import diagnose
from rectifier.errors import UnreadableRun
from rectifier.report.machine import comparison_json, run_json
from rectifier.report.page import comparison_page, run_page
from rectifier.report.text import print_comparison
from rectifier.store import is_run_folder, read_run
from rectifier.study.archive import is_study, read_study


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write a self-contained page.")
@click.option("--json", "machine", is_flag=True, help="Print JSON on standard output.")
def command(run: Path, page: Path | None, machine: bool) -> None:
    """Render a run folder, or a comparison's, again.

    RUN is a folder that `rectifier run` or `rectifier compare` printed; a run may still be going on.
    """
    if is_study(run):
        _report_comparison(run, page, machine)
    elif is_run_folder(run) or not run.exists():
        _report_run(run, page, machine)
    else:
        raise UnreadableRun(
            f"{run} is neither a run nor a comparison. Name a folder that `rectifier run` or `compare` printed."
        )


def _report_run(path: Path, page: Path | None, machine: bool) -> None:
    run = read_run(path)
    diagnoses = [diagnose(process) for process in run.processes]
    if page is not None:
        _write(page, run_page(run, diagnoses))
    if machine:
        click.echo(json.dumps(run_json(run, diagnoses), indent=2))
    elif page is None:
        console = Console()
        print_observed(run, console)
        for line in next_commands(run, str(path)):
            console.print(f"Next: {line}", markup=False, highlight=False, soft_wrap=True)


def _report_comparison(path: Path, page: Path | None, machine: bool) -> None:
    comparison = read_study(path)
    if page is not None:
        _write(page, comparison_page(comparison))
    if machine:
        click.echo(json.dumps(comparison_json(comparison), indent=2))
    elif page is None:
        print_comparison(comparison, Console())


def _write(page: Path, html: str) -> None:
    try:
        page.write_text(html, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{page} cannot be written: {error.strerror or error}") from None
    click.echo(f"Page: {page}", err=True)
