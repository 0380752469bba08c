"""`rectifier report`: a run, a comparison or an explanation again, as text, as a page, as JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from rectifier.cli.ending import next_commands, print_observed
from rectifier.cli.follow import follow
from rectifier.cli.gate import allow_unjudged_option, fail_on_option, gate, suppress_option
from rectifier.comparison.archive import is_comparison, read_comparison
from rectifier.diagnosis import diagnose
from rectifier.errors import UnreadableRun
from rectifier.records import (
    Comparison,
    Conclusion,
    Diagnosis,
    Explanation,
    Run,
    SavedExplanation,
    Series,
    Severity,
    Trial,
)
from rectifier.report.json.documents import comparison_json, run_json
from rectifier.report.json.explanation import explanation_json
from rectifier.report.json.schema import json_schema
from rectifier.report.page.page import comparison_page, explanation_page, run_page
from rectifier.report.sentences import told_explanation
from rectifier.report.sentences.explanation.experiments import explained_when
from rectifier.report.text.comparison import print_comparison
from rectifier.report.text.explanation import print_explanation
from rectifier.report.text.lines import say
from rectifier.report.text.terminal import echo, open_console
from rectifier.storage import explanation_of, is_explanation, is_run_folder, read_explanation, read_run
from rectifier.storage.pages import write_page


def _print_schema(context: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked:
        echo(json.dumps(json_schema(), indent=2))
        context.exit()


@click.command("report")
@click.argument("runs", type=click.Path(path_type=Path), metavar="RUN", nargs=-1, required=True)
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write a self-contained page.")
@click.option(
    "--follow", "followed", is_flag=True, help="Write the page again and again until the run ends; it reloads itself."
)
@click.option("--json", "machine", is_flag=True, help="Print JSON on standard output.")
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of what --json prints.",
)
@fail_on_option()
@allow_unjudged_option
@suppress_option
def command(
    runs: tuple[Path, ...],
    page: Path | None,
    followed: bool,
    machine: bool,
    fail_on: Severity | None,
    allow_unjudged: bool,
    suppress: dict[str, str],
) -> None:
    """Render the folder of a run, a comparison or an explanation again.

    RUN is a folder that `rectifier run`, `compare` or `explain` printed; a run may still be going on. If a run was
    explained, the explanation is shown with it. With --fail-on the exit code is 10 where a run has a finding of that
    severity, 11 where it has none but a part could not be judged, and 2 where nothing was observed.
    """
    run = _the_one(runs)
    if followed and page is None:
        raise click.UsageError("--follow writes a page again and again: name it, --html page.html")
    other = "a comparison" if is_comparison(run) else None
    if is_explanation(run) and not is_run_folder(run):
        other = "an explanation"
    if other is not None:
        if followed:
            raise click.UsageError(f"--follow is for one run; {run} is {other}.")
        if fail_on is not None or suppress:
            raise click.UsageError(f"--fail-on and --suppress are about the findings of one run; {run} is {other}.")
        (_report_explanation if is_explanation(run) else _report_comparison)(run, page, machine)
    elif is_run_folder(run) or not run.exists():
        if followed and page is not None:
            _follow_run(run, page, suppress)
        sys.exit(gate(_report_run(run, page, machine, suppress), fail_on, allow_unjudged=allow_unjudged))
    else:
        raise UnreadableRun(
            f"{run} is neither a run nor a comparison nor an explanation. Name a folder that `rectifier run`, "
            "`compare` or `explain` printed."
        )


def _the_one(runs: Sequence[Path]) -> Path:
    """The run that was named; a pattern such as `rectifier-runs/train-*` may have become several."""
    if len(runs) > 1:
        newest = max(runs, key=lambda run: (run.stat().st_mtime if run.exists() else 0.0, run.name))
        raise click.UsageError(f"name one run. The newest of these {len(runs)} is {newest}")
    return runs[0]


def _follow_run(path: Path, page: Path, suppress: dict[str, str]) -> None:
    told: list[Path] = []

    def write(run: Run, refresh_seconds: int | None) -> None:
        diagnoses = [diagnose(process, suppress) for process in run.processes]
        write_page(page, run_page(run, diagnoses, refresh_seconds=refresh_seconds))
        if not told:
            told.append(page)
            echo(f"Page: {page}; written again until the run ends, Ctrl-C ends that.", err=True)

    follow(path, write)


def _report_run(path: Path, page: Path | None, machine: bool, suppress: dict[str, str]) -> list[Diagnosis]:
    run = read_run(path)
    diagnoses = [diagnose(process, suppress) for process in run.processes]
    saved = _explained(path, run)
    if page is not None:
        _write(page, run_page(run, diagnoses, explained=saved))
    if machine:
        echo(json.dumps(run_json(run, diagnoses, explanation=_found(saved)), indent=2, allow_nan=False))
    elif page is None:
        console = open_console()
        print_observed(run, suppress, console)
        if saved is not None:
            console.print()
            _print_explanation(saved, console)
        for line in next_commands(run, diagnoses, str(path), suppress, explained=saved is not None):
            console.print(f"Next: {line}", markup=False, highlight=False, soft_wrap=True)
    return diagnoses


def _explained(path: Path, run: Run) -> SavedExplanation | None:
    """Why a run failed, with its texts, where that was found out."""
    saved = explanation_of(path, run)
    if saved is None or saved.explanation.conclusion is Conclusion.NOTHING_TO_EXPLAIN:
        return None
    return replace(saved, explanation=told_explanation(saved.explanation, saved.command))


def _found(saved: SavedExplanation | None) -> Explanation | None:
    return None if saved is None else saved.explanation


def _print_explanation(saved: SavedExplanation, console: Console) -> None:
    print_explanation(saved.explanation, console)
    say(console, explained_when(saved))


def _report_explanation(path: Path, page: Path | None, machine: bool) -> None:
    saved = read_explanation(path)
    saved = replace(saved, explanation=told_explanation(saved.explanation, saved.command))
    if page is not None:
        _write(page, explanation_page(saved))
    if machine:
        echo(json.dumps(explanation_json(saved.explanation), indent=2, allow_nan=False))
    elif page is None:
        _print_explanation(saved, open_console())


def _report_comparison(path: Path, page: Path | None, machine: bool) -> None:
    comparison = read_comparison(path, lambda text: echo(f"{text}.", err=True))
    if page is not None:
        curves, example = _closer_look(path if path.is_dir() else path.parent, comparison)
        _write(page, comparison_page(comparison, example=example, curves=curves))
    if machine:
        echo(json.dumps(comparison_json(comparison), indent=2, allow_nan=False))
    elif page is None:
        print_comparison(comparison, open_console())


def _closer_look(folder: Path, comparison: Comparison) -> tuple[dict[str, list[Series]], tuple[Run, Diagnosis] | None]:
    """What the trainings' own records add: learning curves, and the training of the baseline that went worst.

    Nothing is missing from the verdict without them: the comparison's file may have been copied alone.
    """
    curves: dict[str, list[Series]] = {}
    examples = []
    for trial in comparison.trials:
        run = _kept(folder, trial)
        if run is None:
            continue
        series = max((p.series(comparison.metric) for p in run.processes), key=lambda s: len(s.steps), default=None)
        if series is not None and len(series.steps) > 1:
            curves.setdefault(trial.arm, []).append(series)
        if trial.arm == comparison.baseline:
            examples.append((trial.failed is not None, trial.dead_fraction or 0.0, -trial.seed, run))
    worst = max(examples, key=lambda one: one[:3], default=None)
    process = next((p for p in worst[3].processes if p.snapshots), None) if worst else None
    if worst is None or process is None:
        return curves, None
    return curves, (replace(worst[3], processes=(process,)), diagnose(process))


def _kept(folder: Path, trial: Trial) -> Run | None:
    if trial.run is None:
        return None
    try:
        return read_run(folder / trial.run)
    except UnreadableRun:
        return None


def _write(page: Path, html: str) -> None:
    write_page(page, html)
    echo(f"Page: {page}", err=True)
