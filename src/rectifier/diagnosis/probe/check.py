"""What one forward and one backward pass over an untrained network say, before any step is taken.

Layer gains and the input's offset are always shown and are never an alarm: a default 3 × 128 network on digits has
gains well below 1 and γ = 1.5, and reaches 97%.
"""

from collections.abc import Mapping

from rectifier.catalogue import parse
from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.suppression import apply_suppressions
from rectifier.diagnosis.training.signal.start import poor_way
from rectifier.records import (
    BornDeadNetwork,
    Cause,
    CauseKind,
    Finding,
    FlatOutput,
    HardlyVaryingOutput,
    LayerCheck,
    NoGradientAtAll,
    NotFiniteAtStart,
    Place,
    PoorSignal,
    Preflight,
    Probe,
    Rule,
    SamplesAlike,
    Severity,
    Signal,
    SilentAtStart,
    SiteProbe,
    most_serious_first,
    told_apart,
)


def judge_probe(probe: Probe, suppress: Mapping[str, str] | None = None, *, measured: bool = True) -> Preflight:
    """Say what is wrong with a network before it is trained, most serious first.

    Warning:
        This is one batch of an untrained network. That a unit is silent on a few samples says little; that a whole
        layer is, or that nothing comes through, says much.

    Args:
        probe: What one forward and one backward pass showed.
        suppress: Known findings, as for `diagnose`.
        measured: Whether the batch is of the user's data: random numbers have no offset worth telling.

    Raises:
        CannotSuppress: `suppress` holds a name that no finding has, or no reason.
    """
    rows = _rows(probe)
    findings = _not_finite(probe) or [
        *_constant(probe, rows),
        *_initialisation(probe, rows),
        *_ends_in(probe),
        *(_silent_units(probe, site) for site in probe.sites if site.silent and not _is_cut(probe, site)),
    ]
    checked = Preflight(
        findings=most_serious_first(findings),
        model=probe.model,
        samples=probe.samples,
        layers=rows,
        input_offset=probe.input_offset if measured else None,
        loss=probe.loss,
    )
    return apply_suppressions(checked, suppress or {})


def _rows(probe: Probe) -> tuple[LayerCheck, ...]:
    last = next((site.delta for site in reversed(probe.sites) if site.delta), None)
    rows, below = [], probe.input_rms
    for site, ref in zip(probe.sites, told_apart([site.site for site in probe.sites]), strict=True):
        rows.append(
            LayerCheck(
                site=ref.key,
                name=ref.label,
                activation=site.site.activation,
                source=site.site.source,
                units=site.site.units,
                samples=site.samples,
                silent=None if site.site.units is None else len(site.silent),
                gain=site.rms / below if below else None,
                sensitivity=site.spread / probe.input_spread if probe.input_spread else None,
                similarity=site.similarity,
                delta=site.delta,
                gradient=site.delta / last if site.delta is not None and last else None,
            )
        )
        below = site.rms
    return tuple(rows)


def _not_finite(probe: Probe) -> list[Finding]:
    """NaN first: it compares false with everything."""
    site = next((site for site in probe.sites if not site.finite), None)
    if probe.input_finite and site is None and probe.output_finite:
        return []
    place = Place.OUTPUT if site is None else Place.SITE
    if not probe.input_finite:
        place = Place.INPUT
    cause = Cause(kind=CauseKind.INPUT_NOT_FINITE if place is Place.INPUT else CauseKind.UNKNOWN)
    return [
        Finding(
            rule=Rule.NON_FINITE,
            severity="serious",
            site=probe.ref_of(site) if site is not None and place is Place.SITE else None,
            cause=cause,
            remedies=remedies.for_not_finite(cause),
            evidence=NotFiniteAtStart(place=place),
        )
    ]


def _is_cut(probe: Probe, site: SiteProbe) -> bool:
    """Whether a layer is silent as a whole and the output has nothing of the input: no path leads around it."""
    return bool(
        site.site.units
        and len(site.silent) == site.site.units
        and parse(site.site.activation).flat_when_silent
        and probe.output_variance == 0
        and probe.samples > 1
    )


def _constant(probe: Probe, rows: tuple[LayerCheck, ...]) -> list[Finding]:
    if probe.samples < 2:
        return []
    cut = next((site for site in probe.sites if _is_cut(probe, site)), None)
    if cut is not None:
        return [_born_dead(probe, cut)]
    if probe.weights_reached == 0:
        return [_no_gradient(probe)]
    if probe.output_square == 0 or probe.output_variance >= limit.CONSTANT_VARIANCE * probe.output_square:
        return []
    if _is_poor(rows) is not None:
        # That finding says why.
        return []
    return [
        Finding(
            rule=Rule.CONSTANT_NETWORK,
            severity="warning",
            evidence=HardlyVaryingOutput(
                samples=probe.samples,
                output_variance=probe.output_variance,
                output_mean_square=probe.output_square,
            ),
        )
    ]


