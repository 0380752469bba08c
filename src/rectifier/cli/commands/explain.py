"""`rectifier explain`: the cause of a failing training, established by experiment."""

import hashlib
import json
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from rectifier._formatting import counted, duration
from rectifier.comparison.question import script_digest
from rectifier.exit_codes import INTERRUPTED, UNEXPLAINED
from rectifier.records import Conclusion, Explanation, Rule, SavedExplanation
from rectifier.report.text.terminal import echo, open_console

if TYPE_CHECKING:
    from rectifier.comparison.explain.progress import Step

_EXPLAINED = (Conclusion.NOTHING_TO_EXPLAIN, Conclusion.ESTABLISHED, Conclusion.THIS_RUN, Conclusion.OBSERVED)


@click.command("explain", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--finding",
    type=click.Choice([str(rule) for rule in Rule]),
    metavar="RULE",
    help="Explain this finding of the run, dead-units for instance.",
)
@click.option("--because", help='Explain a failure that no finding reports: "loss stays at 2.3" or "loss is nan".')
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Number of trials that run at the same time.",
)
@click.option(
    "--max-minutes", type=click.FloatRange(0, min_open=True), help="Start no further trial after this many minutes."
)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="Stop a trial after this many seconds.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the explanation.")
@click.option("--json", "machine", is_flag=True, help="Print JSON on standard output.")
@click.argument("command_line", metavar="[-m MODULE | SCRIPT | RUN] [ITS OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def command(
    finding: str | None,
    because: str | None,
    jobs: int,
    max_minutes: float | None,
    timeout: float | None,
    out: Path | None,
    machine: bool,
    command_line: tuple[str, ...],
) -> None:
    """Find out by experiment why a training fails: one change at a time, with the same seed.

    Rectifier runs the script unchanged, and then with one thing changed at a time. It edits none of your files. Each
    trial uses one thread, because more threads would round sums differently.

    In the options of the script, {trial_dir} stands for a folder of the trial and {seed} for the seed. A number after
    an option whose name ends in "seed" counts as the seed, too.

    After Ctrl-C, the same command continues. Exit codes: 0; 12 if no cause was established or observed; 2 if the script
    cannot be explained; 130 after Ctrl-C.
    """
    from rectifier.comparison.explain.script import explain_script  # noqa: PLC0415 (torch-free, but scipy)

    typed = _typed(command_line)
    placed, own_seed = with_seed(typed)
    script = script_digest(typed)
    folder = out or _default_folder(typed, script, finding, because)
    folder.mkdir(parents=True, exist_ok=True)
    display = _Display()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        explanation = explain_script(
            placed,
            folder,
            jobs=jobs,
            max_minutes=max_minutes,
            own_seed=own_seed,
            finding=None if finding is None else next(rule for rule in Rule if rule == finding),
            because=because,
            timeout=timeout,
            on_step=display.update,
        )
    except KeyboardInterrupt:
        echo(
            f"\nStopped. Finished trials are kept in {folder}; the same command continues from there:\n"
            f"    {shlex.join(['rectifier', *sys.argv[1:]])}",
            err=True,
        )
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)
    keep(explanation, folder, typed, script, None if typed == command_line else Path(command_line[0]))
    _print(explanation, folder, typed, machine=machine)
    if explanation.conclusion not in _EXPLAINED:
        sys.exit(UNEXPLAINED)


def _typed(command_line: tuple[str, ...]) -> tuple[str, ...]:
    """The script and its options; of a run folder, those that it was started with."""
    from rectifier.storage import is_run_folder, read_run  # noqa: PLC0415

    if len(command_line) == 1 and is_run_folder(Path(command_line[0])):
        command = read_run(Path(command_line[0])).manifest.command
        if not command:
            raise click.UsageError(f"{command_line[0]} was watched from Python: name the script that trains.")
        return command
    if not command_line:
        raise click.UsageError("name the script to explain: rectifier explain train.py")
    return command_line


def with_seed(command_line: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """The command with `{seed}` in the place of a seed that was given, and that seed; 0 where there is none."""
    from rectifier.report.sentences.fixes import with_seeds  # noqa: PLC0415

    placed = tuple(with_seeds(command_line))
    for before, after in zip(command_line, placed, strict=True):
        if before != after:
            return placed, int(before.rpartition("=")[2])
    return placed, 0


def _default_folder(
    command_line: tuple[str, ...], script: str | None, finding: str | None, because: str | None
) -> Path:
    """The same for the same script and options, so that the same command continues it."""
    stem = Path(command_line[0]).stem if command_line[0] != "-m" else "-".join(command_line[1:2])
    text = "\0".join([script or "", *command_line, finding or "", because or ""])
    return Path("rectifier-runs") / f"explain-{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Display:
    """Progress on standard error, a line for each trial."""

    def __init__(self) -> None:
        self._console = open_console(stderr=True)
        self._told = False

    def update(self, step: "Step") -> None:
        from rectifier.report.sentences.explanation.changes import change_words  # noqa: PLC0415
        from rectifier.report.sentences.explanation.experiments import outcome  # noqa: PLC0415

        if step.experiment is None:
            shown = step.shown
            ended = shown.error if shown.crashed and not len(shown.losses) else f"loss {shown.loss_end:.4g}"
            self._say(f"[{step.done}] unchanged: {ended} ({duration(shown.seconds)})")
            return
        if not self._told and step.most:
            self._told = True
            seconds = step.most * step.shown.seconds
            self._say(f"At most {counted(step.most, 'more change')}, about {duration(seconds)}. Ctrl-C stops.")
        one = step.experiment
        ended = "still fails" if one.failed and not one.idle else outcome(one)
        seed = "" if one.seed is None else f", another seed ({one.seed})"
        loss = "not finite" if one.loss_end is None else f"{one.loss_end:.4g}"
        ended = ended if one.error else f"{ended}, loss {loss}"
        self._say(f"[{step.done}] {change_words(one)}{seed}: {ended} ({duration(one.seconds)})")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def keep(explanation: Explanation, folder: Path, typed: tuple[str, ...], script: str | None, run: Path | None) -> None:
    """Write the explanation to its folder, and to that of the run that was named; an error of the disk is reported."""
    from rectifier.storage import write_explanation  # noqa: PLC0415

    saved = SavedExplanation.of_now(explanation, command=typed, script=script, folder=str(folder.absolute()))
    for place in (folder, *([] if run is None else [run])):
        try:
            write_explanation(place, saved)
        except OSError as error:
            echo(f"The explanation cannot be written to {place}: {error.strerror or error}", err=True)


def _print(explanation: Explanation, folder: Path, typed: tuple[str, ...], *, machine: bool) -> None:
    from rectifier.report.json.explanation import explanation_json  # noqa: PLC0415
    from rectifier.report.sentences import told_explanation  # noqa: PLC0415
    from rectifier.report.text.explanation import print_explanation  # noqa: PLC0415

    told = told_explanation(explanation, typed)
    if machine:
        echo(json.dumps(explanation_json(told), indent=2, allow_nan=False))
        return
    console = open_console()
    print_explanation(told, console)
    if explanation.conclusion is not Conclusion.NOTHING_TO_EXPLAIN:
        for line in (f"Kept in {folder}.", f"Next: rectifier report {shlex.quote(str(folder))} --html {_page(folder)}"):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _page(folder: Path) -> str:
    return shlex.quote(f"{folder.absolute().name}.html")
