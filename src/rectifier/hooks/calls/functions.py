"""Intercepts activation calls: `F.relu`, `torch.relu`, `Tensor.relu`, their in-place forms and relatives.

Modules need no interception of their own, because `torch.nn.ReLU.forward` calls `F.relu`, and so on.

A Python function such as `F.relu` keeps its identity: only its code is exchanged, so it pickles as before, a default
argument `activation=F.relu` bound long ago is seen too, and `activation is F.relu` stays true. Builtins such as
`torch.relu` or `Tensor.relu` have no code to exchange; a wrapper takes their name. Both look first whether a
compiler is tracing, which makes the interception invisible to it: no graph break, no guard, nothing recompiled.

When nobody observes or replaces, everything is as torch made it.
"""

import functools
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function

from rectifier import catalogue
from rectifier.hooks.calls.activation_modules import meet_forwards
from rectifier.hooks.calls.code_objects import kept_and_new, put
from rectifier.hooks.calls.dynamo import after_import, find_builtins_behind, look_up_unwrapped, pass_by, see_through
from rectifier.hooks.location import inside_a_model
from rectifier.hooks.modules import activation_of

Replacement = Callable[..., Tensor]

_PLAIN_TENSORS = (Tensor, torch.nn.Parameter)
"""Anything else is a tracer's stand-in (FakeTensor, Proxy), which only ever comes from inside of a model."""


