"""Running the user's model on the side, to see what units do and that outputs stay."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from rectifier.errors import CannotRecycle
from rectifier.hooks.calls import functions
from rectifier.hooks.calls.tracker import CallTracker
from rectifier.sandbox import Pass, gradients_asked, tensors_in, undisturbed
from rectifier.treatment.recycling.trace import Recorder

Key = tuple[str, int]
"""Path of the module that applies an activation, and the number of the call in one forward."""

TOLERANCE = 1e-5
"""How far an output may move, relative to the largest output: rounding."""


class Laboratory:
    """A model and a batch.

    Args:
        given: Both.
    """

    def __init__(self, given: Pass) -> None:
        self.model = model = given.model
        self._given = given
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.modes: tuple[str, ...] = ("training", "evaluation")
        self.before = {mode: self.outputs(mode) for mode in self.modes}
        if not any(self.before.values()):
            raise CannotRecycle(f"{type(model).__name__} returned no tensor for the batch: nothing can be compared.")
        if not all(bool(out.isfinite().all()) for outputs in self.before.values() for out in outputs):
            raise CannotRecycle("The outputs on the batch are not finite: whether they stay the same cannot be told.")
        training, evaluation = self.before.values()
        if len(training) == len(evaluation) and all(map(torch.equal, training, evaluation)):
            self.modes = ("training",)

    def outputs(self, mode: str, watching: "Watching | None" = None) -> list[Tensor]:
        """The floating-point tensors that the model returns."""
        returned = self._run(mode, watching, None)
        return [tensor.detach().clone() for tensor in tensors_in(returned) if tensor.is_floating_point()]

    def trace(self, watching: "Watching", copies: frozenset[int] = frozenset()) -> Recorder:
        """One forward, as it is in training, with all its calls."""
        recorder = Recorder(copies)
        watching.recorder = recorder
        self._run("training", watching, recorder)
        return recorder

    def moved(self, mode: str, watching: "Watching | None" = None) -> float:
        """By how much the outputs differ from what they were, relative to the largest of them."""
        now = self.outputs(mode, watching)
        if [out.shape for out in now] != [out.shape for out in self.before[mode]]:
            return math.inf
        return max(_distance(new, old) for new, old in zip(now, self.before[mode], strict=True))

    def renew(self, mode: str) -> None:
        """Compare with the outputs as they are now, from here on."""
        self.before[mode] = self.outputs(mode)

    @property
    def tolerance(self) -> float:
        """`TOLERANCE`, or a few roundings of outputs in half precision."""
        return max([TOLERANCE, *(4 * torch.finfo(out.dtype).eps for out in self.before["training"])])

    def _run(self, mode: str, watching: "Watching | None", recorder: Recorder | None) -> Any:
        with ExitStack() as stack:
            stack.enter_context(undisturbed(self.model, training=mode == "training", seed=0))
            # Gradients are on, as where the findings come from: what the forward calls under `no_grad` is no site.
            stack.enter_context(torch.enable_grad())
            stack.enter_context(gradients_asked(self.model, asked=False))
            if watching is None:
                stack.enter_context(functions.unobserved())
            else:
                watching.begin(self)
                stack.callback(functions.observe_alone(watching))
            if recorder is not None:
                stack.enter_context(recorder)
            return self._given.run()


class Watching:
    """Looks at activation calls of a forward, and may overwrite what units of one site put out.

    Args:
        key: The site that is meant; None for a look at all.
        change: Given the output of that site, overwrites it.
    """

    armed = True

    def __init__(self, key: Key | None = None, change: Callable[[Tensor], None] | None = None) -> None:
        self.key = key
        self.calls: dict[Key, int] = {}
        self.input: Tensor | None = None
        self.output: Tensor | None = None
        self.values: Tensor | None = None
        self.began = self.ended = 0
        self.activation = ""
        self.recorder: Recorder | None = None
        self._change = change
        self._lab: Laboratory | None = None

    def begin(self, lab: Laboratory) -> None:
        """A forward is going to run."""
        self._lab, self._tracker = lab, CallTracker(lab.model, gradients=True)
        self.calls.clear()

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See `Observer`."""
        assert self._lab is not None
        call = self._tracker.meet(args, kwargs)
        if call is None:
            return None
        owner = call.place.owner
        key = (self._lab.paths.get(id(owner), type(owner).__name__), call.number)
        self.calls.setdefault(key, len(self.calls))
        if key != self.key:
            return None
        self.input, self.activation = call.tensor, name
        self.began = len(self.recorder.ops) if self.recorder is not None else 0
        return key

    def after(self, token: Any, output: Tensor) -> None:
        """See `Observer`."""
        with torch._C.DisableTorchFunction(), torch.no_grad():
            if self._change is not None:
                self._change(output)
            self.values = output.clone()
        self.output = output
        self.ended = len(self.recorder.ops) if self.recorder is not None else 0


def _distance(new: Tensor, old: Tensor) -> float:
    if not old.numel():
        return 0.0
    new, old = new.double(), old.double()
    largest = float(old.abs().max())
    difference = float((new - old).abs().max())
    ratio = difference / largest if largest else difference
    return ratio if math.isfinite(ratio) else math.inf
