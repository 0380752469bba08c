"""Functions of the network that are computed as others: activations exchanged or left out, normalisations left out."""

import types
import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from rectifier.activations import function_for
from rectifier.catalogue import parse
from rectifier.hooks.location import Location, locate
from rectifier.hooks.microscope.graph import is_weight
from rectifier.hooks.microscope.source_lines import frame_of_user, line_of
from rectifier.hooks.patch.attributes import wrap
from rectifier.hooks.patch.function_calls import Function, on_calls
from rectifier.hooks.roots import Forward, route_roots
from rectifier.records import REPLACES, ChangedPart
from rectifier.records import Change as Changes
from rectifier.treatment.change import Change
from rectifier.treatment.interventions.intervening import Intervening
from rectifier.treatment.swapping.everywhere import swap_everywhere

_LEAKY = "leaky_relu:0.1"
_ACTIVATIONS = frozenset(
    {
        "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "sigmoid", "sigmoid_", "hardsigmoid", "tanh", "tanh_",
        "softmax", "leaky_relu", "leaky_relu_", "elu", "elu_", "gelu", "silu", "softplus", "selu",
    }
)  # fmt: skip
_WRITTEN = {
    "relu": "relu", "relu6": "relu6", "clamp": "relu", "clamp_min": "relu", "maximum": "relu",
    "leaky_relu": "leaky_relu", "elu": "elu", "gelu": "gelu", "silu": "silu", "softplus": "softplus",
}  # fmt: skip
"""Functions that a script without modules applies -> the activation that they are."""
_ALSO_OUTSIDE = frozenset({"sigmoid", "sigmoid_", "tanh", "tanh_", "softmax"})
"""Outside of a model a ReLU is the hinge of a loss; these are an output that is written there."""
_NEED_PROBABILITIES = ("BinaryCrossEntropyBackward", "LogBackward", "Log1PBackward")
_BACKWARDS_SEARCHED = 5
_MOST_NODES = 200
_NORMALISATIONS: tuple[type[nn.Module], ...] = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm,
)  # fmt: skip


