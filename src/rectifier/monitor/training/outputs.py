"""What the graphs of losses say of a model's outputs and of their targets, at some steps."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rectifier.hooks.graph.loss_outputs import OutputLayer
from rectifier.records import Output, OutputWindow

# The first losses are all read, then each time that a fifth of the steps so far has passed.
_FIRST_READ = 4
_GROWTH = 1.2
# Of a step with many losses (accumulated gradients) the first ones.
_MOST_A_STEP = 8
_MOST_OUTPUTS = 32
_MOST_VALUES = 1 << 18
# Above so many classes their shares are not counted.
_MOST_CLASSES = 1 << 17
# Of more classes than these the counts of all readings are not kept.
_MOST_POOLED = 1 << 12
# A target lies out of an activation's reach if it is this share of its range outside of it: not by rounding.
_OUTSIDE = 0.01
# Rows of which each unit has a mean target of its own: of fewer, its entropy is far too small.
_LEAST_FOR_UNITS = 16
_FIELDS = (
    "rows", "square", "spread", "constant_units", "wrongly_constant_units", "features_square", "features_spread",
    "features_cosine", "target_spread", "target_square", "classes", "class_entropy", "nonfinite_output",
    "nonfinite_features", "nonfinite_target", "targets_out_of_reach", "cost", "pooled_entropy",
    "class_overlap", "share_entropy", "unit_entropy", "target_entropy",
)  # fmt: skip
_WHOLE = {
    "rows", "constant_units", "wrongly_constant_units", "classes", "nonfinite_output", "nonfinite_features",
    "nonfinite_target",
}  # fmt: skip


class OutputRecords:
    """All outputs met in one process.

    Args:
        tell: Told of each that is met.
        where: Model and path of a weight.
    """

    def __init__(self, tell: Callable[[Output], None], where: Callable[[Tensor], tuple[str, str]]) -> None:
        self._tell, self._where = tell, where
        self.begin_again()

    def begin_again(self) -> None:
        """Forget everything (in a forked child)."""
        self._numbers: dict[tuple[str, str, str, int], int] = {}
        self._waiting: list[tuple[int, int, Tensor]] = []
        self._settled: dict[int, dict[int, list[float]]] = {}
        self._pooled: dict[int, Tensor] = {}
        self._before: dict[int, tuple[int, Tensor]] = {}
        self._next = self._latest = self._read_in_step = 0

    def due(self, step: int) -> bool:
        """Whether the graph of a loss of this step is to be read."""
        return step >= self._next and not (step == self._latest and self._read_in_step >= _MOST_A_STEP)

    def note(self, step: int, outputs: list[OutputLayer]) -> None:
        """Keep what one loss's graph said.

        Args:
            step: The training's.
            outputs: Of that graph.
        """
        self._read_in_step = self._read_in_step + 1 if step == self._latest else 1
        self._latest = step
        self._next = step if step < _FIRST_READ else math.ceil((step + 1) * _GROWTH)
        with torch.no_grad():
            for output in outputs:
                number = self._number_of(output)
                if number is not None and output.values is not None:
                    self._waiting.append(
                        (
                            number,
                            step,
                            torch.cat([_facts(output), self._compare(number, step, output), _share_entropies(output)]),
                        )
                    )

    def _compare(self, number: int, step: int, output: OutputLayer) -> Tensor:
        """(2,) of the classes of an output: entropy of all readings so far, and what they share with the loss before.

        NaN where there are none, or too many; and where the loss before was not read.
        """
        assert output.values is not None
        found = torch.full((2,), math.nan, dtype=torch.float64, device=output.values.device)
        if output.target is None or not 0 < output.classes <= _MOST_POOLED:
            return found
        counts = pooled = _counts(output.target, output.classes)
        total = self._pooled.get(number)
        if total is not None and total.shape == counts.shape and total.device == counts.device:
            pooled = counts + total
        self._pooled[number] = pooled
        found[0] = _entropy(pooled)
        last, before = self._before.get(number, (-2, counts))
        if step - last <= 1 and before.shape == counts.shape and before.device == counts.device:
            found[1] = torch.minimum(_shares(counts), _shares(before)).sum()
        self._before[number] = step, counts
        return found

    def _number_of(self, output: OutputLayer) -> int | None:
        model, path = self._where(output.weight)
        units = output.values.shape[1] if output.values is not None else 0
        key = (model, path, output.kind, units)
        if key not in self._numbers:
            if len(self._numbers) >= _MOST_OUTPUTS:
                return None
            self._numbers[key] = len(self._numbers)
            low, high = output.bounds or (-math.inf, math.inf)
            self._tell(
                Output(
                    model=model, weight=path, operation=output.kind, units=units, loss=output.loss,
                    linear=output.linear,
                    one_element=output.one_element, flat=output.flat,
                    lowest=low if math.isfinite(low) else None, highest=high if math.isfinite(high) else None,
                )
            )  # fmt: skip
        return self._numbers[key]

    def read(self, *, finished: bool) -> tuple[OutputWindow, ...]:
        """One window per output that was read since the last finished one; this waits for the device.

        Args:
            finished: Begin the next window afterwards.
        """
        for number, step, facts in self._waiting:
            by_step = self._settled.setdefault(number, {})
            # Of several losses in one step the last one counts.
            by_step[step] = facts.tolist()
        self._waiting.clear()
        windows = tuple(_window(number, self._settled[number]) for number in sorted(self._settled))
        if finished:
            self._settled.clear()
        return windows


def _window(number: int, by_step: dict[int, list[float]]) -> OutputWindow:
    table = np.array([by_step[step] for step in sorted(by_step)], np.float64)
    columns: dict[str, Any] = {name: table[:, at] for at, name in enumerate(_FIELDS)}
    columns.update((name, columns[name].astype(np.int64)) for name in _WHOLE)
    return OutputWindow(output=number, steps=np.array(sorted(by_step), np.int64), **columns)


def _facts(output: OutputLayer) -> Tensor:
    """The numbers of `_FIELDS`, on the device."""
    assert output.values is not None
    values = _some(output.values)
    square, spread, constant = _variation(values)
    nan = torch.full((), math.nan, dtype=torch.float64, device=values.device)
    none, zero = nan.new_full((), -1.0), nan.new_zeros(())
    features_square = features_spread = cosine = nan
    bad_features = zero
    if output.features is not None and len(output.features):
        features = _some(output.features)
        features_square, features_spread, _ = _variation(features)
        cosine = _mean_cosine(features)
        bad_features = (~torch.isfinite(output.features).all()).double()
    target_spread = target_square = entropy = nan
    wrong = classes = none
    bad_target = zero
    out_of_reach = nan
    cost = nan if output.cost is None else output.cost.double()
    if output.target is not None and output.classes:
        classes, entropy = _classes(output.target, output.classes)
    elif output.target is not None:
        target = _some(output.target)
        target_square, target_spread, same = _variation(target)
        bad_target = (~torch.isfinite(output.target).all()).double()
        if output.rebuilt:
            # Of an output that is not finite no target is known.
            bad_target = bad_target * torch.isfinite(output.values).all()
        if output.bounds is not None:
            low, high = output.bounds
            outside = _OUTSIDE * (1.0 if math.isinf(high) or math.isinf(low) else high - low)
            out_of_reach = ((target < low - outside) | (target > high + outside)).double().mean()
        if output.aligned and target.shape == values.shape:
            wrong = (constant & ~same).sum().double()
    return torch.stack(
        [
            nan.new_full((), float(len(output.values))), square, spread, constant.sum().double(), wrong,
            features_square, features_spread, cosine, target_spread, target_square, classes, entropy,
            (~torch.isfinite(output.values).all()).double(), bad_features, bad_target, out_of_reach,
            cost,
        ]
    )  # fmt: skip


def _some(tensor: Tensor) -> Tensor:
    """Rows of it, not more numbers than can be looked at quickly."""
    kept = tensor[: max(2, _MOST_VALUES // max(tensor[0].numel(), 1))]
    return kept.float() if kept.device.type == "mps" else kept.double()


def _variation(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean square, mean square of the distance from the mean row, and which units are the same in all rows."""
    return rows.square().mean().double(), (rows - rows.mean(0)).square().mean().double(), (rows == rows[:1]).all(0)


