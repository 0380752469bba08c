"""A treatment that was given while a training ran."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Treated:
    """One change to a model between two steps of its training.

    Attributes:
        step: The last optimizer step before it, counted from 0; −1 where none came before.
        name: Which treatment: `swap`, `rescale`, `recycle`, or `undo` of one of them.
        text: What was changed, in words.
        units: Label of a site -> the units that were revived there; empty for other treatments.
    """

    step: int
    name: str
    text: str
    units: dict[str, tuple[int, ...]] = field(default_factory=dict)
