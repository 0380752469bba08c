"""Tells which tool of the user's is recording operations now: a trace, a mode, a transformation or a profiler.

Operations of ours would appear in the user's graph, count or profile. So Rectifier computes nothing meanwhile.
"""

import sys
from collections.abc import Iterable

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from rectifier.records import Recorder

OURS = "rectifier_mode"
"""Attribute that marks a mode as ours, not the user's."""


# Bound once: it is asked at every backward pass, and each look-up takes as long as the question.
_tracing = torch._C._get_tracing_state
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
without_subclasses = torch._C.DisableTorchFunctionSubclass
"""A context in which tensors of the user's own kinds are plain ones to torch's functions."""
_transform = torch._C._functorch.peek_interpreter_stack
_profiling = torch._C._autograd._profiler_enabled


def recorder() -> Recorder | None:
    """Say who is recording; None where nobody is, which takes about a quarter of a microsecond to find out."""
    if _tracing() is not None:
        return Recorder.TRACE
    if _dispatch_modes() and _anybodys(_get_current_dispatch_mode_stack()):
        return Recorder.DISPATCH_MODE
    if _function_modes() and _anybodys(_get_current_function_mode_stack()):  # type: ignore[no-untyped-call]
        return Recorder.FUNCTION_MODE
    if _transform() is not None:
        return Recorder.TRANSFORM
    if _profiling():
        return Recorder.PROFILER
    return None


def records_backward() -> bool:
    """Whether a compiler is going to trace the backward pass that begins now, hooks included."""
    compiled = sys.modules.get("torch._dynamo.compiled_autograd")
    return bool(compiled is not None and getattr(compiled, "compiled_autograd_enabled", False))


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers: one on the device `meta`, or a FakeTensor, has a shape only."""
    return not tensor.is_meta and (type(tensor) is Tensor or not isinstance(tensor, FakeTensor))


def _anybodys(modes: Iterable[object]) -> bool:
    # `torch.set_default_device` is a mode that says where tensors are made, and records nothing.
    return any(type(mode) is not DeviceContext and not hasattr(mode, OURS) for mode in modes)
