"""What a prescription consists of: which treatments the findings call for, and why others are left out."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.findings.finding import Finding
from rectifier.records.training.site import SiteRef


class RungKind(StrEnum):
    """A treatment, mildest first."""

    ADVICE = "advice"
    SURROGATE_GRADIENT = "surrogate_gradient"
    SWAP = "swap"
    RESCALE = "rescale"
    RECYCLE = "recycle"


class WhyLeftOut(StrEnum):
    """Why a treatment is not prescribed."""

    NO_DEAD_UNIT = "no_dead_unit"
    INFORMATION_ONLY = "information_only"
    """The silent units alone do no harm."""
    SCALE_OF_GRADIENTS = "scale_of_gradients"
    """A gradient that vanishes or explodes is what was found; a slope alone hardly helps."""
    NO_LEAKY_RELU = "no_leaky_relu"
    """None can stand in for the activation."""
    NO_RELU = "no_relu"
    """The layers compute something else."""
    SCALE_NOT_WRONG = "scale_not_wrong"
    """Initial weights are not what was found to be wrong."""
    ONLY_SUSPECTED = "only_suspected"
    """No unit is confirmed dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungFacts:
    """One treatment that the findings call for.

    Attributes:
        kind: Which.
        sites: The places that it changes.
        old: The activation that is there, of a slope.
        new: What takes its place.
        where: These places as they are typed; empty where they are all that there are.
        units: How many dead units are recycled.
        born_dead: Whether a layer that was dead from the start is what is rescaled for.
        findings: What the advice is about.
    """

    kind: RungKind
    sites: tuple[SiteRef, ...] = ()
    old: str = ""
    new: str = ""
    where: tuple[str, ...] = ()
    units: int = 0
    born_dead: bool = False
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Why one treatment is not prescribed.

    Attributes:
        why: The reason.
        activation: What was to be treated, where the reason is about that.
    """

    why: WhyLeftOut
    activation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungTexts:
    """What is said of a treatment.

    Attributes:
        changes: What is altered, and where.
        loses: What does not stay as it was.
        cost: What it takes, once and at every step.
        expect: What the evidence lets one expect.
        code: The line of Python that does it, with `model`, `optimizer`, `watch` and `batch` as you call them.
        advised: What to do, where the treatment is advice.
    """

    changes: str = ""
    loses: str = ""
    cost: str = ""
    expect: str = ""
    code: str = ""
    advised: tuple[str, ...] = ()