class ExchangedActivation(Intervening):
    """Activations are computed as another one, in models and in what is written without modules.

    Args:
        change: Which change this is.
        new: What is put there.
    """

    def __init__(self, change: Changes, new: str) -> None:
        super().__init__(change)
        self._old, self._new = REPLACES[change], new
        self._swaps: list[Change] = []
        self._models = False
        self._compute = function_for(parse(new))

    def start(self) -> None:
        """Begin."""
        self._swaps = [swap_everywhere(old, self._new) for old in self._old]
        self._undo.append(route_roots(self._forward))
        self._undo.append(on_calls(self._called))

    def _forward(self, module: nn.Module, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._models = True
        return forward(*args, **kwargs)

    def _called(self, function: Function, proceed: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In a script without models the activations are functions; beside a model they belong to the loss."""
        name = getattr(function, "__name__", "")
        if self._models or name.rstrip("_") not in _WRITTEN or not args or not isinstance(args[0], Tensor):
            return NotImplemented
        z = args[0]
        if z.ndim < 2 or _WRITTEN[name.rstrip("_")] not in self._old or not _is_relu(name, args[1:], kwargs):
            return NotImplemented
        frame = frame_of_user()
        self.note(part=None if frame is None else ChangedPart(name=name, place=line_of(frame).place))
        return z.copy_(self._compute(z.clone())) if name.endswith("_") else self._compute(z)

    def has_changed(self) -> bool:
        """Whether it has changed anything so far."""
        return super().has_changed() or any(sum(swap._replaced.values()) for swap in self._swaps)

    def stop(self) -> None:
        """Take it away; what was replaced is known before."""
        super().stop()
        self._count()
        while self._swaps:
            self._swaps.pop().undo()

    def _count(self) -> None:
        for swap in self._swaps:
            self.times += sum(swap._replaced.values())
            parts = [ChangedPart(name=str(swap.old), path=place) for place in swap.replaced]
            self.parts.update(dict.fromkeys(parts))
            self.details.update(dict.fromkeys(map(str, parts)))


def _is_relu(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call is this activation: `clamp` and `maximum` are with 0 only."""
    if not name.startswith(("clamp", "maximum")):
        return True
    low = args[0] if args else kwargs.get("min", kwargs.get("other"))
    high = args[1] if len(args) > 1 else kwargs.get("max")
    if isinstance(low, Tensor):
        low = None if low.numel() != 1 or low.requires_grad else low.item()
    return low == 0 and high is None


Key = tuple[int, types.CodeType, int]


class LinearOutput(Intervening):
    """The activation behind which only the loss comes is left out, from the first backward pass on."""

    def __init__(self) -> None:
        super().__init__(Changes.LINEAR_OUTPUT)
        self._made: dict[Any, tuple[Key, ChangedPart]] = {}
        self._left_out: dict[Key, ChangedPart] = {}
        self._searches = _BACKWARDS_SEARCHED

    def start(self) -> None:
        """Begin."""
        super().start()
        self._undo.append(on_calls(self._called))

    def _called(self, function: Function, proceed: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(function, "__name__", "")
        if name not in _ACTIVATIONS or not args or not isinstance(args[0], Tensor):
            return NotImplemented
        if not self._searches and not self._left_out:
            return NotImplemented
        found = _call_of(name)
        if found is None:
            return NotImplemented
        key, part = found
        if key in self._left_out:
            self.note(part=self._left_out[key])
            return args[0]
        result = proceed(*args, **kwargs)
        if self._searches and isinstance(result, Tensor) and result.grad_fn is not None:
            self._made[result.grad_fn] = key, part
        return result

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """A loss tells which activations stand right before it."""
        if not self._searches:
            return
        self._searches -= 1
        pending: list[Any] = [loss.grad_fn]
        met: set[Any] = set()
        while pending and len(met) < _MOST_NODES:
            node = pending.pop()
            if node is None or node in met:
                continue
            met.add(node)
            if node.name().startswith(_NEED_PROBABILITIES):
                continue
            if node in self._made:
                key, part = self._made[node]
                self._left_out[key] = part
            elif not any(is_weight(parent) for parent, _ in node.next_functions):
                pending += [parent for parent, _ in node.next_functions]
        # Nodes keep a graph alive.
        self._made.clear()


def _call_of(name: str) -> tuple[Key, ChangedPart] | None:
    """One call of the script: the module that makes it and where, and the part that it is."""
    frame = frame_of_user()
    if frame is None:
        return None
    where = locate()
    model = where is not None and next(where.root.parameters(), None) is not None
    if not model and name not in _ALSO_OUTSIDE:
        return None
    # Another module than that of a layer is there for the activation alone.
    path = _path_of(where) if where is not None and next(where.owner.parameters(), None) is None else ""
    part = ChangedPart(name=name.rstrip("_"), path=path, place="" if path else line_of(frame).place)
    return (id(where.owner) if where is not None else 0, frame.f_code, frame.f_lasti), part


def _path_of(where: Location) -> str:
    """The name that a module has in its model; "" for the model itself."""
    return next((path for path, module in where.root.named_modules() if module is where.owner), "")


class WithoutNormalisation(Intervening):
    """Modules that normalise hand on what they are given."""

    def __init__(self) -> None:
        super().__init__(Changes.NORMALISATION_OFF)
        self._parts: weakref.WeakKeyDictionary[nn.Module, ChangedPart] = weakref.WeakKeyDictionary()

    def start(self) -> None:
        """Begin."""
        for cls in _with_own_forward():
            self._undo.append(wrap(cls, "forward", self._pass_on))

    def _pass_on(self, original: Callable[..., Tensor], module: nn.Module, input: Tensor) -> Tensor:  # noqa: A002
        self.note(part=self._part_of(module))
        return input

    def _part_of(self, module: nn.Module) -> ChangedPart:
        if module not in self._parts:
            where = locate()
            path = "" if where is None or where.owner is not module else _path_of(where)
            self._parts[module] = ChangedPart(name=type(module).__name__, path=path)
        return self._parts[module]


def _with_own_forward() -> list[type[nn.Module]]:
    found: list[type[nn.Module]] = []
    pending = list(_NORMALISATIONS)
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        if "forward" in vars(cls) and cls not in found:
            found.append(cls)
    return found


def exchanged(change: Changes) -> Intervening | None:
    """The change of a network's functions that is meant; None where it is none of these."""
    match change:
        case Changes.LEAKY_ACTIVATION:
            return ExchangedActivation(change, _LEAKY)
        case Changes.UNSATURATED_ACTIVATION:
            return ExchangedActivation(change, _LEAKY)
        case Changes.BOUNDED_ACTIVATION:
            return ExchangedActivation(change, "tanh")
        case Changes.LINEAR_OUTPUT:
            return LinearOutput()
        case Changes.NORMALISATION_OFF:
            return WithoutNormalisation()
    return None
