"""One observed training: what was started, what each of its processes wrote, how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rectifier.records.process import Process

FORMAT_VERSION = 2
"""Raised when a reader of the previous version could misread a file. `rectifier.store.earlier` reads those before."""


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
    """

    name: str
    command: tuple[str, ...]
    folder: str
    started: str
    rectifier: str
    python: str
    swap: tuple[str, ...] = ()
    rescale: bool = False
    recycle: int | None = None
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Written once, after the script ended; missing when `rectifier` itself was killed or the script still runs."""

    exit_code: int
    seconds: float


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
