"""Parameters, outputs, inputs and models of ranks that trained one model, counted together.

A parameter is unchanged only if it is so on every rank. How many of its gradients were absent or 0 on all ranks cannot
be told from their counts: of `n` steps that a rank looked at with `a` such steps and another one with `b`, at least
a + b - n were common, and only that is said. One of a rank that looked at other steps, or never met it, is not known to
be so anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rectifier.records.arrays import FloatArray, IntArray
from rectifier.records.training.loss import InputFacts, ModelState, Output, OutputWindow
from rectifier.records.training.parameter import OptimizerState, Parameter, ParameterCounts
from rectifier.records.training.process import Process
from rectifier.records.training.snapshot import Snapshot

Known = tuple[ParameterCounts | None, Sequence[int]]
"""What a rank knows, and the place of each of its parameters among all."""


@dataclass(frozen=True)
class Placed:
    """Parameters and outputs of all ranks, and where each rank's are among them.

    Attributes:
        parameters: In the order of the first rank, then what only others have met.
        outputs: Likewise.
        of_parameters: By rank, the place of each of its parameters.
        of_outputs: Likewise.
    """

    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    of_parameters: tuple[tuple[int, ...], ...]
    of_outputs: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, ranks: Sequence[Process]) -> "Placed":
        """Of the ranks of one training."""
        parameters: dict[tuple[object, ...], Parameter] = {}
        outputs: dict[tuple[object, ...], Output] = {}
        of_parameters, of_outputs = [], []
        for one in ranks:
            # Tensors that nobody holds have no name: their order tells them apart.
            keys = _numbered([(p.model, p.path, p.shape) for p in one.parameters])
            parameters |= {key: p for key, p in zip(keys, one.parameters, strict=True) if key not in parameters}
            of_parameters.append(keys)
            keys = _numbered([(o.model, o.weight, o.operation) for o in one.outputs])
            outputs |= {key: o for key, o in zip(keys, one.outputs, strict=True) if key not in outputs}
            of_outputs.append(keys)
        places, out = list(parameters), list(outputs)
        return cls(
            parameters=tuple(parameters.values()),
            outputs=tuple(outputs.values()),
            of_parameters=tuple(tuple(map(places.index, keys)) for keys in of_parameters),
            of_outputs=tuple(tuple(map(out.index, keys)) for keys in of_outputs),
        )


def _numbered(names: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    seen: dict[tuple[object, ...], int] = {}
    keys = []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        keys.append((*name, seen[name]))
    return keys


def merge_parameters(known: Sequence[Known], number: int) -> ParameterCounts | None:
    """What all ranks know of the parameters at the end of a stretch; None where none has looked at any.

    Args:
        known: By rank, also of those that know nothing.
        number: How many parameters there are.
    """
    there = [(counts, places) for counts, places in known if counts is not None]
    if not there:
        return None

    def column(name: str, absent: float) -> FloatArray:
        """(ranks, parameters)."""
        rows = np.full((len(known), number), absent)
        for row, (counts, places) in zip(rows, known, strict=True):
            if counts is not None:
                values = getattr(counts, name)
                row[list(places[: len(values)])] = values
        return rows

    def whole(values: FloatArray) -> IntArray:
        result: IntArray = values.astype(np.int64)
        return result

    def first(name: str) -> IntArray:
        """The first step of any rank; -1 is never."""
        rows = column(name, -1)
        least = np.where(rows < 0, np.inf, rows).min(axis=0)
        return whole(np.where(np.isfinite(least), least, -1))

    def last(name: str) -> IntArray:
        return whole(column(name, -1).max(axis=0))

    def largest(name: str) -> FloatArray:
        """Of replicas they are the same; of ranks that hold parts, the whole has at least this norm."""
        rows = column(name, np.nan)
        most = np.where(np.isnan(rows), -np.inf, rows).max(axis=0)
        result: FloatArray = np.where(np.isneginf(most), np.nan, most)
        return result

    def real(name: str) -> FloatArray:
        """Of the first rank that knows it: settings are the same on all."""
        rows = column(name, np.nan)
        at = np.isnan(rows).argmin(axis=0)
        result: FloatArray = rows[at, np.arange(number)]
        return result

    looked = column("looked", 0)
    # Only ranks that looked at the same steps can be said to have seen the same ones.
    same = np.ones(number, bool)
    for name in ("looked", "first_looked", "last_looked"):
        rows = column(name, -1)
        same &= (rows == rows[0]).all(axis=0)

    def common(rows: FloatArray) -> FloatArray:
        least = rows.sum(axis=0) - (len(rows) - 1) * looked.max(axis=0)
        result: FloatArray = np.where(same, np.maximum(least, 0), 0)
        return result

    absent = common(column("without_gradient", 0))
    # Absent on one rank and 0 on another is 0 on all.
    nothing = common(column("without_gradient", 0) + column("zero_gradient", 0))
    optimizers, held = _optimizers(known, number)
    return ParameterCounts(
        first_looked=first("first_looked"),
        last_looked=last("last_looked"),
        looked=whole(looked.max(axis=0)),
        without_gradient=whole(absent),
        zero_gradient=whole(np.maximum(nothing - absent, 0)),
        last_nonzero=last("last_nonzero"),
        nonfinite_step=first("nonfinite_step"),
        connected=whole(column("connected", 0).sum(axis=0)),
        losses_read=sum(counts.losses_read for counts, _ in there),
        losses_with_new=sum(counts.losses_with_new for counts, _ in there),
        first_compared=first("first_compared"),
        last_compared=last("last_compared"),
        last_changed=last("last_changed"),
        nonfinite_weight_step=first("nonfinite_weight_step"),
        weight_first=largest("weight_first"),
        weight_last=largest("weight_last"),
        gradient=largest("gradient"),
        optimizer=held,
        learning_rate=real("learning_rate"),
        weight_decay=real("weight_decay"),
        epsilon=real("epsilon"),
        optimizers=optimizers,
        backward_passes=max(counts.backward_passes for counts, _ in there),
        optimizer_steps=max(counts.optimizer_steps for counts, _ in there),
        carried_looks=max(counts.carried_looks for counts, _ in there),
        carried=min(counts.carried for counts, _ in there),
        uses=whole(column("uses", 0).max(axis=0)) if all(counts.uses is not None for counts, _ in there) else None,
    )


def _optimizers(known: Sequence[Known], number: int) -> tuple[tuple[OptimizerState, ...], IntArray]:
    """All that any rank has met, with most steps; and which one holds each parameter."""
    found: dict[tuple[object, ...], OptimizerState] = {}
    held = np.full(number, -1, np.int64)
    for counts, places in known:
        if counts is None:
            continue
        keys = _numbered([(one.name,) for one in counts.optimizers])
        for key, one in zip(keys, counts.optimizers, strict=True):
            other = found.get(key, one)
            found[key] = replace(
                one,
                steps=max(one.steps, other.steps),
                skipped=max(one.skipped, other.skipped),
                without_gradients=min(one.without_gradients, other.without_gradients),
                scheduled=one.scheduled or other.scheduled,
            )
        order = list(found)
        for place, at in zip(places, counts.optimizer, strict=False):
            if at >= 0 and held[place] < 0:
                held[place] = order.index(keys[at])
    return tuple(found.values()), held


def merge_outputs(
    read: Sequence[tuple[Snapshot, Sequence[int]]], outputs: Sequence[Output]
) -> tuple[OutputWindow, ...]:
    """The readings of all ranks at one step as one.

    What tells rows of different ranks apart is not known: spreads, classes and their entropy are bounded from below.

    Args:
        read: Snapshots of a stretch, each with the place of its rank's outputs among all.
        outputs: All.
    """
    parts: dict[int, list[OutputWindow]] = {}
    for snapshot, places in read:
        for window in snapshot.outputs:
            parts.setdefault(places[window.output], []).append(window)
    return tuple(_output(place, parts[place], outputs[place].units) for place in sorted(parts))


_MEANS = (
    "square", "spread", "features_square", "features_spread", "features_cosine", "target_spread", "target_square",
    "class_entropy",
)  # fmt: skip
_COMMON = ("constant_units", "wrongly_constant_units")
_LARGEST = ("classes", "nonfinite_output", "nonfinite_features", "nonfinite_target")


def _output(place: int, windows: Sequence[OutputWindow], units: int) -> OutputWindow:
    def column(name: str) -> FloatArray:
        return np.concatenate([getattr(window, name) for window in windows])

    steps, where = np.unique(column("steps"), return_inverse=True)
    rows, ranks = np.bincount(where, column("rows")), np.bincount(where)
    found: dict[str, Any] = {}
    for name in (*_COMMON, *_LARGEST):
        unknown = np.bincount(where, column(name) < 0) > 0
        if name in _COMMON:
            # Units that are so on every rank: of two ranks with a and b of n such, at least a + b - n.
            known = np.maximum(np.bincount(where, column(name)) - (ranks - 1) * units, 0)
        else:
            known = np.zeros(len(steps))
            np.maximum.at(known, where, column(name))
        found[name] = np.where(unknown, -1, known).astype(np.int64)
    for name in _MEANS:
        found[name] = np.bincount(where, column(name) * column("rows")) / np.maximum(rows, 1)
    return OutputWindow(
        output=place,
        steps=steps.astype(np.int64),
        rows=rows.astype(np.int64),
        **found,
    )


def merge_inputs(facts: Sequence[InputFacts | None]) -> InputFacts | None:
    """What was given to the model on all ranks; None where a rank does not know it.

    A feature may differ between ranks that is constant on each, so that none is said to be constant, but of zeros.
    """
    known = [one for one in facts if one is not None]
    if not known or len(known) < len(facts):
        return None
    zero = all(one.zero for one in known)
    steps = [one.nonfinite_step for one in known if one.nonfinite_step is not None]
    features = min(one.features for one in known)
    return InputFacts(
        # Zeros are the one constant that is the same on all ranks.
        constant_features=features if zero else 0,
        features=features,
        nonfinite_step=min(steps, default=None),
        nonfinite_samples=sum(one.nonfinite_samples for one in known),
        samples=sum(one.samples for one in known),
        batches=sum(one.batches for one in known),
        batches_of_one=sum(one.batches_of_one for one in known),
        zero=zero,
        given_square=_mean_of([one.given_square for one in known]),
        given_spread=_mean_of([one.given_spread for one in known]),
    )


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def merge_models(ranks: Sequence[Sequence[ModelState]]) -> tuple[ModelState, ...]:
    """Losses of all ranks, and those in eval mode."""
    found: dict[str, ModelState] = {}
    for one in (state for states in ranks for state in states):
        other = found.get(one.name)
        found[one.name] = (
            one
            if other is None
            else replace(one, steps=one.steps + other.steps, eval_steps=one.eval_steps + other.eval_steps)
        )
    return tuple(found.values())
