"""What the rows of a checkpoint's weights say: which have not learned, for how long, and which cannot fire."""

from collections.abc import Mapping, Sequence

import numpy as np

from rectifier.diagnosis import advice
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.clocks import Silence, silence_of
from rectifier.diagnosis.rows import Rows, summary
from rectifier.diagnosis.silence import apply_silences
from rectifier.diagnosis.words import listed
from rectifier.records import Autopsy, Checkpoint, Finding, Severity, WeightRows
from rectifier.records.arrays import BoolArray

_ORDER = {"serious": 0, "warning": 1, "info": 2}
_MOST_UNITS = 1_000


def judge_checkpoint(checkpoint: Checkpoint, silence: Mapping[str, str] | None = None) -> Autopsy:
    """Say which rows of a checkpoint's weights have not learned, most serious first, and what cannot be told.

    The trap: a row is what leads into one unit, and neither the activation behind it nor its inputs stand in a file.
    "Without gradient" is read from the optimizer, "cannot fire" is said of a ReLU with inputs ≥ 0 only.

    Args:
        checkpoint: What the file holds.
        silence: Known findings, by name and weight, with the reason, as for `diagnose`.

    Raises:
        CannotSilence: `silence` holds a name that no finding has, or no reason.

    Example:
        >>> judge_checkpoint(Checkpoint(path="empty.pt", layout="state dict", weights=())).findings
        ()
    """
    layers = [Rows(weight, checkpoint.step, checkpoint.steps_between) for weight in checkpoint.weights]
    findings = [
        *_not_finite(layers),
        *_whole_layers(layers),
        *(finding for layer in layers for finding in _partly_idle(layer)),
        *(finding for layer in layers for finding in _by_weights(layer)),
    ]
    findings.sort(key=lambda finding: _ORDER[finding.severity])
    autopsy = Autopsy(
        path=checkpoint.path,
        layout=checkpoint.layout,
        step=checkpoint.step,
        earlier=checkpoint.earlier,
        steps_between=checkpoint.steps_between,
        findings=tuple(findings),
        layers=tuple(summary(layer) for layer in layers),
        untold=_untold(checkpoint, layers),
    )
    return apply_silences(autopsy, silence or {})


def _not_finite(layers: Sequence[Rows]) -> list[Finding]:
    hit = [layer for layer in layers if layer.broken is not None and layer.broken.any()]
    if not hit:
        return []
    rows = sum(int(layer.broken.sum()) for layer in hit if layer.broken is not None)
    return [
        Finding(
            name="non-finite",
            severity="serious",
            site=hit[0].weight.name,
            title=f"{_counted(rows, 'row')} of {_counted(len(hit), 'weight')} hold NaN or infinity",
            detail=f"In {listed([layer.weight.name for layer in hit])}. Whatever these reach is not finite, too.",
            advice="Go back to an earlier checkpoint. " + advice.NON_FINITE,
            evidence={"rows": rows, "weights": len(hit)},
        )
    ]


def _whole_layers(layers: Sequence[Rows]) -> list[Finding]:
    whole = [layer for layer in layers if layer.whole]
    starved = [layer for layer in whole if layer.inputs_silent]
    own = [layer for layer in whole if not layer.inputs_silent]
    findings = []
    if own:
        last, names = own[-1], [layer.weight.name for layer in own]
        of = sum(layer.silent is not None for layer in layers)
        detail = [f"{_capital(_for_steps(last))}: {_counted(last.weight.rows, 'row')} of {last.weight.name}."]
        if len(own) > 1:
            detail.append(f"Also {listed(names[:-1])}.")
        why = (
            f"Gradient comes from the end of a network: in a chain of layers it stops at {names[-1]}, and those before "
            "have none because of it."
            if len(own) > 1
            else "cause unknown: dead units, or a part of the network that the loss does not reach"
        )
        findings.append(
            Finding(
                name="silent-rows",
                severity="serious",
                site=names[-1],
                title=f"{names[-1]}: no row has a gradient"
                if len(own) == 1
                else f"{len(own)} of {of} weights have no gradient in any row, the last of them {names[-1]}",
                detail=" ".join([*detail, *_corroborated(last)]),
                cause=why,
                advice=advice.FOR_SILENT_ROWS,
                command=advice.WATCH,
                evidence=_evidence(last),
            )
        )
    for layer in starved:
        findings.append(
            Finding(
                name="no-input",
                severity="info",
                site=layer.weight.name,
                title=f"{layer.weight.name}: no row has a gradient, but its biases have",
                detail=f"{_capital(_for_steps(layer))}.",
                cause="What comes into this layer is 0: the units below it are silent.",
                advice="Mend the layer below first: this one only follows it.",
                evidence=_evidence(layer),
            )
        )
    return findings


