"""The commands: one file a command, each of them parse, one call, print.

Commands load when they are named, so that `rectifier --help` and `rectifier report` never pay for torch.
"""

import pkgutil
import sys
from io import StringIO

import click

from rectifier._version import __version__
from rectifier.errors import RectifierError
from rectifier.exit_codes import INTERRUPTED, MISUSE

_HERE = "rectifier.cli.commands"
# Where each command is; demo and reproduce ask and print like the others, and live outside of this folder.
_COMMANDS = {
    "demo": ("rectifier.demo:command", "See a deep ReLU network die, be explained, treated and compared."),
    "run": (f"{_HERE}.run:command", "Run a training script unchanged and diagnose its training."),
    "report": (f"{_HERE}.report:command", "Render a run or a comparison again, as text, page or JSON."),
    "compare": (f"{_HERE}.compare:command", "Compare activations on your own script, paired by seed."),
    "explain": (f"{_HERE}.explain:command", "Find by experiment why a training fails."),
    "check": (f"{_HERE}.check:command", "Check an untrained network with one forward and one backward pass."),
    "census": (f"{_HERE}.census:command", "Count a trained network's dead and rare units over a data set."),
    "inspect": (f"{_HERE}.inspect:command", "Find units that have not learned, from a checkpoint alone."),
    "reproduce": ("rectifier.reproduce.command:command", "Measure published and exact results again."),
    "activations": (f"{_HERE}.activations:command", "List the activations that Rectifier knows."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = pkgutil.resolve_name(_COMMANDS[cmd_name][0])
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rectifier")
def _group() -> None:
    """Find the neurons that stopped learning, explain why, fix them, and prove that it helped."""


def main() -> None:
    """Run the command line; a user's mistake ends in one clear message, never in a traceback of ours."""
    sys.exit(_left())


def _left() -> int:
    """Run the command line; give the exit code."""
    try:
        code = _group(prog_name="rectifier", standalone_mode=False)
    except RectifierError as error:
        return _told(f"rectifier: {error}", error.exit_code)
    except click.ClickException as error:
        text = StringIO()
        error.show(file=text)
        return _told(text.getvalue().rstrip(), error.exit_code)
    except click.Abort:
        return _told("Aborted!", INTERRUPTED)
    except OSError as error:
        from rectifier.report.text.terminal import give_up, told  # noqa: PLC0415 - rich loads late

        if error.filename is None:
            give_up(sys.stdout)
        return _told(f"rectifier: {told(error)}", MISUSE)
    return code if isinstance(code, int) else 0


def _told(text: str, code: int) -> int:
    from rectifier.report.text.terminal import echo, give_up  # noqa: PLC0415 - rich loads late

    try:
        echo(text, err=True)
    except OSError:
        give_up(sys.stderr)
    return code
