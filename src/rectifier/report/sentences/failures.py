"""Why a training of a comparison counts as a failure, in words."""

from typing import assert_never

from rectifier.records import Failure, FailureKind


def failure_text(failure: Failure) -> str:
    """A few words for a table, a tooltip or the middle of a sentence.

    Example:
        >>> failure_text(Failure(FailureKind.EXIT_CODE, "3")), failure_text(Failure(FailureKind.NOT_FINITE, "loss"))
        ('exit code 3', 'loss is not finite')
    """
    match failure.kind:
        case FailureKind.EXIT_CODE | FailureKind.KILLED:
            return f"exit code {failure.detail}"
        case FailureKind.TIMED_OUT:
            return f"stopped after {failure.detail} s"
        case FailureKind.UNREADABLE:
            return f"its record cannot be read: {failure.detail}"
        case FailureKind.NOT_FINITE:
            return f"{failure.detail} is not finite"
        case FailureKind.NO_PROGRESS:
            return "no progress"
        case FailureKind.DIVERGED:
            return "diverged"
        case FailureKind.CONSTANT_OUTPUT:
            return "constant output"
        case FailureKind.RAISED | FailureKind.OTHER:
            return failure.detail
    assert_never(failure.kind)
