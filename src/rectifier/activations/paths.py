"""When an own backward may stand in for torch's, and what to say when torch refuses an argument."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad
from torch.overrides import has_torch_function

FLOATING = frozenset({torch.float32, torch.float64, torch.bfloat16, torch.float16})

# These tell what torch's public names do not. They are private and may go: then torch's own operators do everything.
_PRIVATE = (
    "_are_functorch_transforms_active", "_has_storage", "_is_tracing", "_len_torch_dispatch_stack",
    "DisableTorchFunction", "_AutoDispatchBelowAutograd",
)  # fmt: skip
CAN_TELL = all(hasattr(torch._C, name) for name in _PRIVATE) and hasattr(forward_ad, "_current_level")
"""Whether this torch says what transforms, records or fakes the calls of its operators."""


def untraced(z: object) -> bool:
    """Tell whether this is a plain tensor whose calls nothing records; it costs less than `plain`."""
    # While torch.jit.trace records, even the number of elements is a tensor.
    return CAN_TELL and type(z) is Tensor and not torch._C._is_tracing()


def plain(*tensors: Tensor) -> bool:
    """Tell whether an ordinary eager call on ordinary CPU tensors is being recorded by autograd.

    Everything else takes torch's own operators, which know all of it. Call it last: it costs about 1 µs.
    """
    return torch.is_grad_enabled() and ordinary(*tensors) and not has_torch_function(tensors)


def ordinary(*tensors: Tensor) -> bool:
    """Tell whether these are CPU tensors with memory of their own, and nothing transforms what is done to them.

    False for subclasses, sparse and nested layouts, other devices, `torch.func` and the batched gradients of
    `is_grads_batched=True`, forward-mode AD, and dispatch modes.
    """
    return (
        CAN_TELL
        and all(
            type(tensor) in (Tensor, torch.nn.Parameter)
            and tensor.is_cpu
            and tensor.layout is torch.strided
            and not tensor.is_nested
            and torch._C._has_storage(tensor)
            for tensor in tensors
        )
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not torch._C._len_torch_dispatch_stack()
    )


def applied(function: type[Function]) -> Callable[..., Any]:
    """Give `function.apply` without its question whether torch.func is active, which `plain` has denied: 4 µs saved."""
    direct: Callable[..., Any] = getattr(super(Function, function), "apply", function.apply)
    return direct


def hidden_from_dynamo(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep Dynamo from compiling `function` and what it calls, where these run eagerly.

    Dynamo looks at every Python function that starts while an eager backward pass runs inside of a compiled step. What
    a compiled graph calls, compiled autograd's too, may be traced through all the same.
    """
    try:
        # As torch.compiler.disable does, but it costs nothing at a call and loads nothing.
        from torch._C._dynamo.eval_frame import (  # noqa: PLC0415
            _FrameAction,
            _FrameExecStrategy,
            set_code_exec_strategy,
        )

        strategy = _FrameExecStrategy(_FrameAction.SKIP, _FrameAction.SKIP)
        set_code_exec_strategy(function.__code__, strategy)
    except (ImportError, AttributeError, TypeError):
        hide = getattr(torch, "_disable_dynamo", torch.compiler.disable)
        hidden: Callable[..., Any] = hide(function)
        return hidden
    return function


def explained(error: Exception, name: str, input: object, weight: object = None) -> Exception:  # noqa: A002
    """Give torch's own exception again, of the same type, with what to do next after its words."""
    hint = _hint(name, input, weight)
    return type(error)(f"{error}\n{hint}") if hint else error


def _hint(name: str, input: object, weight: object) -> str:  # noqa: A002
    if not isinstance(input, Tensor):
        return f"{name} takes a tensor first; this is a {type(input).__name__}: write torch.as_tensor(x)."
    if input.is_complex():
        return f"{name} needs real values; the input is {input.dtype}: write x.real, x.imag or x.abs()."
    if not input.is_floating_point():
        return f"{name} needs floating-point values; the input is {input.dtype}: write x.float() first."
    if weight is None:
        return ""
    if not isinstance(weight, Tensor):
        return f"{name} takes its slopes as a tensor: write torch.tensor([{weight!r}])."
    if input.device != weight.device:
        to = f"write module.to({str(input.device)!r})"
        return f"The input is on {input.device}, the slopes are on {weight.device}: {to}."
    if input.dtype != weight.dtype:
        return f"The input is {input.dtype}, the slopes are {weight.dtype}: write module.to({input.dtype})."
    channels = input.shape[1] if input.dim() > 1 else 1
    if weight.dim() > 1 or weight.numel() not in (1, channels):
        return (
            f"The slopes have shape {tuple(weight.shape)}, the input {tuple(input.shape)}: use one slope for all, "
            f"PReLU(), or one for each entry of dimension 1, PReLU(num_parameters={channels})."
            + _transformer_hint(input, weight)
        )
    return ""


def _transformer_hint(input: Tensor, weight: Tensor) -> str:  # noqa: A002
    if input.dim() > 2 and weight.dim() == 1 and input.shape[-1] == weight.numel():
        return " The last dimension fits: move it to dimension 1, prelu(x.movedim(-1, 1), a).movedim(1, -1)."
    return ""
