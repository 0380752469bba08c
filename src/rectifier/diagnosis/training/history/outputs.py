"""What the windows of one output say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import entr

from rectifier.diagnosis import thresholds as limit
from rectifier.records import (
    BoolArray,
    FloatArray,
    IntArray,
    Output,
    OutputWindow,
    ParameterRef,
    Process,
    Snapshot,
    Yardstick,
)


@dataclass(frozen=True)
class OutputHistory:
    """An output and all of its windows.

    Attributes:
        index: Position among the process's outputs.
        windows: Those with a reading.
        snapshot: The last one.
    """

    index: int
    output: Output
    windows: tuple[OutputWindow, ...]
    snapshot: Snapshot

    @property
    def parameter(self) -> ParameterRef | None:
        """The weight of its layer; None where that has none."""
        return ParameterRef(self.output.weight) if self.output.weight else None

    def ints(self, name: str) -> IntArray:
        """One of the whole numbers of all readings."""
        return np.concatenate([getattr(window, name) for window in self.windows])

    def floats(self, name: str) -> FloatArray:
        """One of the measures of all readings."""
        return np.concatenate([getattr(window, name) for window in self.windows]).astype(float)

    @cached_property
    def usable(self) -> BoolArray:
        """(K,) readings of enough rows, without NaN, in which rows could be compared."""
        usable: BoolArray = (
            (self.ints("rows") >= limit.LEAST_OUTPUT_ROWS)
            & np.isfinite(self.floats("spread"))
            & (self.ints("nonfinite_output") == 0)
        )
        return usable

    @cached_property
    def out_of_reach(self) -> FloatArray:
        """(K,) share of the targets that the last activation cannot give; NaN where that is not known."""
        return self.maybe("targets_out_of_reach")

    def maybe(self, name: str) -> FloatArray:
        """One of the measures that earlier records lack; NaN there."""
        known = [
            np.full(len(window.steps), np.nan) if getattr(window, name) is None else getattr(window, name)
            for window in self.windows
        ]
        return np.concatenate(known).astype(float)

    @cached_property
    def costs(self) -> FloatArray:
        """(K,) what the loss of torch that has the targets costs by itself; NaN where that is not known."""
        return self.maybe("cost")

    def late(self, known: BoolArray) -> BoolArray:
        """(K,) the known readings in the last third of the steps, three at least.

        Readings lie ever further apart: most of their last third comes long before the end.

        Args:
            known: (K,) those that count.
        """
        steps = self.ints("steps")
        third = int((known & (3 * steps >= 2 * steps[-1])).sum())
        late: BoolArray = known & (np.cumsum(known) > known.sum() - max(limit.LEAST_OBSERVATIONS, third))
        return late

    @property
    def comparable(self) -> bool:
        """Whether the loss has its targets in the output's own units, or on a scale close to it, as logits have."""
        return any(name in _LIKE_TARGETS for name in self.output.loss)

    def right_constant(self) -> BoolArray:
        """(K,) readings for whose targets a constant is nearly right.

        They hardly differ by more than rounding; or they are shares and classes of which one is nearly all.
        """
        spread, square = self.floats("target_spread"), self.floats("target_square")
        right: BoolArray = ~(spread > limit.CONSTANT_VARIANCE * square)
        if any(name in _SHARES for name in self.output.loss):
            right |= self.largest_entropy < limit.LEAST_ENTROPY
        return right

    @cached_property
    def largest_entropy(self) -> FloatArray:
        """(K,) of the mean target of any unit, of targets between 0 and 1; of all of them, where that is not known."""
        # Of zeros and ones the mean square is the share of ones.
        share = np.clip(np.nan_to_num(self.floats("target_square")), 0.0, 1.0)
        largest = self.maybe("unit_entropy")
        return np.where(np.isnan(largest), entr(share) + entr(1 - share), largest)

    @property
    def targets_kept(self) -> bool:
        """Whether any reading knows its targets."""
        return bool(np.isfinite(self.floats("target_spread")).any() or (self.ints("classes") >= 0).any())

    @property
    def targets_move(self) -> bool:
        """Whether the targets' size is another one at the end than at the beginning."""
        squares = self.floats("target_square")
        squares = squares[np.isfinite(squares)]
        third = max(limit.LEAST_OBSERVATIONS, len(squares) // 3)
        if len(squares) < 2 * third:
            return False
        first, last = float(np.median(squares[:third])), float(np.median(squares[-third:]))
        return max(first, last) > limit.MOVING_TARGETS * min(first, last)

    def best_constant(self) -> tuple[float, Yardstick] | None:
        """What the best answer that is the same for every row would cost, over the last readings (median).

        For classes the entropy of their shares, for squared errors the spread of the targets; both are too small in a
        sample of n rows: by (classes − 1) / 2n (Miller 1955), and by the factor (n − 1) / n. None for other losses,
        where the targets are not known, or hardly vary, or vary with the training (a value that is learned from its own
        estimates), and where a batch has too few rows of each class (words of a language).
        """
        if set(self.output.loss) & _RESCALED or self.targets_move:
            # The loss is a multiple of it, or has other parts; or there is no one constant.
            return None
        rows = np.maximum(self.ints("rows"), 2).astype(float)
        classes = self.ints("classes")
        if (classes > 1).any():
            costs = whole_entropy(self.floats("class_entropy"), classes, rows)
            known = (classes > 1) & np.isfinite(costs) & (rows >= limit.LEAST_PER_CLASS * classes)
            yardstick, least = Yardstick.CLASSES, limit.LEAST_ENTROPY
        elif any(name in _SQUARED for name in self.output.loss):
            costs = self.floats("target_spread") * rows / (rows - 1)
            known, yardstick, least = np.isfinite(costs), Yardstick.TARGETS, 0.0
        else:
            return None
        known &= self.ints("rows") >= limit.LEAST_OUTPUT_ROWS
        costs = costs[known]
        if len(costs) < limit.LEAST_OBSERVATIONS:
            return None
        cost = float(np.median(costs[-max(limit.LEAST_OBSERVATIONS, len(costs) // 3) :]))
        return (cost, yardstick) if cost > least else None


def whole_entropy(entropy: FloatArray, classes: IntArray, rows: FloatArray) -> FloatArray:
    """Entropy of the classes, from that of batches, which is too small (Miller 1955); at most ln C.

    Args:
        entropy: (K,) of each batch.
        classes: (K,) how many different ones are in each.
        rows: (K,) of each.
    """
    return np.minimum(entropy + (classes - 1) / (2 * rows), np.log(max(int(classes.max(initial=0)), 1)))


_SQUARED = frozenset({"MseLoss", "Pow"})
_RESCALED = frozenset({"Add", "Sum", "Mul", "Div", "Stack", "Cat"})
_SHARES = frozenset({"BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"})
_LIKE_TARGETS = frozenset({"SmoothL1Loss", "HuberLoss", "SoftMarginLoss"}) | _SQUARED | _SHARES


def read_outputs(process: Process) -> tuple[OutputHistory, ...]:
    """One history for each output that was ever read, in their order."""
    histories = []
    for index, output in enumerate(process.outputs):
        pairs = [
            (window, snapshot)
            for snapshot in process.snapshots
            for window in snapshot.outputs
            if window.output == index and len(window.steps)
        ]
        if pairs:
            histories.append(OutputHistory(index, output, tuple(window for window, _ in pairs), pairs[-1][1]))
    return tuple(histories)


def spans_of(outputs: Sequence[OutputHistory]) -> dict[str, tuple[int, int]]:
    """First and last step at which each model's outputs were read."""
    spans: dict[str, tuple[int, int]] = {}
    for one in outputs:
        steps = one.ints("steps")
        first, last = spans.get(one.output.model, (int(steps[0]), int(steps[-1])))
        spans[one.output.model] = min(first, int(steps[0])), max(last, int(steps[-1]))
    return spans
