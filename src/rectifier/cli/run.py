"""`rectifier run`: the user's script as under `python`, and afterwards what its units did."""

import platform
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import click
from rich.console import Console

import rectifier
from rectifier.catalogue import parse
from rectifier.diagnosis import diagnose
from rectifier.launch import Launch, start
from rectifier.records import Diagnosis, Manifest, Outcome, Run
from rectifier.report.text import print_run
from rectifier.store import create_run_folder, read_run, write_manifest, write_outcome

_RUNS = Path("rectifier-runs")


@click.command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
)
@click.option("-m", "as_module", is_flag=True, help="SCRIPT is a module's name, as for `python -m`.")
@click.option(
    "--swap",
    multiple=True,
    metavar="OLD=NEW",
    help="Replace an activation everywhere: relu=leaky_relu:0.1. Repeatable.",
)
@click.option("--budget", default=0.01, show_default=True, help="Largest share of the training time spent on watching.")
@click.option("--every", type=click.IntRange(min=1), help="Observe every so many steps, whatever it costs.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=_RUNS, show_default=True, help="Folder for run folders."
)
@click.option("--name", help="Beginning of the run folder's name.  [default: the script's]")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT [ITS OPTIONS]")
def command(
    as_module: bool,
    swap: tuple[str, ...],
    budget: float,
    every: int | None,
    out: Path,
    name: str | None,
    command: tuple[str, ...],
) -> None:
    """Run a training script unchanged, watch its activations, and say what is wrong with them.

    The script runs exactly as under `python`: same output, same exit code. What Rectifier has to say comes after it,
    on standard error. Everything behind the script's name belongs to the script.
    """
    for text in swap:
        check_swap(text)
    what = _check_command(command, as_module=as_module)
    folder = create_run_folder(out, name or what)
    full = ("-m", *command) if as_module else command
    manifest = Manifest(
        name=folder.name,
        command=full,
        folder=str(folder),
        started=datetime.now().astimezone().isoformat(timespec="seconds"),
        rectifier=rectifier.__version__,
        python=platform.python_version(),
        swap=swap,
    )
    write_manifest(folder, manifest)
    began = time.monotonic()
    code = start(Launch(command=full, folder=folder, swap=swap, budget=budget, every=every))
    write_outcome(folder, Outcome(exit_code=code, seconds=time.monotonic() - began))
    tell(read_run(folder), folder, Console(stderr=True))
    sys.exit(code)


def check_swap(text: str) -> tuple[str, str]:
    """Split `relu=leaky_relu:0.1` and look both up.

    Raises:
        click.BadParameter: There is no `=`.
        UnknownActivation: One of the two is not in the catalogue.
    """
    old, equals, new = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} names one activation; write OLD=NEW, for instance relu=leaky_relu:0.1")
    parse(old)
    parse(new)
    return old, new


def _check_command(command: Sequence[str], *, as_module: bool) -> str:
    """The name of what is to be run; wrong names end here, before a run folder is made."""
    if not command:
        raise click.UsageError("name the script to run: rectifier run train.py")
    script = Path(command[0])
    if as_module:
        return command[0].rpartition(".")[2]
    if command[0].startswith("-"):
        raise click.UsageError(f"no option {command[0]} here; options of the script come after its name")
    if not script.exists():
        near = [path.name for path in sorted(Path.cwd().glob("*.py"))][:5]
        hint = f" Python files here: {', '.join(near)}." if near else ""
        if script.suffix != ".py" and find_spec(command[0].partition(".")[0]) is not None:
            hint = f" To run a module, write: rectifier run -m {shlex.join(command)}"
        raise click.UsageError(f"there is no script {command[0]}.{hint}")
    return script.stem or script.absolute().name


def tell(run: Run, folder: Path, console: Console) -> None:
    """Print the diagnosis of a run, where it lies, and what to type next."""
    shown = _shorten(folder)
    console.print()
    console.rule("rectifier")
    diagnoses = [diagnose(process) for process in run.processes]
    if any(process.sites for process in run.processes):
        print_run(run, diagnoses, console)
    else:
        console.print(why_nothing(run), markup=False, highlight=False)
    console.print(f"Run: {shown}", markup=False, highlight=False, soft_wrap=True)
    for line in next_commands(run, diagnoses, shown):
        console.print(f"Next: {line}", markup=False, highlight=False, soft_wrap=True)


def next_commands(run: Run, diagnoses: Sequence[Diagnosis], shown: str) -> list[str]:
    """What to type next: the page, and the remedy's comparison when there is something to remedy."""
    if not any(process.sites for process in run.processes):
        return []
    lines = [f"rectifier report {shlex.quote(shown)} --html {shlex.quote(Path(shown).name)}.html"]
    if any(diagnosis.worst in ("warning", "serious") for diagnosis in diagnoses) and not run.manifest.swap:
        lines.append(f"rectifier compare {shlex.join(run.manifest.command)}")
    return lines


def why_nothing(run: Run) -> str:
    """Why no activation was observed, as far as the evidence tells, and what to do."""
    failed = run.outcome is not None and run.outcome.exit_code != 0
    if "torch" not in run.notes:
        ended = "The script ended before it imported torch" if failed else "The script never imported torch"
        return f"{ended}, so there was nothing to observe."
    if "activations" not in run.notes:
        return (
            "Nothing observed: torch was imported, but no activation was called in the training forward of a model.\n"
            "A model in eval mode or under torch.no_grad() is not training; calls inside torch.compile or TorchScript\n"
            "and activations written by hand (torch.where) cannot be seen."
        )
    if "steps" not in run.notes:
        return (
            "Activations were called, but no torch optimizer took a step, so there is no training to diagnose.\n"
            "If the script updates its weights by hand, use rectifier.watch and an optimizer from torch.optim."
        )
    if any(process.warnings for process in run.processes):
        return "\n".join(warning for process in run.processes for warning in process.warnings)
    return "Nothing observed: the activations of the training ran in processes that wrote nothing."


def _shorten(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
