"""Which module is running, found by looking up the call stack; the users' modules stay untouched.

`torch.nn.Module.__call__` leaves one frame of `_call_impl` per module on the stack, with the module in it. Where a
script calls `model.forward(x)` by name, only the frame of `forward` is there. The innermost module is the owner of an
activation call, the outermost the root of the forward.

Before Python 3.13 reading a frame's variables leaves a copy of them in the frame, which keeps its tensors alive longer
than the user does; and `gc.get_referents` finds none of a running frame's variables. So a `forward` is only read where
it was called by name, and the copy is emptied unless the user holds it.
"""

import os
import signal
import sys
import types
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointFunction

_CALL_CODE = nn.Module._call_impl.__code__
_CHECKPOINT_CODE = CheckpointFunction.forward.__code__
_FORWARDS: dict[tuple[type, types.CodeType], bool] = {}
"""Whether some code is the forward of a class, or of one that it is derived from."""
_LEAVES_A_COPY = sys.version_info < (3, 13)
_TAKES_ARGS, _TAKES_KWARGS = 0x04, 0x08
_TORCH_FOLDER = os.path.dirname(torch.__file__) + os.sep
_OUR_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Wrappers around the user's model: the model inside is the root that names sites.
_WRAPPERS = {"DistributedDataParallel", "DataParallel", "OptimizedModule", "FullyShardedDataParallel"}


@dataclass(slots=True)
class Location:
    """Where an activation call came from.

    Attributes:
        owner: The innermost module whose forward is running.
        root: The outermost one that is not a parallel or compiled wrapper.
        source: `file.py:31` of the innermost line outside of torch, inside of the root's forward.
        wrapper: The wrapper around the root, None without one.
        forward: The frame of the root's call. Alive and the same for all calls of one forward; do not keep it
            longer than the backward pass, because it holds the forward's inputs and output.
        by_name: Whether that is the frame of the user's `forward`. It must not be kept at all, because it holds
            whatever the user computes there.
    """

    owner: nn.Module
    root: nn.Module
    source: str | None
    forward: types.FrameType
    wrapper: nn.Module | None = None
    by_name: bool = False

    def inputs(self) -> tuple[Any, ...]:
        """Arguments of the root's forward, positional ones first.

        Of a forward that was called by name: what stands in their place now, and was not computed with weights.
        """
        if self.by_name:
            return tuple(value for value in _arguments(self.forward) if getattr(value, "grad_fn", None) is None)
        variables = self.forward.f_locals
        return (*variables.get("args", ()), *variables.get("kwargs", {}).values())

    def called_from(self) -> str | None:
        """`file.py:31` of the innermost line outside of torch that called the root."""
        frame = self.forward.f_back
        while frame is not None and _is_ours_or_torchs(frame.f_code):
            frame = frame.f_back
        return None if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def locate(within: nn.Module | None = None) -> Location | None:
    """Where the activation call that is being made right now comes from; None outside of a model.

    Args:
        within: Take this module as the root; a call from outside of its forward is then None.
    """
    owner: nn.Module | None = None
    root: nn.Module | None = None
    forward: types.FrameType | None = None
    wrapper: nn.Module | None = None
    source = candidate = None
    by_name = False
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        called = code is _CALL_CODE
        module = frame.f_locals["self"] if called else None
        if code.co_name == "forward" and frame.f_back is not None and frame.f_back.f_code is not _CALL_CODE:
            module = called_by_name(frame)
        if not called and candidate is None and not _is_ours_or_torchs(code):
            candidate = f"{os.path.basename(code.co_filename)}:{frame.f_lineno}"
        if module is not None:
            if owner is None:
                owner = module
            if forward is None or type(module).__name__ not in _WRAPPERS:
                root, forward, source, wrapper, by_name = module, frame, candidate, None, not called
            else:
                wrapper = module
            if module is within:
                break
        frame = frame.f_back
    if owner is None or root is None or forward is None or (within is not None and root is not within):
        return None
    return Location(owner, root, source, forward, wrapper, by_name)


