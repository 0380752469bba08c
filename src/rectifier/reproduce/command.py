"""`rectifier reproduce`: known results beside our own measurement of them."""

import shlex
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from rectifier.datasets import MissingData
from rectifier.errors import RectifierError
from rectifier.exit_codes import DISAGREES
from rectifier.report.text.terminal import echo, open_console
from rectifier.reproduce.result import Result
from rectifier.reproduce.row import Row, judge
from rectifier.reproduce.table import explanation, markdown, page, print_result
from rectifier.storage.pages import write_page

NAMES = ("born-dead", "propagation", "inactivity", "lu2019", "slow-regression", "depth-silence", "tuned-mlp")


class UnknownResult(RectifierError):
    """No result has that name; the text lists the names."""


@click.command("reproduce")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Other seed, other draws.")
@click.option("--list", "only_list", is_flag=True, help="List the results and measure nothing.")
@click.option(
    "--markdown", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables to this file, too."
)
def command(name: str | None, seed: int, only_list: bool, file: Path | None) -> None:
    """Measure published and exact results again, and say whether they agree; without a NAME all of them.

    Each row shows the known number, ours, and the interval in which the known one has to lie. The exit code is 1 when
    one lies outside, and 2 when a result could not be measured for want of its data.
    """
    console = open_console()
    results = [_load(known) for known in ([name] if name is not None else NAMES)]
    if name is None:
        for result in results:
            console.print(f"{result.name:16s} {result.title}", highlight=False, markup=False, soft_wrap=True)
        if only_list:
            return
    console.print(f"\n{explanation()}", highlight=False, markup=False)
    sections, limits, agree, missing = [], [], True, []
    for result in results:
        # Of this process: what else the machine does is no cost of ours.
        started = time.process_time()
        try:
            rows = _measure(result, seed)
        except MissingData as error:
            console.print(f"\n{result.name}: not measured, {error}", highlight=False, markup=False)
            missing.append(result.name)
            continue
        seconds = time.process_time() - started
        print_result(result, rows, seconds, console)
        sections.append(markdown(result, rows))
        if result.limit:
            limits.append(f"{result.limit} ([{result.name}](#{result.name}))")
        agree = agree and all(row.agrees is not False for row in rows)
    if file is not None:
        _write(file, sections, limits)
    if not agree:
        sys.exit(DISAGREES)
    if missing:
        sys.exit(MissingData.exit_code)


def _load(name: str) -> Result:
    if name not in NAMES:
        raise UnknownResult(f"there is no result {name!r}. Known are: {', '.join(NAMES)}.")
    result = import_module(f"rectifier.reproduce.{name.replace('-', '_')}").RESULT
    assert isinstance(result, Result)
    return result


def _measure(result: Result, seed: int) -> list[Row]:
    import torch  # noqa: PLC0415 (a second and a half that --help does not need)

    threads = torch.get_num_threads()
    # Small matrices: a second thread mostly waits for the first.
    torch.set_num_threads(1)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=open_console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    try:
        with bar:
            task = bar.add_task(result.name, total=1.0)
            return judge(result.measure(seed, lambda share: bar.update(task, completed=share)))
    finally:
        torch.set_num_threads(threads)


def _write(file: Path, sections: Sequence[str], limits: Sequence[str]) -> None:
    import platform  # noqa: PLC0415

    import torch  # noqa: PLC0415

    machine = f"{platform.system()}, {platform.machine()}, torch {torch.__version__}, one thread"
    # The program's own path is nobody's business but this machine's.
    text = page(sections, limits, shlex.join(["rectifier", *sys.argv[1:]]), machine)
    write_page(file, text)
    echo(f"Page: {file}", err=True)
