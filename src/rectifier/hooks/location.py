"""Which module is running, found by looking up the call stack; the users' modules stay untouched.

`torch.nn.Module.__call__` leaves one frame of `_call_impl` per module on the stack, with the module in it. The
innermost is the owner of an activation call, the outermost the root of the forward. Only those frames' variables are
read: looking at a frame of the user's own function would keep its tensors alive longer than the user does.
"""

import os
import signal
import sys
import types
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_CALL_CODE = nn.Module._call_impl.__code__
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
    """

    owner: nn.Module
    root: nn.Module
    source: str | None
    forward: types.FrameType
    wrapper: nn.Module | None = None

    def inputs(self) -> tuple[Any, ...]:
        """Arguments of the root's forward, positional ones first."""
        variables = self.forward.f_locals
        return (*variables.get("args", ()), *variables.get("kwargs", {}).values())


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
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code is _CALL_CODE:
            module = frame.f_locals["self"]
            if owner is None:
                owner = module
            if forward is None or type(module).__name__ not in _WRAPPERS:
                root, forward, source, wrapper = module, frame, candidate, None
            else:
                wrapper = module
            if module is within:
                break
        elif candidate is None and not code.co_filename.startswith((_TORCH_FOLDER, _OUR_FOLDER, "<rectifier")):
            candidate = f"{os.path.basename(code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    if owner is None or root is None or forward is None or (within is not None and root is not within):
        return None
    return Location(owner, root, source, forward, wrapper)


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
        if frame.tb_frame.f_code in codes:
            return True
        frame = frame.tb_next
    return False


def inside_a_model() -> bool:
    """Whether some module's forward is running, however far up the stack."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _CALL_CODE:
            return True
        frame = frame.f_back
    return False