def _is_ours_or_torchs(code: types.CodeType) -> bool:
    return code.co_filename.startswith((_TORCH_FOLDER, _OUR_FOLDER, "<rectifier"))


def called_by_name(frame: types.FrameType) -> nn.Module | None:
    """The module whose forward a frame runs, where it was called as `model.forward(x)`; else None.

    Args:
        frame: Of a function that is named `forward`.
    """
    code = frame.f_code
    # An autograd function's has no module.
    if not code.co_argcount or code.co_varnames[0] == "ctx":
        return None
    above = frame.f_back
    while above is not None and above.f_code is not _CALL_CODE:
        above = above.f_back
    # A decorated forward has frames of the decorators between it and the call.
    if above is not None and _is_forward_of(type(above.f_locals["self"]), code):
        return None
    first = next(_arguments(frame, 1), None)
    return first if isinstance(first, nn.Module) else None


def _is_forward_of(cls: type, code: types.CodeType) -> bool:
    key = cls, code
    if key not in _FORWARDS:
        _FORWARDS[key] = any(_code_of(vars(base).get("forward")) is code for base in cls.__mro__)
    return _FORWARDS[key]


def _code_of(function: Any) -> types.CodeType | None:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return getattr(function, "__code__", None)


def _arguments(frame: types.FrameType, most: int | None = None) -> Iterator[Any]:
    """What the parameters of a running function hold now, the first `most` of them."""
    code, variables = frame.f_code, frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount
    found = [variables.get(name) for name in code.co_varnames[:count][:most]]
    if most is None:
        if code.co_flags & _TAKES_ARGS:
            found.extend(variables.get(code.co_varnames[count], ()))
            count += 1
        if code.co_flags & _TAKES_KWARGS:
            found.extend(variables.get(code.co_varnames[count], {}).values())
    # The frame, this name and the argument of the call: nobody else holds the copy.
    if _LEAVES_A_COPY and sys.getrefcount(variables) <= 3:
        variables.clear()
    return iter(found)


class Mark:
    """Put into a frame, it lives exactly as long; so a forward is known again without its frame being kept."""

    __slots__ = ("__weakref__",)

    def __call__(self, *event: Any) -> None:
        """Trace nothing, where a debugger begins to."""


def mark(frame: types.FrameType) -> "weakref.ref[Mark] | None":
    """The mark of a running frame; None where a debugger has its own there."""
    if frame.f_trace is None and sys.gettrace() is None:
        frame.f_trace = Mark()
    return weakref.ref(frame.f_trace) if isinstance(frame.f_trace, Mark) else None


def root_of_checkpoint() -> nn.Module | None:
    """The root of the forward that runs, inside of a reentrant checkpoint; else None."""
    frame: types.FrameType | None = sys._getframe(1)
    root, inside = None, False
    while frame is not None:
        code = frame.f_code
        inside |= code is _CHECKPOINT_CODE
        if inside and code is _CALL_CODE and type(frame.f_locals["self"]).__name__ not in _WRAPPERS:
            root = frame.f_locals["self"]
        frame = frame.f_back
    return root


def raised_by_signal_handler(error: BaseException) -> bool:
    """Whether an exception is the user's: a handler of a signal raised it, which happened to come while ours ran."""
    codes = set()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        handler = getattr(handler, "func", handler)  # functools.partial
        handler = handler if hasattr(handler, "__code__") else getattr(handler, "__call__", None)  # noqa: B004
        codes.add(getattr(handler, "__code__", None))
    frame = error.__traceback__
    while frame is not None:
        # Not by hash: a compiler's code may hold constants that have none.
        if any(frame.tb_frame.f_code is code for code in codes):
            return True
        frame = frame.tb_next
    return False


def inside_a_model() -> bool:
    """Whether some module's forward is running, however far up the stack."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code is _CALL_CODE or (code.co_name == "forward" and called_by_name(frame) is not None):
            return True
        frame = frame.f_back
    return False
