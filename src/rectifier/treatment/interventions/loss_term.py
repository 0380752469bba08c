"""One addend of the loss without an effect: its gradient is 0, and the loss that the script prints is as it was."""

from typing import Any

import torch
from torch import Tensor

from rectifier.hooks.addends import Sums
from rectifier.records import Change
from rectifier.treatment.interventions.intervening import Intervening


class LossTermOff(Intervening):
    """The addend of this index passes no gradient.

    Args:
        index: In the order in which the addends are written; one that a loss does not have changes nothing.
    """

    def __init__(self, index: int) -> None:
        super().__init__(Change.LOSS_TERM_OFF)
        self._index = index
        self._sums = Sums()

    def start(self) -> None:
        """Begin."""
        super().start()
        self._undo.append(self._sums.start())

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """The graph is there: find the addend."""
        addends = self._sums.of(loss)
        self._sums.forget()
        if not 0 <= self._index < len(addends):
            return
        addend = addends[self._index]

        def without(gradients: tuple[Tensor | None, ...], above: Any) -> tuple[Tensor | None, ...]:
            kept = list(gradients)
            gradient = kept[addend.input]
            kept[addend.input] = None if gradient is None else torch.zeros_like(gradient)
            return tuple(kept)

        addend.node.register_hook(without)
        self.note(f"{addend.text} ({addend.place})")
