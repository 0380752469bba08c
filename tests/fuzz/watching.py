"""What a command does with a damaged file, seen in this process: tracebacks, hangs, escapes, memory."""

import contextlib
import io
import os
import resource
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import rectifier
from rectifier._formatting import printable
from rectifier.cli.group import main

SECONDS = 5.0
"""Longest time for one file, of the processor: others may use it, too."""
_PATIENCE = 60.0
"""Longest time by the clock: something is waited for."""
MEGABYTES = 512
"""Most memory beyond the file."""
_HERE = str(Path(rectifier.__file__).parent)


class Hang(BaseException):
    """A command that has not ended in time."""


@dataclass(frozen=True)
class Seen:
    """How one command ended.

    Attributes:
        code: Its exit code; None where it ended otherwise.
        text: What it printed, on both streams.
        wrong: What must not be, in a word; "" where all is well.
        where: The place of it.
    """

    code: int | None
    text: str
    wrong: str = ""
    where: str = ""

    @property
    def kind(self) -> tuple[str, str]:
        """The same for two failures of one cause, as far as the place tells."""
        return self.wrong, "" if self.wrong == "escape" else self.where.partition(": ")[0]


def run_command(*arguments: str, room: int = 0) -> Seen:
    """Run one command of `rectifier` here.

    Args:
        arguments: As typed.
        room: Size of what it reads: so much more memory is allowed.
    """
    return watch_call(lambda: _typed(arguments), room=room)


def _typed(arguments):
    before, sys.argv = sys.argv, ["rectifier", *arguments]
    try:
        main()
    finally:
        sys.argv = before


def watch_call(call, *, room: int = 0, allowed: tuple[type[BaseException], ...] = ()) -> Seen:
    """Call something that reads a file, and say what went wrong.

    Args:
        call: It.
        room: Size of what it reads.
        allowed: What it may raise.
    """
    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, encoding="utf-8", write_through=True, errors="surrogateescape")
    code, wrong, where = None, "", ""
    kept = _keep_memory_low(room)
    before = _peak_after_reset()
    signal.signal(signal.SIGALRM, _too_long)
    signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            call()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
    except allowed as error:
        # As the command line tells it.
        printed.write(printable(str(error), keep="\n").encode())
        code = getattr(error, "exit_code", 1)
    except Hang as hang:
        wrong, where = "hang", _place(hang)
    except BaseException as error:
        wrong, where = type(error).__name__, f"{_place(error)}: {str(error)[:150]!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, kept)
    used = _peak() - before
    text = printed.getvalue().decode("utf-8", "replace")
    if not wrong and used > MEGABYTES * 1024 + room // 1024:
        wrong, where = "memory", f"{used // 1024} MB"
    if not wrong and (bad := next((c for c in text if not c.isprintable() and c != "\n"), None)) is not None:
        at = text.index(bad)
        wrong, where = "escape", repr(text[max(0, at - 60) : at + 10])
    if not wrong and code == 1:
        wrong, where = "exit code 1", text[:100]
    return Seen(code, text, wrong, where)


def _too_long(number, frame):
    raise Hang


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = next((f for f in reversed(frames) if f.filename.startswith(_HERE)), frames[-1])
    return f"{os.path.relpath(own.filename, _HERE)}:{own.lineno} ({own.name})"


def _keep_memory_low(room: int) -> tuple[int, int]:
    """What asks for far too much gets an error rather than the machine's whole memory."""
    kept = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(OSError):
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 4 * MEGABYTES * 1024 * 1024 + room, kept[1]))
    return kept


def _peak_after_reset() -> int:
    """Memory that is held now, in KB; what `_peak` gives begins anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.partition("VmHWM:")[2].split()[0])