def _partly_idle(layer: Rows) -> list[Finding]:
    weight, idle, silent = layer.weight, layer.idle, layer.silent
    if idle is None or not idle.any() or layer.whole or weight.embedding:
        return []
    if idle.all() and (silent is None or not silent.any()):
        # A whole weight that stands still is frozen, or its learning rate is 0: the table says so.
        return []
    share = float(idle.mean())
    severity: Severity = "warning" if share >= limit.SEVERE_SHARE else "info"
    detail = []
    if silent is not None and silent.any():
        detail.append(f"{_capital(_for_steps(layer))}.")
    if weight.unmoved is not None and weight.unmoved.any():
        still = _counted(int(weight.unmoved.sum()), "row")
        detail.append(f"{still} did not move by one bit since the earlier checkpoint.")
    if weight.bias is None and weight.largest is not None:
        severity = "info"
        detail.append("It has no bias: if it is a table that is looked up, unused rows are normal.")
    if weight.largest is None:
        severity = "info"
        detail.append("Its name is not known: in a table that is looked up, unused rows are normal.")
    by_gradient = silent is not None and silent.any()
    what = "without gradient" if by_gradient else "did not move"
    return [
        Finding(
            name="silent-rows",
            severity=severity,
            site=weight.name,
            title=f"{weight.name}: {int(idle.sum())} of {_counted(weight.rows, 'row')} {what}",
            detail=" ".join([*detail, *_corroborated(layer)]),
            advice=advice.LEAVE_ALONE if severity == "info" else advice.FOR_SILENT_ROWS,
            command=None if severity == "info" else advice.WATCH,
            units=tuple(int(row) for row in np.flatnonzero(idle)[:_MOST_UNITS]),
            evidence=_evidence(layer),
        )
    ]


def _by_weights(layer: Rows) -> list[Finding]:
    """Rows that the weights alone condemn, where the optimizer has not done so already."""
    weight, blocked, beyond = layer.weight, layer.blocked, layer.out_of_reach
    if blocked is None or beyond is None:
        return []
    if layer.idle is not None:
        blocked, beyond = blocked & ~layer.idle, beyond & ~layer.idle
    hit = blocked | beyond
    if not hit.any():
        return []
    detail = []
    if blocked.any():
        detail.append(
            f"{_counted(int(blocked.sum()), 'row')} with no positive weight and no positive bias: behind a ReLU they "
            "are dead for certain if their inputs are ≥ 0, as after another ReLU; with inputs of both signs nothing is "
            "proven."
        )
    if beyond.any():
        detail.append(_reach(layer, beyond))
    if layer.silence is None:
        detail.append("No optimizer state says whether they still learn.")
    large = hit.mean() >= limit.SEVERE_SHARE and weight.rows >= limit.LEAST_ROWS
    return [
        Finding(
            name="likely-dead-by-weights",
            severity="warning" if large else "info",
            site=weight.name,
            title=f"{weight.name}: {int(hit.sum())} of {_counted(weight.rows, 'row')} likely dead by their weights",
            detail=" ".join(detail),
            cause="cause unknown: a checkpoint shows where the weights are, not how they came there",
            advice=advice.FOR_SILENT_ROWS if large else advice.LEAVE_ALONE,
            command=advice.WATCH if large else None,
            units=tuple(int(row) for row in np.flatnonzero(hit)[:_MOST_UNITS]),
            evidence={"rows": weight.rows, "blocked": int(blocked.sum()), "out_of_reach": int(beyond.sum())},
        )
    ]


def _reach(layer: Rows, rows: BoolArray) -> str:
    weight = layer.weight
    assert weight.bias is not None
    assert weight.norm is not None
    needed = -weight.bias[rows] / (weight.norm[rows] * np.sqrt(weight.fan_in))
    low, high = float(needed.min()), float(needed.max())
    span = f"{low:.2g}" if f"{low:.2g}" == f"{high:.2g}" else f"{low:.2g} to {high:.2g}"
    return (
        f"{_counted(len(needed), 'row')} whose bias lies so far below 0 that no input fires them whose root mean "
        f"square is below {span} (−b / ‖w‖√n; normalised inputs have 1)."
    )


