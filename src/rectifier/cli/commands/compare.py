"""`rectifier compare`: arms × seeds of the user's own script, and a verdict with an interval."""

import hashlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar

from rectifier._formatting import counted, duration, listed
from rectifier.comparison.metric import Summary, higher_is_better, metric_of
from rectifier.comparison.question import DEFAULT_ARMS, DEFAULT_SEEDS, Question, arms_from, script_digest
from rectifier.exit_codes import INTERRUPTED
from rectifier.records import Comparison, Trial
from rectifier.report.sentences.failures import failure_text
from rectifier.report.text.terminal import echo, open_console

if TYPE_CHECKING:
    from rectifier.comparison.script.cluster import ClusterLauncher
    from rectifier.comparison.script.driver import Progress
    from rectifier.comparison.script.trial import ScriptLauncher

_SHOWN_FAILURES = 3
_JOBS = min(2, os.cpu_count() or 1)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--arms",
    default=",".join(DEFAULT_ARMS),
    show_default=True,
    help="What to put in the place of ReLU; half-lr, rescale and restart leave it, and so do the changes of "
    "`rectifier explain`: weight_decay_off, clip_gradient, ...",
)
@click.option("--seeds", type=click.IntRange(1, 10_000), help=f"Trainings per arm [{DEFAULT_SEEDS}].")
@click.option(
    "--interim",
    help="Interim analyses at these numbers of seeds; arms with a verdict stop early: 12,24,48 [a quarter, a half, "
    "all, where a verdict is possible].",
)
@click.option(
    "--metric",
    help="A name that the script logs: by rectifier.log, Lightning, Hugging Face's Trainer or TensorBoard "
    "[the loss that is back-propagated].",
)
@click.option("--pattern", help="Take the metric from what the script prints: 'test accuracy ([0-9.]+)'.")
@click.option("--maximize/--minimize", "maximize", default=None, help="The metric's direction [from its name].")
@click.option(
    "--summary",
    type=click.Choice(["final", "best", "last-tenth"]),
    help="One number per training [last-tenth for the loss, final for others].",
)
@click.option("--margin", type=click.FloatRange(0, min_open=True), help="Smallest difference that matters.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help=f"Trainings at a time [{_JOBS}; on a cluster as many as its workers have threads].",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads per training [cores ÷ jobs; 1 on a cluster].")
@click.option("--scheduler", metavar="ADDRESS", help="Train on the workers of a Dask cluster: tcp://host:port.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Seconds after which a training is stopped.")
@click.option("--max-steps", type=click.IntRange(1), help="End each training after so many optimizer steps.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the comparison.")
@click.argument("command_line", metavar="[-m MODULE | SCRIPT] [ITS OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def command(
    arms: str,
    seeds: int | None,
    interim: str | None,
    metric: str | None,
    pattern: str | None,
    maximize: bool | None,
    summary: Summary | None,
    margin: float | None,
    jobs: int | None,
    threads: int | None,
    scheduler: str | None,
    timeout: float | None,
    max_steps: int | None,
    out: Path | None,
    command_line: tuple[str, ...],
) -> None:
    """Compare activations on your own script, paired by seed.

    In the script's options {seed} is replaced by the training's seed, and {trial_dir} by a folder of its own. Without
    {seed} the script is seeded from outside. The same command goes on where it was stopped.
    """
    metric = metric or ("loss" if pattern is None else metric_of(pattern))
    script = script_digest(command_line)
    folder = out or _default_folder(command_line, script)
    chosen = arms_from(arms)
    planned = _interim(interim, seeds, len(chosen))
    question = Question(
        command=command_line,
        script=script,
        arms=chosen,
        seeds=planned[-1],
        metric=metric,
        summary=summary or ("last-tenth" if metric == "loss" and pattern is None else "final"),
        higher_is_better=higher_is_better(metric) if maximize is None else maximize,
        margin=margin,
        threads=threads
        or _kept_threads(folder)
        or (1 if scheduler else max(1, (os.cpu_count() or 1) // (jobs or _JOBS))),
        pattern=pattern,
        max_steps=max_steps,
        interim=planned,
    )
    with _trainer(scheduler, question, jobs, timeout) as (launcher, at_once):
        comparison = _run(question, folder, launcher, at_once)
    _print(comparison, folder)


def _interim(text: str | None, seeds: int | None, arms: int) -> tuple[int, ...]:
    from rectifier.comparison.statistics.interim import default_interim, interim_from  # noqa: PLC0415 (scipy, which --help does not need)

    return default_interim(seeds or DEFAULT_SEEDS, arms) if text is None else interim_from(text, seeds, arms)


def _default_folder(command_line: tuple[str, ...], script: str | None) -> Path:
    """The same for the same script and options, so that the same command continues it; more seeds or arms extend it."""
    stem = Path(command_line[0]).stem if command_line[0] != "-m" else "-".join(command_line[1:2])
    text = "\0".join([script or "", *command_line])
    return Path("rectifier-runs") / f"compare-{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _kept_threads(folder: Path) -> int | None:
    """Those of the comparison that is being continued: other --jobs must not make its trainings count as other ones."""
    from rectifier.comparison.archive import kept_question  # noqa: PLC0415 (scipy, which --help does not need)

    kept = kept_question(folder)
    return None if kept is None else kept.threads


@contextmanager
def _trainer(
    scheduler: str | None, question: Question, jobs: int | None, timeout: float | None
) -> "Iterator[tuple[ScriptLauncher | ClusterLauncher, int]]":
    """Who trains, and how many trainings at a time."""
    if scheduler is None:
        from rectifier.comparison.script.trial import ScriptLauncher  # noqa: PLC0415 (scipy, which --help does not need)

        yield ScriptLauncher(timeout), jobs or _JOBS
    else:
        from rectifier.comparison.script.cluster import connect  # noqa: PLC0415

        with connect(scheduler, question, timeout=timeout) as cluster:
            echo(f"{scheduler}: its workers train {cluster.slots} at a time.", err=True)
            yield cluster, jobs or cluster.slots


def _run(question: Question, folder: Path, launcher: "ScriptLauncher | ClusterLauncher", jobs: int) -> Comparison:
    from rectifier.comparison.script.driver import Interrupted, run_comparison  # noqa: PLC0415 (scipy, which --help does not need)
    from rectifier.comparison.script.trial import read_again  # noqa: PLC0415

    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _Display(question, jobs) as display:
            return run_comparison(
                question,
                folder,
                launcher,
                jobs=jobs,
                on_progress=display.update,
                stop_running=launcher.stop,
                read_again=read_again,
                say=display.say,
            )
    except Interrupted:
        echo(
            f"\nStopped; what had ended is kept in {folder}. The same command goes on from there:\n"
            f"    {shlex.join(['rectifier', *sys.argv[1:]])}",
            err=True,
        )
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Display:
    """Progress on standard error: a bar with the time left on a terminal, a line per training elsewhere."""

    def __init__(self, question: Question, jobs: int) -> None:
        self._question = question
        self._jobs = jobs
        self._console = open_console(stderr=True)
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("first training", left="")
        self._predicted = False

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def update(self, progress: "Progress") -> None:
        missing = progress.total - progress.done
        if progress.analysis is not None:
            self._analysed(progress, progress.analysis)
        elif progress.trial is None:
            self._opening(progress)
        elif not self._console.is_terminal:
            self._line(progress.trial, progress)
        if progress.seconds_left is not None and not self._predicted and missing:
            self._predicted = True
            self.say(f"{self._cost(progress, missing)} Ctrl-C stops and keeps what has ended.")
        left = "" if progress.seconds_left is None or not missing else f"about {duration(progress.seconds_left)} left"
        self._bar.update(
            self._task,
            description="trainings" if progress.done else "first training",
            completed=progress.done,
            total=progress.total,
            left=left,
        )

    def _opening(self, progress: "Progress") -> None:
        arms = len(self._question.trained_arms)
        self.say(
            f"{progress.total} trainings: {self._question.seeds} seeds × (baseline, {counted(arms, 'arm')}, placebo), "
            f"{counted(self._question.threads, 'thread')} each."
        )
        if progress.done:
            self.say(f"{progress.done} of them have ended earlier and are not repeated.")
        else:
            self.say("The first one runs alone, to predict what the rest will cost.")
        if interim := self._question.interim[:-1]:
            told = f"Interim {'analyses' if interim[1:] else 'analysis'} at {listed([str(n) for n in interim])} seeds"
            self.say(f"{told}; arms with a verdict stop early.")

    def _cost(self, progress: "Progress", missing: int) -> str:
        """What is left: a range where arms may stop early."""
        least, most = progress.least_seconds_left or 0.0, progress.seconds_left or 0.0
        count, left = f"{missing} more", f"about {duration(most)}"
        if progress.least < progress.total:
            count = f"{progress.least - progress.done} to {count}"
            left = f"{duration(least)} to {duration(most)}, as arms stop early or not"
        one = duration(progress.mean_seconds or 0.0)
        return f"One training takes about {one}; {count}, {min(self._jobs, missing)} at a time: {left}."

    def _analysed(self, progress: "Progress", seeds: int) -> None:
        for row in progress.decided:
            self.say(f"Analysis at {seeds} of {self._question.seeds} seeds: {row.arm}, {row.verdict}.")
        if not progress.decided and seeds < self._question.seeds:
            self.say(f"Analysis at {seeds} of {self._question.seeds} seeds: no arm has a verdict yet.")

    def _line(self, trial: Trial, progress: "Progress") -> None:
        value = "" if trial.metric is None else f"{self._question.metric} {trial.metric:.5g}"
        why = None if trial.failed is None else failure_text(trial.failed)
        result = ", ".join(part for part in (value, why) if part)
        self.say(
            f"[{progress.done}/{progress.total}] {trial.arm}, seed {trial.seed}: {result} ({duration(trial.seconds)})"
        )

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _print(comparison: Comparison, folder: Path) -> None:
    from rectifier.comparison.script.trial import OUTPUT  # noqa: PLC0415
    from rectifier.report.text.comparison import print_comparison  # noqa: PLC0415

    console = open_console()
    print_comparison(comparison, console)
    failed = [(trial, trial.failed) for trial in comparison.trials if trial.failed is not None]
    for trial, failure in failed[:_SHOWN_FAILURES]:
        log = (folder / trial.run).parent / OUTPUT if trial.run else folder
        _plain(console, f"Failed: {trial.arm}, seed {trial.seed} ({failure_text(failure)}); what it printed: {log}")
    if len(failed) > _SHOWN_FAILURES:
        _plain(console, f"And {counted(len(failed) - _SHOWN_FAILURES, 'more failure')}.")
    _plain(
        console, f"\nKept in {folder}. Next:\n    {shlex.join(['rectifier', 'report', str(folder)])} --html page.html"
    )


def _plain(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
