"""What one training did with one file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """When a file was opened, in seconds since 1970; None where it never was.

    Attributes:
        path: Absolute, symbolic links resolved.
    """

    path: str
    first_read: float | None = None
    last_read: float | None = None
    first_write: float | None = None
    last_write: float | None = None
