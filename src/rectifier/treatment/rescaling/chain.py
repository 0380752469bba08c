"""What each layer reads, for the gains that are known, and how large its output is, seen in one forward."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rectifier.catalogue import parse
from rectifier.hooks.calls import functions
from rectifier.sandbox import Pass, tensors_in, undisturbed
from rectifier.treatment.rescaling.layers import Layer, deviation, root_mean_square


@dataclass(frozen=True, slots=True)
class Reads:
    """What a tensor holds.

    Attributes:
        words: For a reader: `the input`, `relu`, the path of a layer.
        gain: What a layer that reads it needs to keep the mean square; None where that has to be measured.
    """

    words: str
    gain: float | None


SOMETHING_ELSE = Reads("something else", None)


@dataclass(slots=True)
class Call:
    """The first call of a layer.

    Attributes:
        reads: What it was given.
        deviation: Of its output, over all of its entries.
    """

    reads: Reads
    deviation: float = float("nan")


class _Eyes:
    """Knows of each storage what was last written there, and by whom.

    A sum, a pooling or a dropout makes a tensor of its own, of which nothing is known; a view shares its storage with
    what it is a view of, and an operation in place raises the version that both of them count.
    """

    armed = True

    def __init__(self, inputs: Any) -> None:
        self.calls: dict[str, Call] = {}
        self._made: dict[int, tuple[Reads, int, Tensor]] = {}
        for tensor in tensors_in(inputs):
            if tensor.is_floating_point():
                self._note(tensor, Reads("the input", 1.0))

    def _note(self, tensor: Tensor, reads: Reads) -> None:
        if tensor.layout is not torch.strided:
            return
        # The tensor is kept, so that no other can come to lie in its place.
        self._made[tensor.untyped_storage().data_ptr()] = (reads, tensor._version, tensor)

    def _at(self, tensor: Tensor) -> Reads:
        if tensor.layout is not torch.strided:
            return SOMETHING_ELSE
        reads, version, _ = self._made.get(tensor.untyped_storage().data_ptr(), (SOMETHING_ELSE, -1, None))
        return reads if version == tensor._version else SOMETHING_ELSE

    def taken(self, layer: Layer, tensor: Tensor) -> None:
        self.calls.setdefault(layer.path, Call(self._at(tensor)))

    def given(self, layer: Layer, output: Tensor) -> None:
        call = self.calls[layer.path]
        if call.deviation != call.deviation:
            call.deviation = deviation(output)
        self._note(output, Reads(layer.path, 1.0))

    # As an observer of activation calls.

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reads:
        tensor = args[0] if args else kwargs["input"]
        source = self._at(tensor)
        choice = parse(functions.describe(name, args, kwargs))
        if name == "prelu":
            slopes = args[1] if len(args) > 1 else kwargs["weight"]
            choice = parse(f"prelu:{root_mean_square(slopes)!r}")
        # The catalogue's gain is for what a layer puts out: its mean is 0, its mean square 1.
        return Reads(choice.spec, choice.gain if source.gain == 1 else None)

    def after(self, token: Reads, output: Tensor) -> None:
        self._note(output, token)


@torch.no_grad()
def look(given: Pass, layers: Sequence[Layer]) -> dict[str, Call]:
    """The first call of each layer, in their order; the model runs once, without gradients.

    Raises:
        CannotRescale: The model does not take the batch.
    """
    eyes = _Eyes(given.inputs)

    def before(layer: Layer) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            eyes.taken(layer, next(tensors_in((args, kwargs))))

        return layer.module.register_forward_pre_hook(hook, with_kwargs=True)

    def after(layer: Layer) -> Any:
        return layer.module.register_forward_hook(lambda module, args, output: eyes.given(layer, output))

    handles = [register(layer) for layer in layers for register in (before, after)]
    forget = functions.observe(eyes)
    try:
        with undisturbed(given.model, training=True, seed=0):
            given.run()
    finally:
        forget()
        for handle in handles:
            handle.remove()
    return eyes.calls
