"""Where torch's activations are intercepted, put in place for the first who needs it and taken away with the last."""

import functools
import threading
import types
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rectifier.hooks.calls.activation_modules import meet_forwards
from rectifier.hooks.calls.code_objects import kept_and_new, put
from rectifier.hooks.calls.dynamo import after_import, find_builtins_behind, look_up_unwrapped, pass_by, see_through
from rectifier.hooks.calls.interception import intercepted, observed, switch, traced, whole
from rectifier.hooks.calls.stand_ins import MethodStandIn, StandIn, make_stand_in, original

# What torch calls an activation: catalogue name -> Python functions of torch.nn.functional (code exchanged) ...
_FUNCTIONS = (
    "relu", "leaky_relu", "elu", "celu", "selu", "rrelu", "relu6", "hardtanh",
    "silu", "mish", "hardswish", "hardsigmoid", "tanh", "sigmoid", "softsign", "tanhshrink", "threshold",
)  # fmt: skip
# ... those that Rectifier computes itself ...
_OURS = (
    "leaky_relu", "elu", "celu", "selu", "prelu", "relu_squared", "surrogate_gradient",
    "quick_gelu", "gelu_10", "laplace", "sqrt_softplus",
)  # fmt: skip
# ... and builtins, by every name that users reach them (wrapped): holder, attribute, catalogue name.
_BUILTINS: tuple[tuple[Any, str, str], ...] = (
    (torch, "relu", "relu"), (torch, "relu_", "relu"), (torch.Tensor, "relu", "relu"), (torch.Tensor, "relu_", "relu"),
    (F, "relu_", "relu"), (F, "leaky_relu_", "leaky_relu"), (F, "elu_", "elu"), (F, "celu_", "celu"),
    (F, "selu_", "selu"), (F, "rrelu_", "rrelu"), (F, "hardtanh_", "hardtanh"), (F, "prelu", "prelu"),
    (F, "gelu", "gelu"), (F, "softplus", "softplus"), (F, "logsigmoid", "logsigmoid"), (torch, "prelu", "prelu"),
    (torch.Tensor, "prelu", "prelu"), (torch, "celu", "celu"), (torch, "selu", "selu"), (torch, "rrelu", "rrelu"),
    (torch, "tanh", "tanh"), (torch.Tensor, "tanh", "tanh"), (torch, "sigmoid", "sigmoid"),
    (torch.Tensor, "sigmoid", "sigmoid"),
    (F, "softshrink", "softshrink"), (F, "hardshrink", "hardshrink"), (torch, "hardshrink", "hardshrink"),
    (torch.Tensor, "hardshrink", "hardshrink"), (F, "threshold_", "threshold"), (torch, "threshold_", "threshold"),
    (torch, "threshold", "threshold"),
    (torch, "clamp", "clamp"), (torch.Tensor, "clamp", "clamp"), (torch.Tensor, "clamp_", "clamp"),
    (torch, "clamp_min", "clamp"), (torch.Tensor, "clamp_min", "clamp"), (torch.Tensor, "clamp_min_", "clamp"),
)  # fmt: skip

_TORCHSCRIPT = ("script", "trace", "trace_module", "_get_trace_graph")
"""Functions of `torch.jit` that look at what they run; the last is called by the ONNX exporter."""
_TORCHSCRIPT_HOLDERS = tuple(
    holder for holder in (torch.jit, getattr(torch.jit, "_trace", None), getattr(torch.jit, "_script", None)) if holder
)