def _born_dead(probe: Probe, cut: SiteProbe) -> Finding:
    widths = [site.site.units for site in probe.sites if site.site.units is not None]
    return Finding(
        rule=Rule.CONSTANT_NETWORK,
        severity="serious",
        cause=Cause(kind=CauseKind.NARROW_LAYER),
        remedies=remedies.BORN_DEAD,
        evidence=BornDeadNetwork(
            silent_site=probe.ref_of(cut),
            units=cut.site.units or 0,
            samples=cut.samples,
            depth=len(widths),
            narrowest_width=min(widths),
        ),
    )


def _no_gradient(probe: Probe) -> Finding:
    # A softmax over one unit is the constant 1.
    one = probe.output_variance == 0 and probe.output_square == 1
    cause = Cause(kind=CauseKind.DOWNSTREAM_CONSTANT if one else CauseKind.UNKNOWN)
    return Finding(
        rule=Rule.NO_GRADIENT,
        severity="serious",
        cause=cause,
        remedies=remedies.where_known(cause, remedies.NO_GRADIENT),
        evidence=NoGradientAtAll(
            parameters=probe.weights,
            samples=probe.samples,
            loss=probe.loss,
            output_variance=probe.output_variance,
        ),
    )


def _is_poor(rows: tuple[LayerCheck, ...]) -> Signal | None:
    """Whether differences between samples and the gradient all but vanish both, or both explode."""
    if len(rows) < 2 or rows[-1].sensitivity is None or rows[0].gradient is None:
        return None
    return poor_way(rows[-1].sensitivity, rows[0].gradient)


def _initialisation(probe: Probe, rows: tuple[LayerCheck, ...]) -> list[Finding]:
    if not rows:
        return []
    poor, last = _is_poor(rows), rows[-1]
    alike = last.similarity is not None and last.similarity > limit.SIMILAR
    if poor is None:
        return [_samples_alike(probe, rows, last.similarity)] if alike and last.similarity is not None else []
    gradient, sensitivity = float(rows[0].gradient or 0.0), float(last.sensitivity or 0.0)
    return [
        Finding(
            rule=Rule.POOR_INITIALISATION,
            severity="warning",
            cause=Cause(kind=CauseKind.INITIAL_WEIGHTS),
            remedies=remedies.VANISHING if poor is Signal.VANISHES else remedies.EXPLODING,
            evidence=PoorSignal(
                signal=poor,
                sensitivity=sensitivity,
                gradient_first_over_last=gradient,
                factor_per_layer=gradient ** (1 / (len(rows) - 1)),
                sites=len(rows),
                first=probe.ref_of(probe.sites[0]),
                last=probe.ref_of(probe.sites[-1]),
                similarity=last.similarity,
                alike=alike,
            ),
        )
    ]


def _samples_alike(probe: Probe, rows: tuple[LayerCheck, ...], similarity: float) -> Finding:
    return Finding(
        rule=Rule.POOR_INITIALISATION,
        severity="info",
        site=probe.ref_of(probe.sites[-1]),
        evidence=SamplesAlike(
            samples=probe.samples,
            similarity=similarity,
            sensitivity=rows[-1].sensitivity,
            gradient_first_over_last=rows[0].gradient,
            sites=len(rows),
        ),
    )


def _ends_in(probe: Probe) -> list[Finding]:
    if probe.ends_in is None:
        return []
    site = probe.sites[probe.ends_in]
    if not parse(site.site.activation).flat_when_silent or _is_cut(probe, site):
        return []
    return [
        Finding(
            rule=Rule.OUTPUT_ACTIVATION,
            severity="warning",
            site=probe.ref_of(site),
            cause=Cause(kind=CauseKind.OUTPUT_ACTIVATION),
            remedies=remedies.OUTPUT_ACTIVATION,
            evidence=FlatOutput(
                activation=site.site.activation,
                samples=probe.samples,
                output_zero_fraction=probe.output_zero_fraction,
            ),
        )
    ]


def _silent_units(probe: Probe, site: SiteProbe) -> Finding:
    units, silent = site.site.units or 0, len(site.silent)
    flat = parse(site.site.activation).flat_when_silent
    severity: Severity = "warning" if silent == units and flat else "info"
    return Finding(
        rule=Rule.DEAD_UNITS if flat else Rule.STUCK_NEGATIVE,
        severity=severity,
        site=probe.ref_of(site),
        cause=Cause(kind=CauseKind.INITIAL_WEIGHTS),
        remedies=() if severity == "info" else remedies.BORN_DEAD,
        units=site.silent,
        evidence=SilentAtStart(
            units=units,
            silent=silent,
            silent_fraction=silent / units,
            samples=site.samples,
            firing_bound=1 - limit.CONFIDENCE_MISS ** (1 / site.samples),
        ),
    )
