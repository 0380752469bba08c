"""One observed training: what was started, what each of its processes wrote, how it ended."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from msgspec import Meta

from rectifier._version import __version__
from rectifier.records.counts import AtLeastOne, NotNegative
from rectifier.records.training.process import Process

FORMAT_VERSION = 3
"""Raised when a reader of the previous version could misread a file. `rectifier.storage.earlier` reads those before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Written once, before the script starts.

    Attributes:
        name: The run folder's own name.
        command: What followed `rectifier run [options]`: the script and its arguments; () under `watch`.
        swap: Activations replaced while the script ran, as typed: `relu=leaky_relu:0.1`.
        rescale: Whether initial weights were to be rescaled.
        recycle: After every how many steps dead units were to be recycled; None for never.
        started: Local time, ISO 8601 with its offset.
        script: SHA-256 of the script's text; None for a module, under `watch`, and in runs of earlier versions.
    """

    name: str
    command: tuple[str, ...]
    folder: str
    started: str
    rectifier: str
    python: str
    swap: tuple[str, ...] = ()
    rescale: bool = False
    recycle: AtLeastOne | None = None
    script: str | None = None
    format_version: AtLeastOne = FORMAT_VERSION

    @property
    def treated(self) -> bool:
        """Whether the script ran with something changed."""
        return bool(self.swap or self.rescale or self.recycle)

    @classmethod
    def of_now(
        cls,
        name: str,
        *,
        command: tuple[str, ...] = (),
        folder: str = "",
        started: datetime | None = None,
        swap: tuple[str, ...] = (),
        rescale: bool = False,
        recycle: int | None = None,
        script: str | None = None,
    ) -> Self:
        """What is started by this process, with its versions; `started` is now when None."""
        began = datetime.now().astimezone() if started is None else started
        return cls(
            name=name,
            command=command,
            folder=folder,
            started=began.isoformat(timespec="seconds"),
            rectifier=__version__,
            python=platform.python_version(),
            swap=swap,
            rescale=rescale,
            recycle=recycle,
            script=script,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Written once, after the script ended; missing when `rectifier` itself was killed or the script still runs."""

    exit_code: Annotated[int, Meta(ge=-(2**31), le=2**32)]
    seconds: NotNegative


class RunNote(StrEnum):
    """What a child process says of itself, for the case that it never trains: names of notes."""

    TORCH = "torch"
    """It imported torch, of this version."""
    ACTIVATIONS = "activations"
    """An activation was called in a training forward."""
    STEPS = "steps"
    """An optimizer took a step."""
    LOOKED = "looked_for_dead_units"
    """How many times, with none that was confirmed."""
    LAST_LOOK = "last_look_for_dead_units"
    """After which step."""
    READS_INPUT = "reads_standard_input"
    """Its script reads standard input, and was given none: it is a trial."""
    NOT_TREATED = "not_treated"
    """A treatment that was asked for was refused."""

    @staticmethod
    def nothing_swapped(activation: str) -> str:
        """The note that a training with steps met none of an activation that was to be swapped."""
        return f"nothing_swapped {activation}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Run:
    """One observed training, as read back from its folder or taken from a live `watch`.

    Attributes:
        notes: What its processes said of themselves, by the names of `RunNote` and others.
    """

    manifest: Manifest
    processes: tuple[Process, ...]
    outcome: Outcome | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


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
