"""`rectifier run`: the user's script as under `python`, and afterwards what its units did."""

import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rectifier.cli.gate import allow_unjudged_option, fail_on_option, suppress_option
from rectifier.cli.running import RUNS, name_of, run
from rectifier.errors import CannotKeep
from rectifier.launch import Launch
from rectifier.storage import create_run_folder

if TYPE_CHECKING:
    from rectifier.records import Severity


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
@click.option(
    "--rescale",
    is_flag=True,
    help="Before the first step, scale the initial weights to their activations. Not for trained weights.",
)
@click.option(
    "--recycle",
    metavar="every=N",
    callback=lambda context, option, text: None if text is None else check_recycle(text),
    help="Revive units that are confirmed dead, after every N steps.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Largest share of the training time for watching, after the first 1,024 steps: these have a fixed rate.",
)
@click.option(
    "--every", type=click.IntRange(min=1), help="Sample every N-th step in full, whatever it costs; replaces --budget."
)
@click.option(
    "--observe-compiled",
    is_flag=True,
    help="Observe compiled modules by an extra uncompiled forward at sampled steps. What the forward prints or writes "
    "to files then comes twice.",
)
@click.option("--out", type=click.Path(path_type=Path), default=RUNS, show_default=True, help="Folder for run folders.")
@click.option("--name", help="Beginning of the run folder's name.  [default: the script's]")
@click.option(
    "--live", "shown_live", is_flag=True, help="A table at the bottom of the terminal while the script trains."
)
@fail_on_option()
@allow_unjudged_option
@suppress_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT [ITS OPTIONS]")
def command(
    as_module: bool,
    swap: tuple[str, ...],
    rescale: bool,
    recycle: int | None,
    budget: float,
    every: int | None,
    observe_compiled: bool,
    out: Path,
    name: str | None,
    shown_live: bool,
    fail_on: "Severity | None",
    allow_unjudged: bool,
    suppress: dict[str, str],
    command: tuple[str, ...],
) -> None:
    """Run a training script unchanged, observe its training, and say what is wrong with it.

    The script runs exactly as under `python`: same output, same exit code. The diagnosis follows on standard error.
    Arguments after the script's name belong to the script.

    With --fail-on, a script that ends with 0 gives exit code 10 if there is a finding of that severity, 11 if there is
    none but a part could not be judged, and 2 if nothing could be judged.
    """
    for text in swap:
        check_swap(text)
    what = _check_command(command, as_module=as_module)
    try:
        folder = create_run_folder(out, name or what)
    except OSError as error:
        reason = error.strerror or error
        raise CannotKeep(f"neither {out} nor a temporary folder can be written: {reason}.") from None
    launch = Launch(
        command=("-m", *command) if as_module else command,
        folder=folder,
        swap=swap,
        rescale=rescale,
        recycle=recycle,
        budget=budget,
        every=every,
        observe_compiled=observe_compiled,
    )
    run(launch, out, shown_live=shown_live, suppress=suppress, fail_on=fail_on, allow_unjudged=allow_unjudged)


def check_recycle(text: str) -> int:
    """Read `every=1000`.

    Raises:
        click.BadParameter: It is written otherwise, or below 1.
    """
    word, _, number = text.partition("=")
    if word != "every" or not number.isdecimal() or int(number) < 1:
        raise click.BadParameter(f"{text!r} does not say when; write every=1000, for after every 1,000 steps")
    return int(number)


def check_swap(text: str) -> tuple[str, str]:
    """Split `relu=leaky_relu:0.1` and look both up.

    Raises:
        click.BadParameter: There is no `=`.
        UnknownActivation: One of the two is not in the catalogue.
    """
    old, equals, new = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} names one activation; write OLD=NEW, for instance relu=leaky_relu:0.1")
    from rectifier.catalogue import parse  # noqa: PLC0415 - most runs swap nothing

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
    return name_of(command[0])
