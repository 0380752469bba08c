"""Where an activation is applied."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from rectifier.records.counts import Count

_NUMBER = re.compile(r"[0-9]{1,9}")


class AxisSource(StrEnum):
    """Why a site's unit axis is known, or is not."""

    LAYER = "layer"
    """Told from the layer before it; `operation` is that layer's."""
    USER = "user"
    """Said by the user (`units=`)."""
    NO_AXES = "no_axes"
    """Unknown: a single number has no units."""
    NO_HISTORY = "no_history"
    """Unknown: the input has no gradient history."""
    LEAF = "leaf"
    """Unknown: the input is a leaf, not a layer's output."""
    TOO_FAR = "too_far"
    """Unknown: there is no layer within `operations` operations before it."""
    OPERATION = "operation"
    """Unknown: `operation` before it may have moved the axis."""
    VIEW = "view"
    """Unknown: a view that records no sizes may have moved the axis."""
    MIXING_VIEW = "mixing_view"
    """Unknown: a view between `shapes` mixed the units with other axes."""
    BRANCHES = "branches"
    """Unknown: the branches of a sum disagree about the axis."""
    ELSEWHERE = "elsewhere"
    """Unknown: the units are on an axis that is neither the second nor the last, where they cannot be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitAxis:
    """Which axis of an activation's input counts as its units, and how that is known.

    Attributes:
        axis: 1 or -1; None where it is unknown.
        ndim: How many axes the input has.
        source: Why the axis is known, or is not.
        operation: Name of the operation that decided it, as autograd has it; None where `source` speaks of none.
        operations: How many operations were looked at, where that was not enough.
        shapes: What the view made of what, where one mixed the units with other axes.
    """

    axis: Annotated[int, Meta(ge=-1, le=1)] | None
    ndim: Count
    source: AxisSource
    operation: str | None = None
    operations: Count | None = None
    shapes: tuple[tuple[Count, ...], tuple[Count, ...]] | None = None

    @property
    def counts_tokens(self) -> bool:
        """Whether a sample holds several entries with units of their own: the tokens of a sequence."""
        return self.axis == -1 and self.ndim > 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRef:
    """A site, as findings refer to it.

    Attributes:
        model: As `Site.model`.
        path: As `Site.path`.
        call: As `Site.call`.
        with_model: Whether the key begins with the model's name, because another model has a site of this one's.
        name: How people call it, by what feeds it: `fc1 → relu`; "" where nobody told, and in earlier records.
        source: As `Site.source`.
    """

    model: str
    path: str
    call: int = 0
    with_model: bool = field(default=False, compare=False)
    name: str = field(default="", compare=False)
    source: str | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """How every report names the site."""
        return self.name or self.key

    @property
    def key(self) -> str:
        """Its identifier for programs: the path of the module, and the call's number from the second call on."""
        where = self.path
        if self.names_model:
            where = f"{self.model}.{self.path}" if self.path or self.with_model else self.model
        return f"{where} (call {self.call + 1})" if self.call else where

    @property
    def spellings(self) -> frozenset[str]:
        """All that a user may type for it: its name, its key, `path`, and `path#call`, counted from 1."""
        call = f"{self.path}#{self.call + 1}"
        return frozenset({self.label, self.label.replace("→", "->"), self.key, self.path, call})

    @property
    def names_model(self) -> bool:
        """Whether the key begins with the model's name: `1` alone, in a Sequential, reads like a count."""
        return self.with_model or not self.path or self.path.replace(".", "").isdigit()

    @property
    def model_class(self) -> str:
        """Class name of the model."""
        return self.model.partition("#")[0]

    @property
    def number(self) -> int:
        """Its number among the models of its class, from 1 on, in the order in which they were met."""
        number = self.model.partition("#")[2]
        return int(number) if _NUMBER.fullmatch(number) else 1

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class ParameterRef:
    """A weight of a checkpoint, as findings refer to it.

    Attributes:
        name: As in the state dict, or what stands for it where that could not be told.
    """

    name: str

    @property
    def label(self) -> str:
        """How every report names it."""
        return self.name

    @property
    def key(self) -> str:
        """How a program knows it."""
        return self.name

    @property
    def spellings(self) -> frozenset[str]:
        """All that a user may type for it."""
        return frozenset({self.name})

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One application of an activation function inside a model's forward.

    Attributes:
        model: Class name of the outermost module of the forward; `MLP#2` for the second of that class.
        path: The owning module's path in the model, "" for the model itself.
        call: Index of this call among those of the same owner within one forward of the model.
        activation: As a user writes it: `relu`, `leaky_relu:0.1`.
        kind: `module` when the owner is itself an activation module, `function` for a call inside its forward.
        source: `file.py:31`, the user's line that made the call; None where it could not be told.
        units: Number of units (channels); None where the unit axis is unknown.
        unit_axis: The axis that was counted as units, and how that is known; or why it is unknown.
        fed_by: Name of the weight whose layer feeds the site, None where it could not be told.
        fed_part: Which part of that weight does, where several share one (experts): an index for each axis taken away.
        layer: What feeds it, as people call it: the path of the nearest layer before it (`bn1`); the name of the
            parameter where no layer but the model's own forward multiplies with it (`block.w1`); `input` for what the
            forward was given. "" where it could not be told; None in earlier records.
        repeated: Whether what is counted comes from a repetition of the forward as it is written, beside a compiled
            one. No gradient passes through a repetition.
    """

    model: str
    path: str
    call: Count
    activation: str
    kind: str
    source: str | None
    units: Count | None
    unit_axis: UnitAxis
    fed_by: str | None = None
    repeated: bool = False
    fed_part: tuple[Count, ...] = ()
    layer: str | None = None

    @property
    def ref(self) -> SiteRef:
        """What refers to it; `told_apart` adds the name."""
        return SiteRef(model=self.model, path=self.path, call=self.call, source=self.source)


class WhyUnseen(StrEnum):
    """Why something that looked like an activation was not observed."""

    BOUND_EARLY = "bound_early"
    """Called by a name that was bound before watching began, or from code that no interception reaches."""
    COMPILED = "compiled"
    """Inside of torch.compile."""
    HAND_WRITTEN = "hand_written"
    """It may be an activation written by hand, or a mask."""
    CUSTOM = "custom"
    """A custom autograd.Function, which may be anything."""
    OTHER = "other"
    """As an earlier format told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Something that looked like an activation and was not observed.

    Attributes:
        what: The operation, as reports name it.
        why: Why it was not observed.
        reason: The same in words, from a run folder of format 1 or 2; "" in others.
        calls: Number of calls in the autograd graph of one loss.
    """

    what: str
    why: WhyUnseen = WhyUnseen.OTHER
    reason: str = ""
    calls: Count = 1
