"""Findings of one line, for whatever reads them."""

from rectifier.records import (
    Cause,
    CauseKind,
    DeadUnits,
    Deaths,
    Finding,
    GradientWay,
    Rule,
    SampleSize,
    SiteRef,
)

BY_UPDATE = Cause(kind=CauseKind.LEARNING_RATE)
DEATHS = Deaths(born_dead=0, died=3, first_observed_step=0, died_first_step=70, died_median_step=71, died_last_step=72,
                died_known_within_steps=1)  # fmt: skip


def ref(path, *, model="Net", call=0, name=""):
    return SiteRef(model=model, path=path, call=call, name=name)


def dead_units(
    site="act", *, severity="info", activation="relu", units=7, dead=3, suspected=0, indices=(0, 1, 2), cause=BY_UPDATE,
    **more,
):  # fmt: skip
    """Of a path of the model `Net`, or of a SiteRef."""
    evidence = DeadUnits(
        activation=activation, units=units, dead=dead, suspected=suspected, dead_fraction=dead / units, silences=3,
        silences_ended=0, deaths=DEATHS,
    )  # fmt: skip
    return Finding(
        rule=Rule.DEAD_UNITS, severity=severity, site=ref(site) if isinstance(site, str) else site, evidence=evidence,
        cause=cause, sample=SampleSize(least_samples=5000, firing_bound=6e-4, whole_data=False), units=tuple(indices),
        **more,
    )  # fmt: skip


def gradient_way(rule=Rule.VANISHING_GRADIENT, *, factor=0.4, **more):
    evidence = GradientWay(
        delta_first_over_last=1e-9, delta_first_over_last_at_start=1e-9, factor_per_layer=factor, observed_steps=9,
        sites=5, first=ref("a"), last=ref("e"), first_layer_update=1e-9,
    )  # fmt: skip
    return Finding(rule=rule, severity="serious", site=ref("a"), evidence=evidence, **more)
