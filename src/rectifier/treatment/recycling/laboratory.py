"""Running the user's model on the side: nothing of it, nor of any random stream, is different afterwards."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rectifier.errors import CannotRecycle
from rectifier.sites import functions, locate
from rectifier.treatment.recycling.trace import Recorder, same, tensors_in

Key = tuple[str, int]
"""Path of the module that applies an activation, and the number of the call in one forward."""

TOLERANCE = 1e-5
"""How far an output may move, relative to the largest output: rounding."""


class Laboratory:
    """A model and a batch.

    Args:
        model: The user's module.
        batch: What its forward takes: one tensor, a tuple of arguments, or a mapping of named ones.
    """

    def __init__(self, model: nn.Module, batch: Any) -> None:
        self.model = model
        self._args: tuple[Any, ...] = ()
        self._kwargs: dict[str, Any] = {}
        if isinstance(batch, Mapping):
            self._kwargs = dict(batch)
        else:
            self._args = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
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
        return [tensor.clone() for tensor in tensors_in(returned) if tensor.is_floating_point()]

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
        model = self.model
        with ExitStack() as stack:
            stack.enter_context(_kept(model))
            stack.enter_context(_random_kept())
            stack.enter_context(_eager(model))
            if mode == "evaluation":
                model.eval()
            elif not model.training:
                model.train()
            # Without gradients neither a `watch` nor the autograd graph takes part.
            stack.enter_context(torch.no_grad())
            if watching is not None:
                watching.begin(self)
                stack.callback(functions.observe(watching))
            if recorder is not None:
                stack.enter_context(recorder)
            try:
                return model(*self._args, **self._kwargs)
            except Exception as error:
                raise CannotRecycle(
                    f"{type(model).__name__} failed on the batch: {type(error).__name__}: {error}. Give what its "
                    "forward takes, without the targets: batch=inputs, a tuple of arguments, or a dictionary of "
                    "named ones."
                ) from error


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
        self._count: dict[int, int] = {}

    def begin(self, lab: Laboratory) -> None:
        """A forward is going to run."""
        self._lab, self._count = lab, {}
        self.calls.clear()

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See `Observer`."""
        assert self._lab is not None
        tensor = args[0] if args else kwargs.get("input")
        place = locate(self._lab.model)
        if place is None or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return None
        call = self._count.get(id(place.owner), 0)
        self._count[id(place.owner)] = call + 1
        key = (self._lab.paths.get(id(place.owner), type(place.owner).__name__), call)
        self.calls[key] = len(self.calls)
        if key != self.key:
            return None
        self.input, self.activation = tensor, name
        self.began = len(self.recorder.ops) if self.recorder is not None else 0
        return key

    def after(self, token: Any, output: Tensor) -> None:
        """See `Observer`."""
        with torch._C.DisableTorchFunction():
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


@contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """Put back modes and buffers."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, values in buffers:
                module._buffers[name] = buffer
                if not same(buffer, values):
                    buffer.copy_(values)


@contextmanager
def _random_kept(seed: int = 0) -> Iterator[None]:
    """Begin every random stream at a seed, and put them back where they were."""
    states: list[tuple[Callable[[Any], Any], Any]] = [
        (torch.set_rng_state, torch.get_rng_state()),
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
    ]
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if cuda:
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        states.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        # torch.manual_seed would also seed devices that are not in use yet.
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed_all(seed)
        if torch.backends.mps.is_available():
            torch.mps.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        # Its kernel calls no activation that could be observed.
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for put, state in states:
            put(state)


def _eager(model: nn.Module) -> Any:
    """Compiled parts run as they are written, so that their calls can be seen."""
    compiled = any(module._compiled_call_impl is not None or hasattr(module, "_orig_mod") for module in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