class Patches:
    """The interceptions, and how many need them."""

    def __init__(self) -> None:
        self._holders = self._aside = 0
        self._lock = threading.RLock()
        # The same code and wrappers each time: whatever was compiled while they were in place is used again.
        self._exchanged: dict[types.FunctionType, tuple[types.FunctionType, types.CodeType]] = {}
        self._wrappers: dict[int, Callable[..., Tensor]] = {}
        self._undo: list[Callable[[], None]] = []

    def hold(self) -> None:
        """Put them in place, if nobody has needed them so far."""
        with self._lock:
            self._holders += 1
            if self._holders == 1 and not self._aside:
                self._put_in_place()

    def release(self) -> None:
        """Take them away, if nobody else needs them."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0 and not self._aside:
                self._take_away()

    def _put_in_place(self) -> None:
        for name in _FUNCTIONS:
            self._exchange_code(getattr(F, name, None), name)
        # Who trains without Rectifier's own activations never loads them.
        self._undo.append(after_import("rectifier.activations.functional", self._exchange_ours))
        for holder, attribute, name in _BUILTINS:
            self._wrap(holder, attribute, name)
        self._undo.append(meet_forwards(whole, switch))
        for holder in _TORCHSCRIPT_HOLDERS:
            for name in _TORCHSCRIPT:
                self._step_aside_for_torchscript(holder, name, even_when_replacing=name == "script")
        self._undo.append(find_builtins_behind(self._step_aside, original))
        self._undo.append(see_through(original, StandIn, MethodStandIn))
        self._undo.append(look_up_unwrapped(self._step_aside))
        self._undo.append(pass_by(intercepted, observed, whole))

    def _exchange_ours(self, ours: types.ModuleType) -> Callable[[], None]:
        for name in _OURS:
            self._exchange_code(getattr(ours, name), name)
        return lambda: None

    def _take_away(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _step_aside(self, function: Callable[[], Any]) -> Any:
        """Call something that must meet torch as it was made; several threads may do so at once."""
        with self._lock:
            self._aside += 1
            if self._aside == 1:
                self._take_away()
        try:
            return function()
        finally:
            with self._lock:
                self._aside -= 1
                if self._holders and not self._aside:
                    self._put_in_place()

    def _step_aside_for_torchscript(self, holder: Any, name: str, *, even_when_replacing: bool) -> None:
        """Make a function of `torch.jit` run without the interceptions.

        TorchScript knows builtins by identity, and a trace names values after the variables of the calling code. But a
        swapped activation belongs in a trace.
        """
        function = getattr(holder, name, None)
        if function is None:
            return

        @functools.wraps(function)
        def undisturbed(*args: Any, **kwargs: Any) -> Any:
            if switch.replacements and not even_when_replacing:
                return function(*args, **kwargs)
            return self._step_aside(lambda: function(*args, **kwargs))

        setattr(holder, name, undisturbed)

        def undo() -> None:
            if getattr(holder, name) is undisturbed:
                setattr(holder, name, function)

        self._undo.append(undo)

    def _exchange_code(self, function: object, name: str) -> None:
        if not isinstance(function, types.FunctionType):
            return
        code = function.__code__
        if function not in self._exchanged or self._exchanged[function][0].__code__ is not code:
            parameters = code.co_varnames[: code.co_argcount]
            names = ", ".join(parameters)
            first, *others = parameters
            call = f"({first},), dict({', '.join(f'{other}={other}' for other in others)})"
            source = (
                f"def {name}({names}):\n"
                f"    if _rectifier_compiling():\n"
                f"        return _rectifier_traced({name!r}, _rectifier_{name}, {call})\n"
                f"    if not _rectifier_switch.armed:\n"
                f"        return _rectifier_{name}({names})\n"
                f"    return _rectifier_intercepted({name!r}, _rectifier_{name}, {call})\n"
            )
            self._exchanged[function] = kept_and_new(function, name, source)
        kept, new = self._exchanged[function]
        added = {
            "_rectifier_compiling": torch.compiler.is_compiling,
            "_rectifier_switch": switch,
            "_rectifier_intercepted": intercepted,
            "_rectifier_traced": traced,
            f"_rectifier_{name}": kept,
        }
        self._undo.append(put(function, new, added))

    def _wrap(self, holder: Any, attribute: str, name: str) -> None:
        builtin = getattr(holder, attribute, None)
        if builtin is None:
            return
        own = attribute in vars(holder)
        wrapper = self._wrappers.get(id(builtin))
        if wrapper is None or original(wrapper) is not builtin:
            wrapper = self._wrappers[id(builtin)] = make_stand_in(builtin, name, holder, attribute)
        setattr(holder, attribute, wrapper)

        def undo() -> None:
            if vars(holder).get(attribute) is wrapper:
                if own:
                    setattr(holder, attribute, builtin)
                else:
                    delattr(holder, attribute)

        self._undo.append(undo)


patches = Patches()
