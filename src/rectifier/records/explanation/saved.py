"""An explanation as its folder keeps it: with the command that was explained."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from rectifier._version import __version__
from rectifier.records.explanation.verdict import Explanation

EXPLANATION_FORMAT = 1
"""Raised when a reader of the previous version could misread a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedExplanation:
    """One explanation and what it is of.

    Attributes:
        command: The script and its arguments, as they were typed.
        script: SHA-256 of the script's text; None for a module.
        folder: Where its trials lie.
        written: Local time, ISO 8601 with its offset.
        rectifier: The version that wrote it.
        explanation: Its texts are empty: whoever shows it fills them.
    """

    command: tuple[str, ...]
    script: str | None
    folder: str
    written: str
    rectifier: str
    explanation: Explanation
    format_version: int = EXPLANATION_FORMAT

    @classmethod
    def of_now(cls, explanation: Explanation, *, command: tuple[str, ...], script: str | None, folder: str) -> Self:
        """What this process has found."""
        return cls(
            command=command,
            script=script,
            folder=folder,
            written=datetime.now().astimezone().isoformat(timespec="seconds"),
            rectifier=__version__,
            explanation=explanation,
        )
