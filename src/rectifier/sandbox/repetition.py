"""Running a forward a second time, with the same inputs and as it is written, where it runs compiled in earnest.

The second run begins at the same point of every random stream and with the same buffers, and leaves all of them where
they were. Its graph holds no tensors, so it takes no more memory than a forward without gradients; the first one also
takes a copy of the weights.
"""

import collections
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from rectifier.sandbox.belongings import CannotKeep, belongings_kept
from rectifier.sandbox.streams import streams_kept

_GLOBAL_HOOKS = (
    "_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks", "_global_backward_pre_hooks",
    "_global_forward_hooks_always_called", "_global_forward_hooks_with_kwargs",
)  # fmt: skip


def why_not_repeated(model: nn.Module) -> str | None:
    """Why a model's forward may not be run on the side; None if it may."""
    sharded = any(base.__name__ == "FSDPModule" for module in model.modules() for base in type(module).__mro__)
    if sharded or any(hasattr(weight, "to_local") for weight in model.parameters()):
        return "its weights are divided over the ranks, which would have to run it together"
    return None


def repeat(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *, first: bool = True) -> Any:
    """Run a module's forward on the side, uncompiled; returns its output, whose graph cannot be run backward.

    Warning:
        What a forward prints, or writes to a file, a global variable or a closure, it writes twice.

    Args:
        model: The module itself, out of the wrappers of compilation and parallel training.
        args: What its forward is about to be called with; it gets copies.
        kwargs: Likewise.
        first: Copy the weights, too, so that a forward that writes to them is found out before it did any harm.
            Without, one that assigns to `weight.data` still is; one that writes in place is told of too late.

    Raises:
        CannotKeep: It cannot be run without a trace; mostly told before anything has run.
        Exception: Whatever the forward raises.
    """
    with ExitStack() as around:
        # Lists and dictionaries among the arguments are copied with their tensors; other objects are not.
        others = [leaf for leaf in tree_leaves((args, kwargs)) if not isinstance(leaf, Tensor)]
        around.enter_context(belongings_kept(model, *others, first=first))
        around.enter_context(streams_kept())
        around.enter_context(_no_cached_casts())
        around.enter_context(_no_global_hooks())
        around.enter_context(torch.compiler.set_stance("force_eager"))
        around.enter_context(torch.autograd.graph.saved_tensors_hooks(lambda tensor: None, lambda nothing: nothing))
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            around.enter_context(_NoCollectives())  # type: ignore[no-untyped-call]
        copied_args, copied_kwargs = tree_map(_copy, (args, kwargs))
        return model._call_impl(*copied_args, **copied_kwargs)  # type: ignore[no-untyped-call]


def _copy(value: Any) -> Any:
    # An activation in place may come first of all. The copy keeps its history, which tells where units are.
    return value.clone() if isinstance(value, Tensor) else value


@contextmanager
def _no_cached_casts() -> Iterator[None]:
    """Autocast keeps each weight that it has cast for the whole region, with the history that it had here."""
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


@contextmanager
def _no_global_hooks() -> Iterator[None]:
    """Hooks on every module of the process are somebody's, and were not called for this."""
    table = vars(nn.modules.module)
    before = {name: table[name] for name in _GLOBAL_HOOKS if name in table}
    try:
        table.update({name: collections.OrderedDict() for name in before if before[name]})
        yield
    finally:
        table.update(before)


class _NoCollectives(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Other ranks repeat other steps: a forward that waits for them would wait for ever."""

    rectifier_mode = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "c10d" in func.namespace:
            raise CannotKeep(f"the forward calls {func}, for which every rank would have to repeat the same steps")
        return func(*args, **(kwargs or {}))