def _corroborated(layer: Rows) -> list[str]:
    if layer.idle is None or layer.blocked is None or layer.out_of_reach is None:
        return []
    blocked, beyond = int((layer.blocked & layer.idle).sum()), layer.out_of_reach & layer.idle
    said = []
    if blocked:
        said.append(
            f"{blocked} of these rows have no positive weight and no positive bias: behind a ReLU, inputs ≥ 0 never "
            "fire them."
        )
    if beyond.any():
        said.append(f"Of these, {_reach(layer, beyond)}")
    return said


def _for_steps(layer: Rows) -> str:
    """`3 rows never had a gradient, 2 had none for about 500 steps (478 to 531)`."""
    silence, silent = layer.silence, layer.silent
    assert silence is not None
    assert silent is not None
    never, rest = int(silence.never.sum()), silent & ~silence.never
    parts = []
    if never:
        taken = layer.weight.memory.step if layer.weight.memory is not None else None
        parts.append(f"{_counted(never, 'row')} never had a gradient" + (f" in {taken:,} steps" if taken else ""))
    if rest.any():
        count = _counted(int(rest.sum()), "row") if not parts else f"{int(rest.sum()):,}"
        parts.append(f"{count} had none for {_span(silence, rest)}")
    return " and ".join(parts)


def _span(silence: Silence, rows: BoolArray) -> str:
    low, high = int(silence.low[rows].min()), silence.high[rows].max()
    middle = silence.estimate[rows]
    if np.isnan(middle).all():
        return f"at least {low:,} steps"
    about = f"about {round(float(np.nanmedian(middle))):,} steps"
    return f"{about} (at least {low:,})" if np.isinf(high) else f"{about} ({low:,} to {int(np.ceil(high)):,})"


def _evidence(layer: Rows) -> dict[str, float | int | str | None]:
    row = summary(layer)
    return {
        "rows": row.rows, "silent": row.silent, "never": row.never, "steps": row.steps, "steps_low": row.steps_low,
        "steps_high": row.steps_high, "unmoved": row.unmoved, "blocked": row.blocked, "out_of_reach": row.out_of_reach,
    }  # fmt: skip


def _untold(checkpoint: Checkpoint, layers: Sequence[Rows]) -> tuple[str, ...]:
    """What cannot be said and why, each reason once."""
    told = list(checkpoint.notes)
    without = [layer for layer in layers if layer.weight.memory is None and not layer.weight.state]
    if without and len(without) == len(layers):
        told.append(
            "No optimizer state: for how long a row has had no gradient cannot be told. Save "
            "optimizer.state_dict() beside the weights."
        )
    reasons: dict[str, list[str]] = {}
    for layer in layers:
        memory, state = layer.weight.memory, layer.weight.state
        why = (silence_of(memory).untold or _cut_short(layer)) if memory is not None else state
        if why and why not in ("frozen", "not in the optimizer", "not matched") and not layer.weight.embedding:
            reasons.setdefault(why, []).append(layer.weight.name)
    told += [f"{_names(names)}: {why}." for why, names in reasons.items()]
    frozen = [layer.weight.name for layer in layers if layer.weight.state == "frozen"]
    if frozen:
        told.append(f"Frozen, or never reached by a gradient (the optimizer holds nothing for them): {_names(frozen)}.")
    decayed = any(_decays(layer.weight) for layer in layers)
    if checkpoint.earlier is not None and decayed:
        told.append("Weight decay moves rows without gradient, too: that a row moved is no sign of life.")
    return tuple(told)


def _cut_short(layer: Rows) -> str | None:
    """Why longer silences, or any, do not show in this weight."""
    memory, silence = layer.weight.memory, layer.silence
    if memory is None or silence is None:
        return None
    if memory.coupled and memory.first is not None and not (silence.low >= limit.SILENT_STEPS).any():
        return (
            "weight decay is (or may be) part of the gradient, which keeps the moments up; rows without any other "
            "gradient may not show"
        )
    return None


def _decays(weight: WeightRows) -> bool:
    return weight.memory is not None and weight.memory.decays


def _names(names: Sequence[str]) -> str:
    return listed(list(names)) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3:,} more"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
