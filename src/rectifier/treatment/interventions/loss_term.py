"""One addend of the loss without an effect: its gradient is 0. The script prints the whole loss, we keep the rest."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from rectifier.hooks.microscope.addends import Addend, Sums, terms_of
from rectifier.hooks.training import around_backward
from rectifier.records import Change, ChangedPart
from rectifier.treatment.interventions.intervening import Intervening


class LossTermOff(Intervening):
    """The term of this index passes no gradient.

    Args:
        index: In the order in which the terms are written; one that a loss does not have changes nothing.
    """

    def __init__(self, index: int) -> None:
        super().__init__(Change.LOSS_TERM_OFF)
        self._index = index
        self._sums = Sums()

    def start(self) -> None:
        """Begin."""
        self._undo.append(self._sums.start())
        self._undo.append(around_backward(self._backward))

    def _backward(self, original: Callable[..., None], tensors: Any, *args: Any, **kwargs: Any) -> None:
        """The graph is there: find the term."""
        addends = self._sums.of(tensors) if isinstance(tensors, Tensor) and tensors.numel() == 1 else []
        terms = terms_of(addends)
        self._sums.forget()
        if 0 <= self._index < len(terms) and len(terms) > 1:
            term = terms[self._index]
            parts = [_part_of(tensors, addend) for addend in term]
            for addend in term:
                self._take_out(addend)
            self.note(f"{term[0].text} ({term[0].place})", ChangedPart(name=term[0].text, place=term[0].place))
            known = [part for part in parts if part is not None]
            if len(known) == len(parts):
                # Whoever listens hears of the loss that is left.
                tensors = tensors - sum(known)
        original(tensors, *args, **kwargs)

    def _take_out(self, addend: Addend) -> None:

        def without(gradients: tuple[Tensor | None, ...], above: Any) -> tuple[Tensor | None, ...]:
            kept = list(gradients)
            gradient = kept[addend.input]
            kept[addend.input] = None if gradient is None else torch.zeros_like(gradient)
            return tuple(kept)

        addend.node.register_hook(without)


def _part_of(loss: Tensor, addend: Addend) -> Tensor | None:
    """How much of a loss an addend is: what it is times what the loss makes of each of its numbers.

    Between a loss and its addends all is linear, so that its gradient there tells that.
    """
    if addend.value is None:
        return None
    kept: list[Tensor | None] = []

    def keep(gradients: tuple[Tensor | None, ...], above: Any) -> None:
        kept.append(gradients[addend.input])

    handle = addend.node.register_hook(keep)
    try:
        edge = GradientEdge(*addend.node.next_functions[addend.input])
        if not hasattr(edge.node, "variable"):
            torch.autograd.grad(loss, [edge], retain_graph=True, allow_unused=True)
    finally:
        handle.remove()
    if not kept or kept[0] is None:
        return None
    factor, value = kept[0].detach(), addend.value
    if factor.shape == value.shape:
        return (factor * value).sum()
    return factor.sum() * value if value.numel() == 1 else None