class Observer(Protocol):
    """Someone who wants to see activation calls; `armed` is read at every call and must be cheap."""

    armed: bool

    def before(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Look at a call that is about to happen; None means not interested."""

    def after(self, token: Any, output: Tensor) -> None:
        """Look at its output; `token` is what `before` returned."""


class _Switch:
    """One attribute read per call decides whether anybody is interested."""

    __slots__ = ("armed", "observers", "replacements")

    def __init__(self) -> None:
        self.armed = False
        self.observers: list[Observer] = []
        self.replacements: dict[str, list[Replacement]] = {}


_switch = _Switch()
_inside = threading.local()

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


def observe(observer: Observer) -> Callable[[], None]:
    """Let `observer` see every activation call from now on; returns what takes it away again.

    After changing `observer.armed`, call `refresh()`.
    """
    _switch.observers.append(observer)
    _patches.hold()
    refresh()

    def forget() -> None:
        if observer in _switch.observers:
            _switch.observers.remove(observer)
            refresh()
            _patches.release()

    return forget


def observe_alone(observer: Observer) -> Callable[[], None]:
    """As `observe`, and those who observe already see nothing until the undo: calls that are none of the training's."""
    forget = observe(observer)
    others, _switch.observers = _switch.observers, [observer]
    refresh()

    def undo() -> None:
        _switch.observers = others
        forget()

    return undo


def refresh() -> None:
    """Take note that some observer armed or disarmed itself."""
    _switch.armed = bool(_switch.replacements) or any(observer.armed for observer in _switch.observers)


@contextmanager
def unobserved() -> Iterator[None]:
    """Within it nobody observes this thread's calls: its forwards are none of the training's. Replacements hold."""
    _inside.unobserved = True
    try:
        yield
    finally:
        _inside.unobserved = False


def replace(name: str, replacement: Replacement) -> Callable[[], None]:
    """Send calls of one activation that happen inside a module's forward to `replacement`; returns the undo.

    Calls outside of a model (a hinge loss, a metric) stay as they are.

    Args:
        name: Catalogue name of the activation, e.g. `relu`.
        replacement: Called as `replacement(original, tensor, *args, **kwargs)`, with `inplace=True` for the forms
            whose name ends in an underscore. It may return NotImplemented to leave a call as it is.
    """
    _switch.replacements.setdefault(name, []).append(replacement)
    _patches.hold()
    refresh()

    def forget() -> None:
        replacements = _switch.replacements.get(name, [])
        if replacement in replacements:
            replacements.remove(replacement)
            if not replacements:
                del _switch.replacements[name]
            refresh()
            _patches.release()

    return forget


def describe(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """An activation call as a user would write it: `leaky_relu:0.1`."""
    row = catalogue.CATALOGUE.get(name)
    if name == "gelu" and kwargs.get("approximate") == "tanh":
        return "gelu_tanh"
    if name == "hardtanh":
        low = args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)
        high = args[2] if len(args) > 2 else kwargs.get("max_val", 1.0)
        return "relu6" if (low, high) == (0.0, 6.0) else "hardtanh"
    # A learned slope is a tensor and changes; the spec would be wrong a step later.
    if row is None or row.parameter is None or name == "prelu":
        return name
    value = args[1] if len(args) > 1 else kwargs.get(row.parameter, row.default)
    return catalogue.Choice(row, float(value)).spec if isinstance(value, int | float) else name


def original(function: Callable[..., Any]) -> Callable[..., Any]:
    """The builtin of torch's behind a name that is wrapped at the moment; anything else is returned as it is."""
    wrapped = getattr(function, "__rectifier_original__", function)
    assert callable(wrapped)
    return wrapped


def _intercepted(name: str, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """An activation call while somebody observes or replaces.

    `kwargs` may hold `inplace`, which only the Python functions take; `function` is then one of them.
    """
    # torch calls its own activations from one another (F.relu -> torch.relu): only the outermost is the user's.
    if getattr(_inside, "busy", False):
        return function(*args, **kwargs)
    if name == "clamp":
        # A clamp may be a numeric guard: it is observed where it is a ReLU, and never replaced.
        if not _is_relu(args, kwargs):
            return function(*args, **kwargs)
        name = "relu"
    elif name == "threshold" and (args[2] if len(args) > 2 else kwargs.get("value")) != 0:
        # torch offers any constant below the threshold; with another than 0 nothing is known of it.
        return function(*args, **kwargs)
    elif _replaced_by_a_mode(name):
        return function(*args, **kwargs)
    else:
        replacements = _switch.replacements.get(name)
        if replacements and (inside_a_model() or type(args[0]) not in _PLAIN_TENSORS):
            replaced = replacements[-1](function, *args, **kwargs)
            if replaced is not NotImplemented:
                return replaced
    if getattr(_inside, "whole", False):
        return function(*args, **kwargs)
    _inside.busy = True
    try:
        return _observed(name, function, args, kwargs)
    finally:
        _inside.busy = False


def _observed(name: str, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    tokens = [
        (observer, token)
        for observer in (() if getattr(_inside, "unobserved", False) else _switch.observers)
        if observer.armed and (token := observer.before(name, args, kwargs)) is not None
    ]
    output = function(*args, **kwargs)
    for observer, token in tokens:
        observer.after(token, output)
    return output


def _whole(module: nn.Module, forward: Callable[..., Tensor], args: tuple[Any, ...]) -> Tensor:
    """The forward of an activation module, whatever it calls inside; that is replaced there, and not observed."""
    choice = activation_of(module)
    inside = getattr(_inside, "busy", False) or getattr(_inside, "whole", False)
    if inside or choice is None or choice.activation.name == "identity":
        return forward(module, *args)
    row = choice.activation
    named = {row.parameter: choice.parameter} if row.parameter is not None else {}
    _inside.whole = True
    try:
        return _observed(row.name, lambda *inputs, **_: forward(module, *inputs), args, named)
    finally:
        _inside.whole = False


def _replaced_by_a_mode(name: str) -> bool:
    """Whether a swap that is scoped to the running module will turn this call into another activation's."""
    if not torch._C._len_torch_function_stack():
        return False
    for mode in reversed(torch.overrides._get_current_function_mode_stack()):  # type: ignore[no-untyped-call]
        if hasattr(mode, "rectifier_replaces") and mode.name == name:
            return bool(mode.rectifier_replaces == name)
    return False


def _is_relu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a clamp is a ReLU: a lower bound of exactly 0 and no upper bound."""
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    return high is None and isinstance(low, int | float) and low == 0


def _traced(name: str, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """An activation call while a compiler traces: nothing is observed, but a replacement must be traced in."""
    replacements = _switch.replacements.get(name)
    if replacements:
        replaced = replacements[-1](function, *args, **kwargs)
        if replaced is not NotImplemented:
            return replaced
    return function(*args, **kwargs)


class _Patches:
    """Puts the interceptions in place for the first who needs them and takes them away with the last."""

    def __init__(self) -> None:
        self._holders = self._aside = 0
        self._lock = threading.RLock()
        # The same code and wrappers each time: whatever was compiled while they were in place is used again.
        self._exchanged: dict[types.FunctionType, tuple[types.FunctionType, types.CodeType]] = {}
        self._wrappers: dict[int, Callable[..., Tensor]] = {}
        self._undo: list[Callable[[], None]] = []

    def hold(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders == 1 and not self._aside:
                self._put_in_place()

    def release(self) -> None:
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
        self._undo.append(meet_forwards(_whole, _switch))
        for holder in _TORCHSCRIPT_HOLDERS:
            for name in _TORCHSCRIPT:
                self._step_aside_for_torchscript(holder, name, even_when_replacing=name == "script")
        self._undo.append(find_builtins_behind(self._step_aside, original))
        self._undo.append(see_through(original, _StandIn, _MethodStandIn))
        self._undo.append(look_up_unwrapped(self._step_aside))
        self._undo.append(pass_by(_intercepted, _observed, _whole))

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
            if _switch.replacements and not even_when_replacing:
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
            "_rectifier_switch": _switch,
            "_rectifier_intercepted": _intercepted,
            "_rectifier_traced": _traced,
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
            wrapper = self._wrappers[id(builtin)] = _make_wrapper(builtin, name, holder, attribute)
        setattr(holder, attribute, wrapper)

        def undo() -> None:
            if vars(holder).get(attribute) is wrapper:
                if own:
                    setattr(holder, attribute, builtin)
                else:
                    delattr(holder, attribute)

        self._undo.append(undo)


class _StandIn(functools.partial[Tensor]):
    """Replaces one of torch's builtins under its name, and behaves like it.

    Like a builtin, it does not become a method of a class that holds it (`act = torch.relu` in a class body), pickles
    by name, and copies as itself. It equals the builtin, so that each finds the other's entry in a dictionary.
    """

    __rectifier_original__: Callable[..., Tensor]

    if hasattr(functools.partial, "__get__"):
        # From Python 3.14 on a partial would bind.
        def __get__(self, instance: object, owner: type | None = None) -> Any:
            return self

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # What `isinstance` and `inspect.isbuiltin` go by; `torch.fx` asks before it looks up a signature.
        return type(self.__rectifier_original__)

    def __eq__(self, other: object) -> bool:
        return self.__rectifier_original__ is getattr(other, "__rectifier_original__", other)

    def __hash__(self) -> int:
        return hash(self.__rectifier_original__)

    def __reduce__(self) -> str:
        return self.__qualname__  # type: ignore[attr-defined,no-any-return]

    def __repr__(self) -> str:
        return repr(self.__rectifier_original__)


class _MethodStandIn(_StandIn):
    """The same for a method of `torch.Tensor`, which binds."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)


def _make_wrapper(builtin: Callable[..., Tensor], name: str, holder: Any, attribute: str) -> Callable[..., Tensor]:
    compiling = torch.compiler.is_compiling
    overridden = torch._C._has_torch_function
    switch = _switch
    # A replacement hears of an in-place form as inplace=True; the builtin itself takes no such word.
    in_place = attribute.endswith("_") and name != "clamp"

    def call(*args: Any, **kwargs: Any) -> Tensor:
        # torch would hand the builtin to a mode, a subclass or a tracer, which knows it by the name that we have taken.
        given = (*args, *kwargs.values()) if kwargs else args
        if overridden(given):
            return handle_torch_function(wrapper, given, *args, **kwargs)
        return builtin(*args, **kwargs)

    def replaceable(*args: Any, inplace: bool = True, **kwargs: Any) -> Tensor:
        return call(*args, **kwargs)

    def traceable(*args: Any, inplace: bool = True, **kwargs: Any) -> Tensor:
        return builtin(*args, **kwargs)

    def intercept(*args: Any, **kwargs: Any) -> Tensor:
        if compiling():
            if in_place:
                return _traced(name, traceable, args, {**kwargs, "inplace": True})
            return _traced(name, builtin, args, kwargs)
        if switch.armed:
            if in_place:
                return _intercepted(name, replaceable, args, {**kwargs, "inplace": True})
            return _intercepted(name, call, args, kwargs)
        return call(*args, **kwargs)

    wrapper = (_MethodStandIn if isinstance(holder, type) else _StandIn)(intercept)
    call.__rectifier_original__ = replaceable.__rectifier_original__ = builtin  # type: ignore[attr-defined]
    wrapper.__rectifier_original__ = builtin
    functools.update_wrapper(wrapper, builtin, assigned=("__name__", "__doc__"), updated=())
    # Pickled by name, so that what is saved while we watch loads where we are not.
    wrapper.__qualname__ = f"{holder.__name__}.{attribute}" if isinstance(holder, type) else attribute  # type: ignore[attr-defined]
    wrapper.__module__ = "torch" if isinstance(holder, type) else holder.__name__
    return wrapper


_patches = _Patches()
