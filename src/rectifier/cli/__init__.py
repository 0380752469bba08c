"""The command line; `rectifier run SCRIPT` starts the script before anything else is loaded."""

import os
import sys
from contextlib import suppress

from rectifier.cli.running import Done, run_as_it_is


def main() -> None:
    """Run the command line; a user's mistake ends in one clear message, never in a traceback of ours."""
    if sys.argv[1:2] == ["run"]:
        # Without an option of ours there is nothing to parse; whatever is wrong comes back, to be said.
        run_as_it_is(sys.argv[2:])
    from rectifier.cli.group import main as parse_and_run  # noqa: PLC0415 - see above

    parse_and_run()


def program() -> None:
    """The whole process of `rectifier`: `main`, left at once where nothing is to be put away."""
    try:
        main()
    except KeyboardInterrupt:
        # Before the script began; as click says it.
        sys.exit("Aborted!")
    except Done as done:
        for stream in (sys.stdout, sys.stderr):
            # Nobody is there to be told, or there is no room: the exit code is the script's all the same.
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(done.exit_code)
