"""What one forward and one backward pass showed of an untrained network."""

from dataclasses import dataclass

from rectifier.records.findings.finding import Judged
from rectifier.records.training.names import told_apart
from rectifier.records.training.site import Site, SiteRef


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteProbe:
    """One site on one batch; numbers only, nothing judged.

    Attributes:
        samples: Distinct rows, images or tokens.
        silent: Units that fired on none of them, by index; empty where the unit axis is unknown.
        rms: Root mean square of the output, over all units, positions and samples.
        spread: Root mean square of the output's distance from the batch's mean: what tells samples apart.
        similarity: Mean cosine between the outputs of two samples; None where fewer than two are not all zero.
        delta: Norm of ∂L/∂z per sample, root mean square over the batch; None where no gradient came.
        finite: Whether every output was a finite number.
    """

    site: Site
    samples: int
    silent: tuple[int, ...]
    rms: float
    spread: float
    similarity: float | None
    delta: float | None
    finite: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One forward and one backward pass of a model over one batch; numbers only, nothing judged.

    Attributes:
        model: Class name.
        samples: Distinct entries of the batch.
        sites: In the order of their calls.
        input_rms: Of the largest floating tensor of the input; None where there is none.
        input_spread: Root mean square of its distance from the batch's mean.
        input_offset: γ = ‖μ‖/‖σ‖ of its features over the batch; None where nothing varies.
        input_finite: Whether every input was a finite number.
        output_square: Mean square of the output.
        output_variance: Mean over outputs of their variance between samples.
        output_finite: Whether every output was a finite number.
        ends_in: Index of the site whose output is the network's, None where something comes after the last.
        output_zero_fraction: Share of the outputs that are exactly 0.
        weights: Parameters that could get a gradient.
        weights_reached: Those that got one that is not exactly 0.
        loss: What was back-propagated, in words.
    """

    model: str
    samples: int
    sites: tuple[SiteProbe, ...]
    input_rms: float | None
    input_spread: float | None
    input_offset: float | None
    input_finite: bool
    output_square: float
    output_variance: float
    output_finite: bool
    ends_in: int | None
    output_zero_fraction: float
    weights: int
    weights_reached: int
    loss: str

    def ref_of(self, site: SiteProbe) -> SiteRef:
        """One of the sites, with its name among the others."""
        refs = told_apart([one.site for one in self.sites])
        return next(ref for ref, one in zip(refs, self.sites, strict=True) if one is site)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCheck:
    """One row of a check.

    Attributes:
        site: How a program knows it.
        name: How people call it, by what feeds it.
        units: None where the unit axis is unknown.
        samples: Distinct rows, images or tokens.
        silent: Units that fired on none of them, None where the unit axis is unknown.
        gain: Root mean square of the output over that of the layer's input site (the network's input for the first):
            √(σ_w²(1+a²)/2) for weights of variance σ_w²/fan_in without biases.
        sensitivity: Spread of the output between samples over that of the network's input: what is left down here of
            the differences that were put in.
        similarity: Mean cosine between two samples.
        delta: Norm of ∂L/∂z per sample.
        gradient: `delta` over that of the last layer.
    """

    site: str
    name: str
    activation: str
    source: str | None
    units: int | None
    samples: int
    silent: int | None
    gain: float | None
    sensitivity: float | None
    similarity: float | None
    delta: float | None
    gradient: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight(Judged):
    """What can be said of a network before it is trained.

    Attributes:
        model: Class name.
        samples: Distinct entries of the batch that it was run on.
        layers: One row per activation.
        input_offset: γ = ‖μ‖/‖σ‖ of the input's features; None where the input is no measurement (random numbers of
            ours, indices).
        loss: What was back-propagated, in words.
    """

    model: str
    samples: int
    layers: tuple[LayerCheck, ...]
    input_offset: float | None
    loss: str
