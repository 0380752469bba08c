"""`--fail-on` and `--suppress`: a severity that ends a command with an exit code of its own, and what is known."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from rectifier.exit_codes import FOUND, UNJUDGED

if TYPE_CHECKING:
    from rectifier.records import Diagnosis, Inspection, Preflight, Severity


def fail_on_option(default: str | None = None) -> Callable[[Any], Any]:
    """`--fail-on warning|serious` for a command."""
    return click.option(
        "--fail-on",
        type=click.Choice(["warning", "serious"]),
        default=default,
        show_default=default is not None,
        help=f"Exit with {FOUND} where a finding is at least so severe.",
    )


def gate(diagnoses: "Sequence[Diagnosis | Preflight | Inspection]", fail_on: "Severity | None") -> int:
    """The exit code for what was found: 0, `FOUND`, or `UNJUDGED` where nothing was observed.

    Args:
        diagnoses: One per process of a run, or one check or inspection.
        fail_on: The severity asked for, None for no gate.
    """
    if fail_on is None:
        return 0
    if any(diagnosis.reaches(fail_on) for diagnosis in diagnoses):
        return FOUND
    if not any(diagnosis.layers for diagnosis in diagnoses):
        with suppress(OSError):
            click.echo(f"--fail-on {fail_on}: no activation was observed, so there was nothing to judge.", err=True)
        return UNJUDGED
    return 0


def suppress_option(command: Any) -> Any:
    """`--suppress NAME[:SITES]=REASON` for a command, read into a dictionary and checked."""
    return click.option(
        "--suppress",
        multiple=True,
        metavar="NAME[:SITES]=REASON",
        callback=_read_suppressions,
        help="A known finding that is no alarm, and why: 'dead-units:encoder.*=gated by design'. Repeatable.",
    )(command)


def _read_suppressions(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    known = {}
    for text in texts:
        key, equals, reason = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} has no reason; write NAME=REASON or NAME:SITES=REASON")
        known[key] = reason
    if known:
        from rectifier.diagnosis import check_suppressions  # noqa: PLC0415 - what the diagnosis needs loads late

        check_suppressions(known)
    return known
