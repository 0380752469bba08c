"""Leaving somebody's model as it was.

What is put back: each module's mode, buffers (a batch norm's statistics), which parameters ask for gradients, and
every random stream. `.grad` is never written. What cannot be: a plain Python attribute that a forward changes, and
files that it writes.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from rectifier.sandbox.streams import streams_kept


@contextmanager
def undisturbed(
    model: nn.Module, *sources: object, training: bool | None = None, seed: int | None = None
) -> Iterator[None]:
    """Within it the model may be run, and all of its calls can be seen; afterwards everything is as it was.

    Args:
        model: Any module; parts of it that are compiled run as they are written.
        sources: Where data come from: a loader's own generators are put back, too.
        training: True for the model as it is in training, whatever mode it is in now: parts that the user keeps in
            another mode stay in it. False for all of it in evaluation. None for each part as it is.
        seed: Begin the random streams there: the same dropout at every pass.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    # torch's attention has a path for evaluation that no interception sees.
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with streams_kept(*sources, seed=seed), _eager(model):
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            if training is True and not model.training:
                model.train()
            elif training is False:
                for module, _ in modes:
                    module.training = False
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
            for module, mode in modes:
                module.training = mode
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer
                # Written only if it was: a new version would break a graph that the user still holds. A batch norm
                # writes without one, so the values are what tells.
                if buffer is not None and before is not None and not same(buffer, before):
                    with torch.no_grad():
                        buffer.copy_(before)


@contextmanager
def gradients_asked(model: nn.Module, *, asked: bool = True) -> Iterator[None]:
    """Within it every parameter asks for a gradient: the graph tells where units are, of a frozen network, too.

    With `asked=False` none does: gradients may be on as in training, and no graph is made.
    """
    leaves = [p for p in model.parameters() if p.is_leaf and (p.is_floating_point() or not asked)]
    others = [p for p in leaves if p.requires_grad is not asked]
    try:
        for parameter in others:
            parameter.requires_grad_(asked)
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(not asked)


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal in every entry, NaN taken as equal to itself."""
    if torch.equal(one, other):
        return True
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _eager(model: nn.Module) -> AbstractContextManager[None]:
    compiled = any(module._compiled_call_impl is not None or hasattr(module, "_orig_mod") for module in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
