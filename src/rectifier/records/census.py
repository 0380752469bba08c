"""What a pass over a data set showed of every unit of a trained network."""

from dataclasses import dataclass, field

from rectifier.records.arrays import FloatArray, IntArray
from rectifier.records.training.site import Site


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SiteCount:
    """One site's counters over a whole pass; `U` is the number of units, 0 where the unit axis is unknown.

    Attributes:
        visits: Samples counted: rows, images or tokens; the same one seen twice counts twice.
        fired: (U,) samples on which the unit fired: an output above f(0) at any position.
        lowest: (U,) smallest output at any position of any sample; NaN where one was.
        highest: (U,) largest output; NaN where one was.
        mean_abs: (U,) mean absolute output.
    """

    site: Site
    visits: int
    fired: IntArray
    lowest: FloatArray
    highest: FloatArray
    mean_abs: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCensus:
    """One row of a census.

    Attributes:
        site: How a program knows it.
        name: How people call it, by what feeds it.
        units: None where the unit axis is unknown; everything below is then None or empty, too.
        visits: Samples counted: rows, images or tokens.
        silent: Units that fired on no sample.
        silent_means: What that is called: `dead` (no gradient on any sample of the data), `suspected` (the same, on too
            few samples for the word), or `stuck` (silent, of an activation that still passes a gradient there).
        rare: Units that fired on less than 1% of the samples, but did fire.
        always_on: Units whose output was above f(0) at every position of every sample: ReLU is linear there.
        not_finite: Units whose output held NaN or an infinity; they are in none of the other counts.
        firing_bound: 95% upper bound on the firing rate of a silent unit on data like these; None where the number of
            distinct samples is not known.
        firing_fraction: Mean over units of the share of samples on which they fired.
        dormant: (τ, units whose mean absolute output is at most τ times the layer's mean) for τ = 0, 0.025 and 0.1;
            empty for activations that can be negative, where that is not the definition.
        silent_units: Their indices.
        rare_units: Likewise.
        always_on_units: Likewise.
    """

    site: str
    name: str
    activation: str
    source: str | None
    units: int | None
    visits: int
    silent: int | None
    silent_means: str
    rare: int | None
    always_on: int | None
    not_finite: int | None
    firing_bound: float | None
    firing_fraction: float | None
    dormant: tuple[tuple[float, int], ...] = ()
    silent_units: tuple[int, ...] = field(default=(), repr=False)
    rare_units: tuple[int, ...] = field(default=(), repr=False)
    always_on_units: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The dead, rare and always-on units of a network over a data set.

    Attributes:
        model: Class name of the network.
        batches: Batches of the pass.
        samples: Inputs in them: rows, images or sequences; None where no tensor was among them.
        distinct_samples: How many of those differ; None where they could not be told apart.
    """

    model: str
    batches: int
    samples: int | None
    distinct_samples: int | None
    layers: tuple[LayerCensus, ...]
