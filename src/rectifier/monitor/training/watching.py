"""What a user asks of a watch: which module, and where its units are; each mistake is told with what to write.

The module is the user's own one, behind the wrappers of parallel training and compilation.
"""

import difflib
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from rectifier.errors import CannotWatch
from rectifier.hooks import FeedingLayer
from rectifier.hooks.modules import unwrapped
from rectifier.records import AxisSource, UnitAxis


def module_to_watch(model: object, *, observe_compiled: bool = False) -> nn.Module:
    """The module whose forwards are to be counted.

    Args:
        model: What the user named.
        observe_compiled: Whether the forward of a compiled module is repeated to be counted.

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
    if compiled and not observe_compiled and not compiler_stands_aside():
        raise CannotWatch(
            f"{type(inner).__name__} is compiled, and nothing can be observed in a compiled graph without changing it. "
            "Let its forward be repeated uncompiled at observed steps, and counted there: "
            "rectifier.watch(model, observe_compiled=True)\n"
            "Or watch some steps of the same training uncompiled; what is compiled stays so for afterwards:\n"
            '    with torch.compiler.set_stance("force_eager"), rectifier.watch(model) as watch:'
        )
    return inner


def check_units(units: Mapping[str, int] | None, model: nn.Module | None) -> dict[str, int]:
    """Where the user says that units are: path of the module that applies the activation -> axis.

    Args:
        units: As given; a path may hold `*`.
        model: Whose paths they are; None for models that nobody has met yet.

    Raises:
        CannotWatch: No module has such a path, or the axis is none that units can be on.
    """
    said = dict(units or {})
    for pattern, axis in said.items():
        if axis not in (1, -1) or isinstance(axis, bool):
            raise CannotWatch(
                f"units={{{pattern!r}: {axis!r}}}: units are on axis 1 (as after a convolution: N, C, H, W) or on "
                f"the last one, -1 (N, T, C). Write units={{{pattern!r}: 1}} or units={{{pattern!r}: -1}}."
            )
        if model is None:
            continue
        names = [path or type(model).__name__ for path, _ in model.named_modules()]
        if not any(fnmatchcase(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
            raise CannotWatch(
                f"units={{{pattern!r}: {axis}}}: {type(model).__name__} has no module of that path. "
                f"Similar ones: {', '.join(near)}. Name the module whose forward applies the activation."
            )
    return said


def said_axis(units: Mapping[str, int], name: str, tensor: Tensor) -> FeedingLayer | None:
    """The axis that the user named for a site, None where nothing was said of it or the tensor has no such axis."""
    axis = next((axis for pattern, axis in units.items() if fnmatchcase(name, pattern)), None)
    if axis is None or tensor.ndim < (2 if axis == 1 else 1):
        return None
    return FeedingLayer(UnitAxis(axis=axis, ndim=tensor.ndim, source=AxisSource.USER))


def compiler_stands_aside() -> bool:
    """Whether compiled modules run as they were written: by torch.compiler.set_stance, or by the environment."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    stance = getattr(getattr(frames, "_stance", None), "stance", None)
    return stance == "force_eager" or (frames is not None and bool(torch._dynamo.config.disable))