def _mean_cosine(rows: Tensor) -> Tensor:
    """Between different rows: from the length of the mean of their directions."""
    n = len(rows)
    if n < 2:
        return torch.full((), math.nan, dtype=torch.float64, device=rows.device)
    # Of a row of zeros the direction is 0. Not by `clamp`, which is an activation, too.
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    directions = rows / (lengths + 1e-30)
    return ((directions.sum(0).square().sum() - n) / (n * (n - 1))).double()


def _classes(target: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """How many different classes there are, and the entropy of their shares; without waiting for the device."""
    flat = target.detach().reshape(-1).to(torch.int64)
    if not 0 < classes <= _MOST_CLASSES:
        nan = torch.full((), math.nan, dtype=torch.float64, device=flat.device)
        return nan.new_full((), -1.0), nan
    counts = _counts(flat, classes)
    return (counts > 0).sum().double(), _entropy(counts).double()


def _counts(target: Tensor, classes: int) -> Tensor:
    """How often each class comes."""
    flat = target.detach().reshape(-1).to(torch.int64)
    # What is to be ignored is outside of the classes, and counts in a bin of its own.
    bins = torch.where((flat >= 0) & (flat < classes), flat, classes)
    wide = torch.float32 if flat.device.type == "mps" else torch.float64
    counts = torch.zeros(classes + 1, dtype=wide, device=flat.device)
    return counts.scatter_add(0, bins, torch.ones_like(bins, dtype=wide))[:classes]


def _entropy(counts: Tensor) -> Tensor:
    """Of the shares of these counts, in nats."""
    entropy: Tensor = torch.special.entr(_shares(counts)).sum()
    return entropy


def _shares(counts: Tensor) -> Tensor:
    total = counts.sum()
    return counts / (total + (total == 0))


def _share_entropies(output: OutputLayer) -> Tensor:
    """(3,) of targets between 0 and 1 of a binary cross-entropy: of the units' means, the largest, of the targets.

    The mean of n rows has an error, by which its entropy is too small: by s² / (2 n p (1 - p)), which is 1 / 2n for
    zeros and ones (Miller 1955). Of few rows the mean of all units stands for each: its entropy is an upper bound.
    """
    assert output.values is not None
    unknown = torch.full((3,), math.nan, dtype=torch.float64, device=output.values.device)
    if output.target is None or not output.shares:
        return unknown
    target = _some(output.target)
    mean = largest = _binary_entropy(target.mean())
    if len(target) >= _LEAST_FOR_UNITS:
        means = target.mean(0)
        # Where all are 0, or all 1, the product is 0, and so is the error.
        product = means * (1 - means)
        units = _binary_entropy(means) + target.var(0) / (2 * len(target) * (product + (product == 0)))
        mean, largest = torch.minimum(units.mean(), mean), units.max()
    found = torch.stack([mean, largest, _binary_entropy(target).mean()]).double()
    return torch.where((target >= 0).all() & (target <= 1).all(), found, unknown)


def _binary_entropy(share: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(share) + torch.special.entr(1 - share)
    return entropy
