"""What rescaling did: the gain of every layer before and after, what was left alone and why, and the way back."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rectifier.errors import CannotRescale
from rectifier.records import RescaledLayers
from rectifier.treatment.change import Change
from rectifier.treatment.rescaling.layers import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGain:
    """One layer's scale.

    Attributes:
        layer: Path of the layer in the model.
        reads: What its input is made of: `the input`, `relu`, `leaky_relu:0.1`, `something else`.
        gain_before: `√(fan_in·E[w²])` as it was; 1 keeps the mean square of the layer's input.
        gain_after: As it is.
        deviation_before: Standard deviation of its output over the batch, all units and positions, as it was.
        deviation_after: As it is, every layer being rescaled.
    """

    layer: str
    reads: str
    gain_before: float
    gain_after: float
    deviation_before: float
    deviation_after: float

    def __str__(self) -> str:
        gains = f"gain {self.gain_before:.3g} → {self.gain_after:.3g}"
        return (
            f"{self.layer}: {gains}, reads {self.reads}, "
            f"output's deviation {self.deviation_before:.3g} → {self.deviation_after:.3g}"
        )


class Rescaled(Change):
    """What `rescale` did to a model's initial weights.

    Attributes:
        mode: `gain` or `lsuv`.
        gains: One entry for each layer that was rescaled, in the order of their calls.
        left: (layer, reason) of each that was left alone.
    """

    def __init__(self, mode: str) -> None:
        super().__init__("initial weights", f"rescaled ({mode})")
        self.mode = mode
        self.gains: tuple[LayerGain, ...] = ()
        self.left: tuple[tuple[str, str], ...] = ()

    def fact(self, model: str) -> RescaledLayers:
        """What was rescaled in a model of that class."""
        factors = [gain.gain_after / gain.gain_before for gain in self.gains]
        return RescaledLayers(
            model=model,
            mode=self.mode,
            layers=len(factors),
            smallest_factor=min(factors),
            largest_factor=max(factors),
            left_alone=len(self.left),
        )

    def undo(self) -> None:
        """Put the weights back, bit for bit.

        Warning:
            Only as long as nothing has trained. An old scale does not fit what was learned since.

        Raises:
            CannotRescale: Something of what was written has changed since; nothing was put back.
        """
        moved = next((reason for step in self._steps if (reason := step.blocked()) is not None), None)
        if moved is not None and not self.undone:
            raise CannotRescale(
                f"Cannot undo the rescaling: {moved} has moved since. The initial weights do not fit what was learned, "
                "and nothing was put back. Load a checkpoint from before, or call undo() before training."
            )
        super().undo()

    def __repr__(self) -> str:
        count = len(self.gains)
        state = " (undone)" if self.undone else ""
        lines = [f"{self.old} → {self.new} in {count} layer{'' if count == 1 else 's'}{state}"]
        lines += [f"  {gain}" for gain in self.gains]
        lines += [f"  left alone: {layer}, {reason}" for layer, reason in self.left]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


class Scaled:
    """A layer's weight times a factor; see `rectifier.treatment.change.Step`.

    Only the old values are kept: the new ones are computed from them again when it is asked whether they still stand.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.factor = 1.0
        self._old = layer.weight.detach().clone()

    def set(self, factor: float) -> None:
        """Write the old values times a factor."""
        self.factor = factor
        with torch.no_grad():
            self.layer.weight.copy_(self._new())

    def _new(self) -> Tensor:
        return self._old if self.factor == 1 else self._old * self.factor

    def blocked(self) -> str | None:
        """See `Step`."""
        now, then = self.layer.weight.detach(), self._old
        alike = (now.shape, now.dtype, now.device) == (then.shape, then.dtype, then.device)
        return None if alike and torch.equal(now, self._new()) else f"{self.layer.path}.weight"

    def revert(self) -> None:
        """See `Step`."""
        with torch.no_grad():
            self.layer.weight.copy_(self._old)
