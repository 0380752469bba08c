"""What is said of silent units: dead ones, suspected ones, and those that are stuck on one side."""

from rectifier._formatting import counted, listed, percent
from rectifier.records import DeadUnits, Deaths, Finding, SampleSize, SilentAtStart, Standing, StuckUnits
from rectifier.report.sentences.findings import causes
from rectifier.report.sentences.findings.advice import units
from rectifier.report.sentences.findings.words import Texts, no_progress


def dead_units(finding: Finding, evidence: DeadUnits) -> Texts:
    """`dead-units`, of a training."""
    dead, suspected, label = evidence.dead, evidence.suspected, _label(finding)
    title = f"{label}: {dead or suspected} of {counted(evidence.units, 'unit')} {'dead' if dead else 'suspected dead'}"
    if dead and suspected:
        title += f", {suspected} more suspected"
    detail = [_since(evidence.deaths), _sample(finding.sample), *_standing(evidence)]
    if dead + suspected == evidence.units:
        detail.append("Nothing passes through this layer, forward or back.")
    if stalled := no_progress(finding):
        detail.append(stalled.strip())
    elif evidence.explained_by is not None:
        detail.append(f"That training does not progress is explained by the finding `{evidence.explained_by}`.")
    return Texts(
        title=title,
        detail=" ".join(detail),
        cause=causes.of_death(finding.cause),
        to_do=units.LEAVE_ALONE if finding.severity == "info" else units.for_dead_units(finding.cause),
        name_first=True,
    )


def stuck_units(finding: Finding, evidence: StuckUnits) -> Texts:
    """`stuck-negative`, of a training."""
    stuck, ended, silences = evidence.stuck, evidence.silences_ended, evidence.silences
    back = f" So far {ended} of {silences} such silences ended." if silences > stuck else ""
    return Texts(
        title=f"{_label(finding)}: {stuck} of {counted(evidence.units, 'unit')} stuck on the negative side",
        detail=f"{_since(evidence.deaths)} {_sample(finding.sample)} "
        f"Under {evidence.activation} such a unit still learns, but is linear or flat.{back}",
        cause="not asked: these units have a gradient",
        to_do=units.STUCK,
        name_first=True,
    )


def silent_at_start(finding: Finding, evidence: SilentAtStart) -> Texts:
    """`dead-units` and `stuck-negative`, of a check."""
    whole = evidence.silent == evidence.units
    then = " The output still varies: another path leads around it." if whole else ""
    return Texts(
        title=f"{_label(finding)}: {evidence.silent} of {counted(evidence.units, 'unit')} silent before training",
        detail=f"On {evidence.samples:,} samples: each fires on less than {percent(evidence.firing_bound)} of such "
        f"data (95%).{then}",
        cause="initialisation: depth alone makes units silent (a third of them after 30 ReLU layers of 256, He gain)",
        to_do=units.LEAVE_ALONE if finding.severity == "info" else units.BORN_DEAD,
        name_first=True,
    )


def _label(finding: Finding) -> str:
    assert finding.site is not None
    return finding.site.label


def _since(deaths: Deaths) -> str:
    first = deaths.first_observed_step
    parts = []
    if deaths.born_dead:
        parts.append(
            f"{deaths.born_dead} never fired" + (f" since step {first:,}, the first observed" if first else "")
        )
    if deaths.died:
        parts.append(f"{deaths.died} last fired {_died_at(deaths)}")
    return f"{listed(parts)}."


def _died_at(deaths: Deaths) -> str:
    """`at steps 3 to 40 (median 7; known to within 8 steps)`."""
    low, middle, high = deaths.died_first_step, deaths.died_median_step, deaths.died_last_step
    gap = deaths.died_known_within_steps
    assert low is not None
    assert middle is not None
    assert high is not None
    assert gap is not None
    remarks = [f"median {middle:,}"] if low < middle < high else []
    remarks += [f"known to within {gap:,} steps"] if gap > 1 else []
    when = f"at step {low:,}" if low == high else f"at steps {low:,} to {high:,}"
    return f"{when} ({'; '.join(remarks)})" if remarks else when


def _sample(sample: SampleSize | None) -> str:
    assert sample is not None
    least, kind = sample.least_samples, "sequences" if sample.sequences else "samples"
    if sample.whole_data:
        return f"Silent since then on all {least:,} {kind} that this training showed."
    if sample.firing_bound is None:
        return (
            f"Silent since then on at least {least:,} visits; how many distinct {kind} that is cannot be told, so "
            "there is no bound."
        )
    bound = percent(sample.firing_bound)
    return f"Silent since then on at least {least:,} distinct {kind}: each fires on less than {bound} (95%)."


def _standing(evidence: DeadUnits) -> list[str]:
    if evidence.standing is Standing.PERMANENT:
        return ["Permanent: neither this layer's weights nor those below moved at the last sampled steps."]
    if evidence.moving_layers is None or evidence.largest_movement is None:
        return []
    number = evidence.moving_layers
    layers = counted(number, "layer below still moves", "layers below still move")
    return [f"Tentative: {layers}, by up to {percent(evidence.largest_movement)} of its weights a step."]
