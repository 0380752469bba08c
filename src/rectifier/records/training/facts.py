"""What a monitor tells while it watches: one fact at a time, each of its own type."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rectifier.records.explanation.change import Applied
from rectifier.records.explanation.sight import Sight
from rectifier.records.training.loss import Feeds, Output
from rectifier.records.training.parameter import Parameter
from rectifier.records.training.process import Process, Writer
from rectifier.records.training.site import Site, Unseen
from rectifier.records.training.snapshot import Snapshot
from rectifier.records.training.treated import Treated


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The unfinished window as it stands; the next snapshot, finished or not, replaces it."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Changed:
    """What was changed in the user's model before it trained, in words; it holds in forked children, too."""

    text: str


@dataclass(frozen=True, slots=True)
class Warned:
    """What went wrong inside of Rectifier, in words."""

    text: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """What was told so far belongs to no training: the training begins now. What was changed before it holds."""


Fact = (
    Writer
    | Site
    | Parameter
    | Output
    | Feeds
    | Snapshot
    | Unfinished
    | Unseen
    | Changed
    | Treated
    | Warned
    | Restarted
    | Applied
    | Sight
)
"""A writer comes once per process, at its first observed step. Snapshots refer to sites, parameters and outputs by the
order of these."""


def process_of(facts: Iterable[Fact]) -> Process:
    """The facts of one process as one record; of several writers the last holds."""
    found: defaultdict[type, list[Any]] = defaultdict(list)
    for fact in facts:
        if isinstance(fact, Restarted):
            found = defaultdict(list, {kind: found[kind] for kind in (Writer, Changed, Warned, Applied, Sight)})
            continue
        found[type(fact)].append(fact)
    return Process(
        writer=found[Writer][-1],
        sites=tuple(found[Site]),
        snapshots=(*found[Snapshot], *(fact.snapshot for fact in found[Unfinished])),
        unseen=tuple(found[Unseen]),
        changes=tuple(fact.text for fact in found[Changed]),
        warnings=tuple(fact.text for fact in found[Warned]),
        treated=tuple(found[Treated]),
        parameters=tuple(found[Parameter]),
        outputs=tuple(found[Output]),
        feeds=found[Feeds][-1].pairs if found[Feeds] else None,
        applied=found[Applied][-1] if found[Applied] else None,
        sights=tuple(found[Sight]),
    )
