"""`--fail-on`: a severity that ends a command with an exit code of its own, for CI."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rectifier.records import Diagnosis, Severity

FOUND = 10
"""Exit code where something at or above `--fail-on` was found: none of a shell's, and not misuse (2)."""

UNJUDGED = 2
"""Exit code where `--fail-on` had nothing to judge: a gate that nothing can close is a mistake in its use."""


def fail_on_option(default: str | None = None) -> Callable[[Any], Any]:
    """`--fail-on warning|serious` for a command."""
    return click.option(
        "--fail-on",
        type=click.Choice(["warning", "serious"]),
        default=default,
        show_default=default is not None,
        help=f"Exit with {FOUND} where a finding is at least so severe.",
    )


def gate(diagnoses: "Sequence[Diagnosis]", fail_on: "Severity | None") -> int:
    """The exit code for what was found: 0, `FOUND`, or `UNJUDGED` where nothing was observed.

    Args:
        diagnoses: One per process.
        fail_on: The severity asked for, None for no gate.
    """
    if fail_on is None:
        return 0
    if not any(diagnosis.layers for diagnosis in diagnoses):
        click.echo(f"--fail-on {fail_on}: no activation was observed, so there was nothing to judge.", err=True)
        return UNJUDGED
    return FOUND if any(diagnosis.reaches(fail_on) for diagnosis in diagnoses) else 0
