"""What one forward and one backward pass over an untrained network say, before any step is taken.

Layer gains and the input's offset are always shown and are never an alarm: a default 3 × 128 network on digits has
gains well below 1 and γ = 1.5, and reaches 97 %.
"""

from collections.abc import Mapping

from rectifier.catalogue import parse
from rectifier.diagnosis import advice
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.born import line_probability, one_input_probability
from rectifier.diagnosis.silence import apply_silences
from rectifier.diagnosis.start import poor_way
from rectifier.diagnosis.words import percent
from rectifier.records import Finding, LayerCheck, Preflight, Probe, Severity, SiteProbe

_ORDER = {"serious": 0, "warning": 1, "info": 2}


def judge_probe(probe: Probe, silence: Mapping[str, str] | None = None, *, measured: bool = True) -> Preflight:
    """Say what is wrong with a network before it is trained, most serious first.

    The trap: one batch of an untrained network. That a unit is silent on a few samples says little; that a whole layer
    is, or that nothing comes through, says much.

    Args:
        probe: What one forward and one backward pass showed.
        silence: Known findings, as for `diagnose`.
        measured: Whether the batch is of the user's data: random numbers have no offset worth telling.

    Raises:
        CannotSilence: `silence` holds a name that no finding has, or no reason.
    """
    rows = _rows(probe)
    findings = _not_finite(probe) or [
        *_constant(probe, rows),
        *_initialisation(probe, rows),
        *_ends_in(probe),
        *(_silent_units(site) for site in probe.sites if site.silent and not _is_cut(probe, site)),
    ]
    findings.sort(key=lambda finding: _ORDER[finding.severity])
    checked = Preflight(
        findings=tuple(findings),
        model=probe.model,
        samples=probe.samples,
        layers=rows,
        input_offset=probe.input_offset if measured else None,
        loss=probe.loss,
    )
    return apply_silences(checked, silence or {})


