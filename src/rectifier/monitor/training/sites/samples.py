"""How many *distinct* samples were seen. Four points shown 750 times are four samples, not 3,000.

Each input of the model is reduced to 64 bits, an integer product of its bit pattern with a fixed vector. Integers
add up the same in any order, so a sample has the same fingerprint in every batch; two different ones share one with
probability 2⁻⁶⁴. A sample that is augmented anew at every visit counts as a new one, which it is.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rectifier.records import MOST_TOLD_APART, InputFacts, IntArray
from rectifier.sandbox import tensors_in

_MOST_FEATURES = 16_384
# Losses whose graph is read for what the first layers are given.
_MOST_READ = 4
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class DistinctSamples:
    """Remembers for each distinct input the last step at which it was seen.

    Up to `MOST_TOLD_APART` inputs are kept; later new ones are not counted, so every number here is then a lower bound,
    and every bound computed from it too wide rather than too narrow.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[int, Tensor]] = []
        self._last_seen: dict[int, int] = {}
        self._directions: dict[tuple[int, torch.device], Tensor] = {}
        self._square: Tensor | None = None
        self._total: Tensor | None = None
        self._values = self._entries = 0
        self._low: Tensor | None = None
        self._high: Tensor | None = None
        self._bad: list[tuple[int, Tensor]] = []
        self._nonfinite_step: int | None = None
        self._nonfinite_samples = self._samples = self._batches = self._batches_of_one = 0
        self._given: list[Tensor] = []
        self._unknown = False
        self.visits_since_new = 0

    def see(self, inputs: object, step: int, *, measured: bool = False, rows: int | None = None) -> int | None:
        """Note the batch that a forward was given; does not wait for the device.

        A tensor that was computed with weights is none of the data's, and changes as they do.

        Args:
            inputs: The forward's arguments, with tensors also inside mappings and sequences.
            step: The training step.
            measured: Add the size of the largest floating tensor to `rms`.
            rows: Entries of the first site's first axis. Only tensors whose first axes agree with it say what a sample
                is; without any, no distinct number is told at all. None: the largest tensor says it.

        Returns:
            How many samples there are, where that could be told.
        """
        tensors = [tensor for tensor in tensors_in(inputs) if tells_samples_apart(tensor) and tensor.grad_fn is None]
        agreeing = tensors if rows is None else [tensor for tensor in tensors if _agrees(tensor.shape, rows)]
        self._unknown |= not agreeing
        if not tensors:
            return None
        samples = max(agreeing or tensors, key=Tensor.numel).shape[0]
        parts = [tensor.detach() for tensor in agreeing or tensors if tensor.shape[0] == samples]
        if measured:
            self._measure(parts, step)
        if not agreeing:
            return None
        prints = self._fingerprints(parts[0])
        for part in parts[1:]:
            # Odd factors lose nothing; without them, exchanging two inputs would go unnoticed.
            prints = prints * 0x9E3779B1 + self._fingerprints(part).to(prints.device)
        self._pending.append((step, prints))
        return samples

    def _fingerprints(self, batch: Tensor) -> Tensor:
        flat = batch.reshape(batch.shape[0], -1)
        if flat.shape[1] > _MOST_FEATURES:
            flat = flat[:, :: -(-flat.shape[1] // _MOST_FEATURES)]
        bits = flat.contiguous().view(_INTEGERS[flat.element_size()]).to(torch.int64)
        key = (bits.shape[1], bits.device)
        if key not in self._directions:
            # Its own generator: the user's random stream is not touched.
            own = torch.Generator().manual_seed(0x5EED)
            vector = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=own)
            self._directions[key] = (vector * 2 + 1).to(bits.device)
        return (bits * self._directions[key]).sum(1)

    def _measure(self, parts: list[Tensor], step: int) -> None:
        largest = max((part for part in parts if part.is_floating_point()), key=Tensor.numel, default=None)
        if largest is None:
            return
        self._note_range(largest, step)
        # Half precision would overflow at 65,504; and γ² is a small difference of large sums. MPS has no float64.
        wide = torch.float32 if largest.device.type == "mps" else torch.float64
        square = torch.linalg.vector_norm(largest, dtype=wide).square()
        total = largest.sum(0, dtype=wide)
        first = self._square is None
        self._square = square if self._square is None else self._square + square.to(self._square.device)
        if first:
            self._total = total
        elif self._total is not None:
            # Inputs of several shapes have no features whose mean could be told.
            self._total = self._total + total.to(self._total.device) if self._total.shape == total.shape else None
        self._values += largest.numel()
        self._entries += len(largest)

    def _note_range(self, batch: Tensor, step: int) -> None:
        """What varies between samples, and what is not finite."""
        self._batches += 1
        self._batches_of_one += len(batch) == 1
        self._samples += len(batch)
        flat = batch.reshape(len(batch), -1)
        # A sum of numbers is finite only where they all are.
        self._bad.append((step, (~torch.isfinite(flat.sum(1, dtype=torch.float32))).sum()))
        low, high = torch.aminmax(flat[:, :_MOST_FEATURES], dim=0)
        if self._low is None or self._high is None or self._low.shape != low.shape:
            # Of inputs of several lengths, what the last ones say.
            self._low, self._high = low, high
        else:
            self._low, self._high = torch.minimum(self._low, low), torch.maximum(self._high, high)

    @property
    def wants_first_layers(self) -> bool:
        """Whether `note_first_layers` would keep anything."""
        return len(self._given) < _MOST_READ

    def note_first_layers(self, given: Tensor) -> None:
        """Keep what the first layers are given.

        Args:
            given: (2,) mean square, and mean square of the distance from the mean of the rows.
        """
        self._given.append(given)

    @property
    def facts(self) -> InputFacts | None:
        """What was measured of the inputs; None where none was; this waits for the device."""
        if self._low is None or self._high is None:
            return None
        for step, bad in self._bad:
            count = int(bad)
            self._nonfinite_samples += count
            if count and self._nonfinite_step is None:
                self._nonfinite_step = step
        self._bad.clear()
        given = torch.stack([one.cpu() for one in self._given]).mean(0).tolist() if self._given else (None, None)
        return InputFacts(
            constant_features=int((self._low == self._high).sum()),
            features=len(self._low),
            nonfinite_step=self._nonfinite_step,
            nonfinite_samples=self._nonfinite_samples,
            samples=self._samples,
            batches=self._batches,
            batches_of_one=self._batches_of_one,
            zero=bool(((self._low == 0) & (self._high == 0)).all()),
            given_square=given[0],
            given_spread=given[1],
        )

    @property
    def rms(self) -> float | None:
        """Root mean square of what was measured; this waits for the device."""
        return None if self._square is None else float((self._square / self._values).sqrt())

    @property
    def offset(self) -> float | None:
        """γ = ‖μ‖/‖σ‖ over the features; None where nothing varies, or the shape does; this waits for the device."""
        if self._square is None or self._total is None or self._entries < 2:
            return None
        mean = float((self._total / self._entries).square().sum())
        variance = float(self._square) / self._entries - mean
        # Below this it is rounding.
        return (mean / variance) ** 0.5 if variance > 1e-12 * mean else None

    def update(self) -> None:
        """Sort in the batches seen since the last call; this waits for the device."""
        for step, prints in self._pending:
            values = prints.cpu().tolist()
            known = len(self._last_seen)
            for value in values:
                if value in self._last_seen or len(self._last_seen) < MOST_TOLD_APART:
                    self._last_seen[value] = step
            self.visits_since_new = self.visits_since_new + len(values) if len(self._last_seen) == known else 0
        self._pending.clear()

    @property
    def count(self) -> int | None:
        """Distinct inputs seen so far; None where no tensor among the inputs says what a sample is."""
        return None if self._unknown else len(self._last_seen) or None

    def since(self, steps: IntArray) -> IntArray | None:
        """For each step, how many distinct inputs were seen after it; None where they could not be told apart."""
        if self.count is None:
            return None
        ordered = np.sort(np.fromiter(self._last_seen.values(), np.int64, len(self._last_seen)))
        return (len(ordered) - np.searchsorted(ordered, steps, side="right")).astype(np.int64)


def _agrees(shape: Sequence[int], rows: int) -> bool:
    """Whether the first axes have as many entries as a site has rows: samples, or the tokens of samples."""
    product = 1
    for size in shape:
        product *= size
        if product >= rows:
            break
    return product == rows


def tells_samples_apart(tensor: Tensor) -> bool:
    """Whether a tensor among a forward's arguments holds one entry for each sample, in numbers that can be compared."""
    return bool(tensor.ndim and tensor.numel()) and tensor.layout == torch.strided and not tensor.is_complex()
