"""`--fail-on` and `--suppress`: a severity that ends a command with an exit code of its own, and what is known."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from rectifier._formatting import listed
from rectifier.exit_codes import FOUND, PARTLY_UNJUDGED, UNJUDGED

if TYPE_CHECKING:
    from rectifier.records import Diagnosis, Inspection, Preflight, Severity

_MOST_NAMED = 5


def fail_on_option(default: str | None = None) -> Callable[[Any], Any]:
    """`--fail-on warning|serious` for a command."""
    return click.option(
        "--fail-on",
        type=click.Choice(["warning", "serious"]),
        default=default,
        show_default=default is not None,
        help=f"Exit with {FOUND} if there is a finding of this severity or a higher one.",
    )


def allow_unjudged_option(command: Any) -> Any:
    """`--allow-unjudged` for a command that judges a training."""
    return click.option(
        "--allow-unjudged",
        is_flag=True,
        help=f"With --fail-on: exit with 0 instead of {PARTLY_UNJUDGED} if a part could not be judged.",
    )(command)


def gate(
    diagnoses: "Sequence[Diagnosis | Preflight | Inspection]",
    fail_on: "Severity | None",
    *,
    allow_unjudged: bool = False,
) -> int:
    """The exit code for what was found: 0, `FOUND`, `PARTLY_UNJUDGED`, or `UNJUDGED` where nothing was observed.

    Args:
        diagnoses: One per process of a run, or one check or inspection.
        fail_on: The severity asked for, None for no gate.
        allow_unjudged: Pass what could not be judged in part.
    """
    if fail_on is None:
        return 0
    if any(diagnosis.reaches(fail_on) for diagnosis in diagnoses):
        return FOUND
    from rectifier.report.text.lines import fit  # noqa: PLC0415 - rich loads late
    from rectifier.report.text.terminal import echo, open_console  # noqa: PLC0415 - likewise

    if not any(map(_was_judged, diagnoses)):
        with suppress(OSError):
            echo(f"--fail-on {fail_on}: nothing was observed, so there was nothing to judge.", err=True)
        return UNJUDGED
    left = [] if allow_unjudged else _left(diagnoses)
    if left:
        text = (
            f"--fail-on {fail_on}: no finding is that severe, but a part could not be judged: "
            f"{listed(left, _MOST_NAMED)}. --allow-unjudged accepts that."
        )
        with suppress(OSError):
            echo(fit(text, open_console(stderr=True)), err=True)
        return PARTLY_UNJUDGED
    return 0


def _was_judged(one: "Diagnosis | Preflight | Inspection") -> bool:
    from rectifier.records import Diagnosis  # noqa: PLC0415 - records load late

    return not one.nothing_observed if isinstance(one, Diagnosis) else bool(one.layers)


def _left(diagnoses: "Sequence[Diagnosis | Preflight | Inspection]") -> list[str]:
    """What could not be judged, each once."""
    from rectifier.records import Diagnosis, Preflight  # noqa: PLC0415 - records load late

    found: dict[str, None] = {}
    for one in diagnoses:
        if isinstance(one, Diagnosis):
            found |= dict.fromkeys(part.what or "the training of a process" for part in one.not_judged)
        elif isinstance(one, Preflight):
            found |= dict.fromkeys(layer.name for layer in one.layers if layer.units is None)
    return list(found)


def suppress_option(command: Any) -> Any:
    """`--suppress NAME[:SITES]=REASON` for a command, read into a dictionary and checked."""
    return click.option(
        "--suppress",
        multiple=True,
        metavar="NAME[:SITES]=REASON",
        callback=_read_suppressions,
        help="Suppress a known finding and say why: 'dead-units:encoder.*=gated by design'. Repeatable.",
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
