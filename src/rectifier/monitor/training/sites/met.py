"""What is remembered of the user's models: each of them, and each of its sites.

Models are held weakly.
"""

import weakref
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from rectifier.monitor.training.sites.counters import UnitCounters
from rectifier.monitor.training.sites.feeds import Feed, Feeds
from rectifier.monitor.training.sites.parameters import Held, Parameters
from rectifier.monitor.training.sites.samples import DistinctSamples
from rectifier.monitor.training.steps.schedule import Sampling


@dataclass(slots=True)
class Gradient:
    """‖∂L/∂z‖ of one site in one step, kept on the device until it is read."""

    step: int
    squares: list[Tensor] = field(default_factory=list)
    samples: int = 0


@dataclass(slots=True)
class Settled:
    """What was measured at the steps of a window, on the host: by step, and thinned in a long training.

    Attributes:
        deltas: Sum of squares of ∂L/∂z, and of how many samples.
        bad_step: First counted step at which the output held NaN or an infinity.
    """

    deltas: dict[int, tuple[float, int]] = field(default_factory=dict)
    updates: dict[int, float] = field(default_factory=dict)
    squares: dict[int, float] = field(default_factory=dict)
    spreads: dict[int, float] = field(default_factory=dict)
    bad_step: int | None = None


@dataclass(slots=True, eq=False)
class SiteRecord:
    """A site and everything counted at it."""

    index: int
    model: "ModelRecord"
    axis: int | None
    counters: UnitCounters
    weight: Held | None
    bias: Held | None
    layer_bias: Held | None
    steps: list[int] = field(default_factory=list)
    extremes: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    visits: int = 0
    gradients: dict[int, Gradient] = field(default_factory=dict)
    wide: bool = True
    hook_seconds: float = 0.0
    updates: dict[int, Tensor] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)
    last_gradient: Tensor | None = None
    measured: bool = False
    squares: dict[int, Tensor] = field(default_factory=dict)
    spreads: dict[int, Tensor] = field(default_factory=dict)
    settled: Settled = field(default_factory=Settled)
    """What has been brought to the host of this window."""


@dataclass(slots=True, eq=False)
class ModelRecord:
    """A root module: its name in reports, its paths, and the distinct inputs it was given.

    Attributes:
        root: The module; of several with the same class and parameters, one that a script makes anew, the first.
        weights: Its parameters.
        trains: Whether it is a model: it has parameters, or what it applies feeds a layer.
        sequence_first: Whether a part of it takes sequences as (T, B, C).
        called_from: The line that called it first.
        paths: Of its modules.
        entries: Samples in the forward that runs, by which gradients are divided at all of its sites alike.
        feeds: The weights that feed the calls of each module, by its path.
        sites: By path, weight, and how many calls with both came before in one forward.
        numbers: Paths and numbers under which sites are reported.
        losses: Losses whose graph was read and led to it.
        eval_losses: Of them, those for which it was in eval mode.
        trains_in_eval: Whether it was so for the last one.
    """

    name: str
    root: "weakref.ref[nn.Module]"
    weights: "tuple[weakref.ref[Tensor], ...]"
    trains: bool
    replica: bool = False
    sequence_first: bool = False
    called_from: str | None = None
    paths: "weakref.WeakKeyDictionary[nn.Module, str]" = field(default_factory=weakref.WeakKeyDictionary)
    entries: int = 1
    samples: DistinctSamples = field(default_factory=DistinctSamples)
    parameters: Parameters = field(default_factory=Parameters)
    feeds: dict[str, Feeds] = field(default_factory=dict)
    sites: dict[tuple[str, Feed, int], SiteRecord] = field(default_factory=dict)
    numbers: set[tuple[str, int]] = field(default_factory=set)
    last: SiteRecord | None = None
    losses: int = 0
    eval_losses: int = 0
    trains_in_eval: bool = False


@dataclass(slots=True)
class Token:
    """Carries one call from before the activation to after it; without a site it is only known to have been met."""

    site: SiteRecord | None
    step: int
    sampling: Sampling
    edge: tuple[Any, int] | None = None
    """Where its input hangs in the graph: a node, and which of its outputs."""
    entries: int | None = None
    """Samples that the forward was given."""
    unsure: ModelRecord | None = None
    """An activation that is nobody's part, and may belong to a model or to a loss."""