def _rows(probe: Probe) -> tuple[LayerCheck, ...]:
    last = next((site.delta for site in reversed(probe.sites) if site.delta), None)
    rows, below = [], probe.input_rms
    for site in probe.sites:
        rows.append(
            LayerCheck(
                site=site.site.label,
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
    if not probe.input_finite:
        where, cause = "the input", "the batch itself holds it"
    elif site is not None:
        where, cause = (
            f"the output of {site.site.label}",
            "cause unknown: the first place names the layer, not the reason",
        )
    else:
        where, cause = "the network's output", "every activation is finite: it comes from what follows the last of them"
    return [
        Finding(
            name="non-finite",
            severity="serious",
            site=site.site.label if site is not None and probe.input_finite else None,
            title=f"{where} holds NaN or an infinity before any training",
            detail="Nothing else can be judged.",
            cause=cause,
            advice=advice.NON_FINITE_AT_START,
        )
    ]


def _is_flat(site: SiteProbe) -> bool:
    flat = parse(site.site.activation).flat_below
    return flat is not None and flat >= 0.0


def _is_cut(probe: Probe, site: SiteProbe) -> bool:
    """Whether a layer is silent as a whole and the output has nothing of the input: no path leads around it."""
    return bool(
        site.site.units
        and len(site.silent) == site.site.units
        and _is_flat(site)
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
            name="constant-network",
            severity="warning",
            title="the network gives every sample almost the same answer",
            detail=f"Over {probe.samples:,} samples the output's variance is "
            f"{probe.output_variance / probe.output_square:.1e} of its mean square.",
            cause="cause unknown: no layer is silent, and the differences between samples are not lost in the layers",
            advice=advice.CONSTANT_AT_START,
            evidence={"output_variance": probe.output_variance, "output_mean_square": probe.output_square},
        )
    ]


def _born_dead(probe: Probe, cut: SiteProbe) -> Finding:
    units = cut.site.units or 0
    widths = [site.site.units for site in probe.sites if site.site.units is not None]
    evidence: dict[str, float | int | str | None] = {
        "silent_site": cut.site.label,
        "units": units,
        "samples": cut.samples,
        "depth": len(widths),
        "narrowest_width": min(widths),
        "born_dead_probability_one_input": one_input_probability(widths),
    }
    chance = f"for a single input {_share(one_input_probability(widths))} of plain networks of these widths"
    if len(set(widths)) == 1 and len(widths) > 1:
        low, high = line_probability(widths[0], len(widths))
        evidence |= {"born_dead_probability_line_low": low, "born_dead_probability_line_high": high}
        chance += f", for inputs on a line through 0 {_share(low)} to {_share(high)}"
    return Finding(
        name="constant-network",
        severity="serious",
        title=f"born dead: {cut.site.label} is silent as a whole, and the network's output is a constant",
        detail=f"None of its {units:,} units fires on any of {cut.samples:,} samples; the output does not vary at all. "
        "No training through this layer is possible.",
        cause=f"depth {len(widths)}, narrowest width {min(widths)}, with symmetric weights and zero biases: {chance} "
        "have a silent layer (Lu et al. 2019); with biases, or many inputs, fewer",
        advice=advice.BORN_DEAD,
        evidence=evidence,
    )


def _share(probability: float) -> str:
    return percent(probability) if probability >= limit.RARE_CHANCE else f"fewer than {percent(limit.RARE_CHANCE)}"


def _no_gradient(probe: Probe) -> Finding:
    return Finding(
        name="no-gradient",
        severity="serious",
        title="no parameter gets a gradient",
        detail=f"With {probe.loss}, the gradient of each of {probe.weights:,} parameters is exactly 0 on "
        f"{probe.samples:,} samples.",
        cause="a softmax over one unit is the constant 1"
        if probe.output_variance == 0 and probe.output_square == 1
        else "cause unknown: the output, or the loss, does not depend on the weights here",
        advice=advice.NO_GRADIENT,
        evidence={"parameters": probe.weights, "output_variance": probe.output_variance},
    )


def _is_poor(rows: tuple[LayerCheck, ...]) -> str | None:
    """`small` where differences between samples and the gradient all but vanish both, `large` where both explode."""
    if len(rows) < 2 or rows[-1].sensitivity is None or rows[0].gradient is None:
        return None
    return poor_way(rows[-1].sensitivity, rows[0].gradient)


def _initialisation(probe: Probe, rows: tuple[LayerCheck, ...]) -> list[Finding]:
    poor = _is_poor(rows)
    last = rows[-1] if rows else None
    if last is None or (poor is None and (last.similarity is None or last.similarity <= limit.SIMILAR)):
        return []
    similar = last.similarity is not None and last.similarity > limit.SIMILAR
    alike = f"the mean cosine between two samples is {last.similarity:.4f} at {last.site}" if similar else ""
    evidence: dict[str, float | int | str | None] = {
        "sensitivity": last.sensitivity,
        "gradient_first_over_last": rows[0].gradient,
        "similarity": last.similarity,
        "sites": len(rows),
    }
    if poor is None:
        return [
            Finding(
                name="poor-initialisation",
                severity="info",
                site=last.site,
                title=f"samples look alike at {last.site}: their mean cosine is {last.similarity:.4f}",
                detail=f"On {probe.samples:,} samples. A mean that all share does this, too; what tells samples apart "
                "is not lost in it.",
                cause="an offset that the layers share: positive biases, an input that is not centred, depth",
                advice="Nothing to do unless training stalls; centring the input or normalisation removes it.",
                evidence=evidence,
            )
        ]
    steps = len(rows) - 1
    factor = float(rows[0].gradient or 0.0) ** (1 / steps)
    return [
        Finding(
            name="poor-initialisation",
            severity="warning",
            title=f"the signal {'vanishes' if poor == 'small' else 'explodes'} both ways at initialisation",
            detail=f"Of the differences between samples {last.sensitivity:.1e} times their size arrives at "
            f"{last.site}, and {rows[0].gradient:.1e} of the gradient at {rows[0].site}: {factor:.2g} times per layer"
            f"{'; ' + alike if alike else ''}.",
            cause=f"initialisation and depth: {len(rows)} activations "
            "(torch.nn.Linear's default initialisation gives 0.41 per ReLU layer)",
            advice=advice.VANISHING if poor == "small" else advice.EXPLODING,
            evidence={**evidence, "factor_per_layer": factor},
        )
    ]


def _ends_in(probe: Probe) -> list[Finding]:
    if probe.ends_in is None:
        return []
    site = probe.sites[probe.ends_in]
    if not _is_flat(site) or _is_cut(probe, site):
        return []
    return [
        Finding(
            name="output-activation",
            severity="warning",
            site=site.site.label,
            title=f"the network ends in {site.site.activation}",
            detail=f"{percent(probe.output_zero_fraction)} of its outputs are exactly 0 on {probe.samples:,} samples; "
            "where one is, it passes no gradient back, and an output that is 0 on all samples stays there.",
            cause=f"{site.site.label} is the last operation",
            advice=advice.OUTPUT_ACTIVATION,
            evidence={"output_zero_fraction": probe.output_zero_fraction},
        )
    ]


def _silent_units(site: SiteProbe) -> Finding:
    units, silent = site.site.units or 0, len(site.silent)
    whole, flat = silent == units, _is_flat(site)
    severity: Severity = "warning" if whole and flat else "info"
    bound = 1 - limit.CONFIDENCE_MISS ** (1 / site.samples)
    then = " The output still varies: another path leads around it." if whole else ""
    return Finding(
        name="dead-units" if flat else "stuck-negative",
        severity=severity,
        site=site.site.label,
        title=f"{site.site.label}: {silent} of {units:,} {'unit' if units == 1 else 'units'} silent before training",
        detail=f"On {site.samples:,} samples: each fires on less than {percent(bound)} of such data (95 %).{then}",
        cause="initialisation: depth alone makes units silent (a third of them after 30 ReLU layers of 256, He gain)",
        advice=advice.LEAVE_ALONE if severity == "info" else advice.BORN_DEAD,
        units=site.silent,
        evidence={"units": units, "silent": silent, "silent_fraction": silent / units, "samples": site.samples},
    )
