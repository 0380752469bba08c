"""What the rows of a checkpoint's weights say: which have not learned, for how long, and which cannot fire."""

from collections.abc import Mapping, Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.checkpoint.clocks import silence_of
from rectifier.diagnosis.checkpoint.rows import Rows, summary
from rectifier.diagnosis.suppression import apply_suppressions
from rectifier.records import (
    BrokenRows,
    Cause,
    CauseKind,
    Checkpoint,
    Finding,
    Inspection,
    NotTold,
    ParameterRef,
    Reach,
    RowCounts,
    RowsByWeights,
    RowsThatCannotFire,
    Rule,
    Severity,
    SilentInputs,
    SilentRows,
    SilentSpan,
    SilentWeights,
    Table,
    Untold,
    WeightRows,
    Why,
    most_serious_first,
)
from rectifier.records.arrays import BoolArray

_MOST_UNITS = 1_000


def judge_checkpoint(checkpoint: Checkpoint, suppress: Mapping[str, str] | None = None) -> Inspection:
    """Say which rows of a checkpoint's weights have not learned, most serious first, and what cannot be told.

    Warning:
        A row is what leads into one unit, and neither the activation behind it nor its inputs stand in a file. "Without
        gradient" is read from the optimizer, "cannot fire" is said of a ReLU with inputs ≥ 0 only.

    Args:
        checkpoint: What the file holds.
        suppress: Known findings, by name and weight, with the reason, as for `diagnose`.

    Raises:
        CannotSuppress: `suppress` holds a name that no finding has, or no reason.

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
    inspection = Inspection(
        path=checkpoint.path,
        layout=checkpoint.layout,
        step=checkpoint.step,
        earlier=checkpoint.earlier,
        steps_between=checkpoint.steps_between,
        findings=most_serious_first(findings),
        layers=tuple(summary(layer) for layer in layers),
        untold=_untold(checkpoint, layers),
    )
    return apply_suppressions(inspection, suppress or {})


def _not_finite(layers: Sequence[Rows]) -> list[Finding]:
    hit = [layer for layer in layers if layer.broken is not None and layer.broken.any()]
    if not hit:
        return []
    rows = sum(int(layer.broken.sum()) for layer in hit if layer.broken is not None)
    return [
        Finding(
            rule=Rule.NON_FINITE,
            severity="serious",
            site=_ref(hit[0]),
            evidence=BrokenRows(rows=rows, weights=tuple(_ref(layer) for layer in hit)),
        )
    ]


def _whole_layers(layers: Sequence[Rows]) -> list[Finding]:
    whole = [layer for layer in layers if layer.whole]
    starved = [layer for layer in whole if layer.inputs_silent]
    own = [layer for layer in whole if not layer.inputs_silent]
    findings = []
    if own:
        last = own[-1]
        findings.append(
            Finding(
                rule=Rule.SILENT_ROWS,
                severity="serious",
                site=_ref(last),
                fixes=remedies.WATCH,
                evidence=SilentWeights(
                    counts=_counts(last),
                    span=_span(last),
                    by_weights=_by_weights_of(last),
                    before=tuple(_ref(layer) for layer in own[:-1]),
                    read=sum(layer.silent is not None for layer in layers),
                ),
            )
        )
    findings += [
        Finding(
            rule=Rule.NO_INPUT,
            severity="info",
            site=_ref(layer),
            cause=Cause(kind=CauseKind.UPSTREAM),
            evidence=SilentInputs(counts=_counts(layer), span=_span(layer)),
        )
        for layer in starved
    ]
    return findings


def _partly_idle(layer: Rows) -> list[Finding]:
    weight, idle, silent = layer.weight, layer.idle, layer.silent
    if idle is None or not idle.any() or layer.whole or weight.embedding:
        return []
    if idle.all() and (silent is None or not silent.any()):
        # A whole weight that stands still is frozen, or its learning rate is 0: the table says so.
        return []
    table = None
    if weight.largest is None:
        table = Table.NO_NAME
    elif weight.bias is None:
        table = Table.NO_BIAS
    large = float(idle.mean()) >= limit.SEVERE_SHARE
    severity: Severity = "warning" if large and table is None else "info"
    return [
        Finding(
            rule=Rule.SILENT_ROWS,
            severity=severity,
            site=_ref(layer),
            fixes=() if severity == "info" else remedies.WATCH,
            units=tuple(int(row) for row in np.flatnonzero(idle)[:_MOST_UNITS]),
            evidence=SilentRows(
                counts=_counts(layer),
                idle=int(idle.sum()),
                span=_span(layer) if silent is not None and silent.any() else None,
                by_weights=_by_weights_of(layer),
                table=table,
            ),
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
    large = hit.mean() >= limit.SEVERE_SHARE and weight.rows >= limit.LEAST_ROWS
    return [
        Finding(
            rule=Rule.LIKELY_DEAD_BY_WEIGHTS,
            severity="warning" if large else "info",
            site=_ref(layer),
            fixes=remedies.WATCH if large else (),
            units=tuple(int(row) for row in np.flatnonzero(hit)[:_MOST_UNITS]),
            evidence=RowsThatCannotFire(
                rows=weight.rows,
                blocked=int(blocked.sum()),
                out_of_reach=int(beyond.sum()),
                reach=_reach(layer, beyond),
                without_optimizer=layer.silence is None,
            ),
        )
    ]


def _ref(layer: Rows) -> ParameterRef:
    return ParameterRef(layer.weight.name)


def _reach(layer: Rows, rows: BoolArray) -> Reach | None:
    if not rows.any():
        return None
    weight = layer.weight
    assert weight.bias is not None
    assert weight.norm is not None
    needed = -weight.bias[rows] / (weight.norm[rows] * np.sqrt(weight.fan_in))
    return Reach(beyond=len(needed), least_rms=float(needed.min()), largest_rms=float(needed.max()))


def _by_weights_of(layer: Rows) -> RowsByWeights | None:
    """What the weights say of the rows that did not learn."""
    if layer.idle is None or layer.blocked is None or layer.out_of_reach is None:
        return None
    return RowsByWeights(
        blocked_too=int((layer.blocked & layer.idle).sum()), reach=_reach(layer, layer.out_of_reach & layer.idle)
    )


def _span(layer: Rows) -> SilentSpan:
    silence, silent = layer.silence, layer.silent
    assert silence is not None
    assert silent is not None
    never, once = int(silence.never.sum()), silent & ~silence.never
    taken = layer.weight.memory.step if layer.weight.memory is not None else None
    if not once.any():
        return SilentSpan(never=never, steps_taken=taken, once=0)
    most, likeliest = float(silence.high[once].max()), silence.estimate[once]
    return SilentSpan(
        never=never,
        steps_taken=taken,
        once=int(once.sum()),
        least_steps=int(silence.low[once].min()),
        most_steps=None if np.isinf(most) else int(np.ceil(most)),
        likeliest_steps=None if np.isnan(likeliest).all() else round(float(np.nanmedian(likeliest))),
    )


def _counts(layer: Rows) -> RowCounts:
    row = summary(layer)
    return RowCounts(
        rows=row.rows, silent=row.silent, never=row.never, steps=row.steps, steps_low=row.steps_low,
        steps_high=row.steps_high, unmoved=row.unmoved, blocked=row.blocked, out_of_reach=row.out_of_reach,
    )  # fmt: skip


def _untold(checkpoint: Checkpoint, layers: Sequence[Rows]) -> tuple[Untold, ...]:
    """What cannot be said and why, each reason once."""
    told = [Untold(why=note) for note in checkpoint.notes]
    without = [layer for layer in layers if layer.weight.memory is None and layer.weight.state is None]
    if without and len(without) == len(layers):
        told.append(Untold(why=Why(NotTold.NO_OPTIMIZER)))
    reasons: dict[Why, list[ParameterRef]] = {}
    for layer in layers:
        memory, state = layer.weight.memory, layer.weight.state
        why = (silence_of(memory).untold or _cut_short(layer)) if memory is not None else state
        if why is not None and why.kind not in _LABELS and not layer.weight.embedding:
            reasons.setdefault(why, []).append(_ref(layer))
    told += [Untold(why=why, weights=tuple(weights)) for why, weights in reasons.items()]
    frozen = Why(NotTold.FROZEN)
    if held := tuple(_ref(layer) for layer in layers if layer.weight.state == frozen):
        told.append(Untold(why=frozen, weights=held))
    decayed = any(_decays(layer.weight) for layer in layers)
    if checkpoint.earlier is not None and decayed:
        told.append(Untold(why=Why(NotTold.DECAY_MOVES)))
    return tuple(told)


_LABELS = (NotTold.FROZEN, NotTold.NOT_IN_OPTIMIZER, NotTold.NOT_MATCHED)
"""What the table says of a weight, or a note about the whole file."""


def _cut_short(layer: Rows) -> Why | None:
    """Why longer silences, or any, do not show in this weight."""
    memory, silence = layer.weight.memory, layer.silence
    if memory is None or silence is None:
        return None
    if memory.coupled and memory.first is not None and not (silence.low >= limit.SILENT_STEPS).any():
        return Why(NotTold.COUPLED_DECAY)
    return None


def _decays(weight: WeightRows) -> bool:
    return weight.memory is not None and weight.memory.decays
