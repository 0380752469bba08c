"""Which module a watch is about: the user's own one, behind the wrappers of parallel training and compilation."""

import sys

import torch
from torch import nn

from rectifier.errors import CannotWatch
from rectifier.sites.modules import unwrapped


def module_to_watch(model: object) -> nn.Module:
    """The module whose forwards are to be counted.

    Raises:
        CannotWatch: It is no module, or it is compiled and would run so; the text has the line to write instead.
    """
    if not isinstance(model, nn.Module):
        raise CannotWatch(
            f"watch takes a torch.nn.Module, and got a {type(model).__name__}. "
            "To observe every model of the process: rectifier.watch()"
        )
    inner = unwrapped(model)
    compiled = any("_orig_mod" in part._modules or part._compiled_call_impl is not None for part in (model, inner))
    if compiled and not _compiler_stands_aside():
        raise CannotWatch(
            f"{type(inner).__name__} is compiled, and nothing can be observed in a compiled graph without changing it. "
            "Watch some steps of the same training uncompiled; what is compiled stays so for afterwards:\n"
            '    with torch.compiler.set_stance("force_eager"), rectifier.watch(model) as watch:'
        )
    return inner


def _compiler_stands_aside() -> bool:
    """Whether compiled modules run as they were written: by torch.compiler.set_stance, or by the environment."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    stance = getattr(getattr(frames, "_stance", None), "stance", None)
    return stance == "force_eager" or (frames is not None and bool(torch._dynamo.config.disable))
