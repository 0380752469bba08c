"""Running a script and telling of it, without the parsing: what loads here is what a script waits for.

What the diagnosis needs (click, numpy, rich, ...) loads while the script runs.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rectifier._formatting import printable
from rectifier.exit_codes import UNJUDGED
from rectifier.launch import Launch, start
from rectifier.storage import create_run_folder

if TYPE_CHECKING:
    from rectifier.records import Severity

RUNS = Path("rectifier-runs")
"""Where run folders lie if nothing else is said."""


class Done(SystemExit):
    """The end of a command that has nothing to put away: the process may be left as it stands.

    Python would first take apart what was loaded, which keeps a user waiting for 25 ms.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.exit_code = code


def run_as_it_is(command: Sequence[str]) -> None:
    """Run a script where no option of `rectifier run` is given; come back where the script cannot be started.

    Raises:
        Done: The script has ended.
    """
    if not command or command[0].startswith("-") or not Path(command[0]).is_file():
        return
    try:
        folder = create_run_folder(RUNS, name_of(command[0]))
    except OSError:
        return
    run(Launch(command=tuple(command), folder=folder), RUNS)


def name_of(script: str) -> str:
    """What a script's run is called."""
    path = Path(script)
    return path.stem or path.absolute().name


def run(
    launch: Launch,
    base: Path,
    *,
    shown_live: bool = False,
    suppress: Mapping[str, str] | None = None,
    fail_on: "Severity | None" = None,
    allow_unjudged: bool = False,
) -> NoReturn:
    """Run a script to its end, and say what it showed.

    Args:
        launch: What is to be started.
        base: The folder in which its run folder was to lie.
        shown_live: Show a table at the bottom of the terminal.
        suppress: Known findings, as for `diagnose`.
        fail_on: The severity that ends the command with an exit code of its own.
        allow_unjudged: Let what could not be judged pass.

    Raises:
        Done: With the exit code, always.
    """
    began = time.monotonic()
    failure: Exception | None = None

    def started(process: subprocess.Popen[bytes]) -> None:
        # A script that has begun is not to be stopped by what we cannot load or write: that is told at its end.
        nonlocal failure
        try:
            from rectifier.cli import ending, gate  # noqa: F401, PLC0415 - see above

            ending.note_beginning(
                launch.folder, launch.command, launch.swap, rescale=launch.rescale, recycle=launch.recycle
            )
        except Exception as error:
            failure = error

    with _live(launch.folder) if shown_live else nullcontext():
        code = start(launch, started=started)
    if failure is not None:
        raise Done(_not_told(launch.folder, code, failure, fail_on))
    seconds = time.monotonic() - began
    raise Done(_tell(launch.folder, base, code, seconds, suppress or {}, fail_on, allow_unjudged=allow_unjudged))


def _live(folder: Path) -> AbstractContextManager[None]:
    from rectifier.cli.live import live  # noqa: PLC0415 - see above

    return live(folder)


def _tell(
    folder: Path,
    base: Path,
    code: int,
    seconds: float,
    suppress: Mapping[str, str],
    fail_on: "Severity | None",
    *,
    allow_unjudged: bool,
) -> int:
    """Say what the run showed; whatever happens here, an exit code of the script's that is not 0 stays."""
    try:
        from rectifier.cli import ending, gate  # noqa: PLC0415 - see above

        diagnoses = ending.tell_ending(folder, base, code, seconds, suppress)
        return code or gate.gate(diagnoses, fail_on, allow_unjudged=allow_unjudged)
    except KeyboardInterrupt:
        _say(f"\nRun: {folder}")
    except (SystemExit, OSError):
        # Nobody reads any more (rich then exits), or there is no room: the run is judged all the same.
        with contextlib.suppress(Exception):
            return code or gate.gate(ending.judge(folder, suppress), fail_on, allow_unjudged=allow_unjudged)
    except Exception as error:
        return _not_told(folder, code, error, fail_on)
    return code or (UNJUDGED if fail_on is not None else 0)


def _not_told(folder: Path, code: int, error: Exception, fail_on: "Severity | None") -> int:
    _say(f"rectifier: the diagnosis failed: {type(error).__name__}: {error}\nRun: {folder}")
    return code or (UNJUDGED if fail_on is not None else 0)


def _say(text: str) -> None:
    # A full disk or a closed pipe behind standard error is no reason to end otherwise than the script did.
    with contextlib.suppress(OSError):
        print(printable(text, keep="\n"), file=sys.stderr or StringIO(), flush=True)
