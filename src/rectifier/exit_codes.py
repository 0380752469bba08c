"""What the exit codes of `rectifier` mean: the one table of them.

A script's own exit code passes through `rectifier run` as it is, 128 + n for one that signal n has ended.
"""

from typing import Final

DISAGREES: Final = 1
"""`rectifier reproduce`: a result differs from the known one."""

MISUSE: Final = 2
"""The command was not understood, or what it names cannot be used; the text says what to do."""

UNJUDGED: Final = 2
"""`--fail-on` had nothing to judge: a check that can never fail is a mistake in its use."""

FOUND: Final = 10
"""Something at or above `--fail-on` was found: none of a shell's codes, and not misuse."""

PARTLY_UNJUDGED: Final = 11
"""Nothing at or above `--fail-on` was found, but a part could not be judged; `--allow-unjudged` makes it 0."""

UNEXPLAINED: Final = 12
"""`rectifier explain`: the script fails, and no cause is established or seen. 0 where one is, or nothing to explain."""

TIMED_OUT: Final = 124
"""A script was ended after `--timeout`, as `timeout` says it."""

SIGNALLED: Final = 128
"""This plus n: signal n has ended the script, as a shell says it."""

INTERRUPTED: Final = 130
"""Ctrl-C or SIGTERM ended a comparison or an explanation; what had ended is kept."""
