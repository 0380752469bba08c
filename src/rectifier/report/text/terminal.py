"""What reaches a terminal: every line of ours goes through here, and none commands it, whatever is quoted in it.

Names of layers and files, errors and what scripts print are others' text. A character that would move the cursor or
change a colour is spelled; one that the terminal's encoding lacks is replaced.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

import click
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment

from rectifier.report.text.lines import spelled


class _Inert:
    """Something that is rendered without a character that would command a terminal."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._inner, options):
            # What rich itself does with the cursor is no text.
            if segment.control:
                yield segment
            else:
                yield Segment(spelled(segment.text, console.encoding, keep="\n"), segment.style)


class _OnlyText(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Inert(one) for one in renderables]


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read has enough; the command goes on, and ends with its own exit code."""
        self.quiet = True
        give_up(sys.stderr if self.stderr else sys.stdout)


def open_console(*, stderr: bool = False) -> Console:
    """A console for standard output, or for standard error."""
    console = _Terminal(stderr=stderr)
    console.push_render_hook(_OnlyText())
    return console


def echo(text: str, *, err: bool = False) -> None:
    """Print lines as they are, without colour or wrapping.

    Raises:
        OSError: They cannot be written; a pipe that nobody reads any more is no error.
    """
    stream = sys.stderr if err else sys.stdout
    if stream is None:
        return
    try:
        click.echo(spelled(text, stream.encoding, keep="\n"), err=err)
    except BrokenPipeError:
        give_up(stream)


def give_up(stream: object) -> None:
    """Let nothing more be written to a stream that fails: the interpreter would try once more as it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[attr-defined]
        os.close(nowhere)


def told(error: OSError) -> str:
    """What to say of a file that cannot be used, or of output that cannot be written."""
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}."
    return f"standard output cannot be written: {error.strerror or error}. Free space, or send it elsewhere."
