"""What can only be measured: the factor that gives a layer's output unit variance, and whether its scale matters."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rectifier.errors import CannotRescale
from rectifier.hooks.calls import functions
from rectifier.sandbox import Pass, tensors_in, undisturbed
from rectifier.treatment.rescaling.change import Scaled
from rectifier.treatment.rescaling.layers import deviation

_TRIES = 10
_NEAR_ENOUGH = 1e-3
# How near a bias that does not scale with its weight may keep the deviation from 1; the paper's own tolerance.
_TOLERATED = 0.1
_DIRECTIONS = 4
# Behind a normalisation ∂ log ‖outputs‖ / ∂ log scale is its ε over the variance, 1e-5 at variance 1; the layers of a
# branch among a hundred still have 1e-2.
_MATTERS = 1e-3
_UNHEARD = "nothing of it reaches the outputs on this batch: its branch begins at 0, or is silent"


@torch.no_grad()
def equalise(given: Pass, steps: Sequence[Scaled]) -> dict[str, str]:
    """Scale each weight until its layer's output has variance 1, one layer after the other, in one forward.

    The paper also redraws the weights as orthonormal matrices first; here their directions stay as they were drawn.

    Args:
        given: The module and a batch.
        steps: The weights that are meant.

    Returns:
        By path of the layer, why no factor could be found; its weight is as it was.

    Source: Mishkin & Matas 2016, arXiv:1511.06422, algorithm 1.
    """
    problems: dict[str, str] = {}
    done: set[int] = set()
    for step in steps:
        step.set(1.0)

    def watching(step: Scaled) -> Any:
        def called(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor | None:
            if id(step) in done:
                return None
            done.add(id(step))
            before = after = deviation(output)
            factor = 1.0
            for _ in range(_TRIES):
                if not math.isfinite(after) or after == 0 or abs(after - 1) < _NEAR_ENOUGH:
                    break
                # Its bias does not grow with it, so that one step may not be enough.
                factor /= after
                step.set(factor)
                output = module.forward(*args, **kwargs)
                after = deviation(output)
            if (problem := _problem(before, after, factor)) is not None:
                problems[step.layer.path] = problem
                step.set(1.0)
                output = module.forward(*args, **kwargs)
            return output

        return step.layer.module.register_forward_hook(called, with_kwargs=True)

    handles = [watching(step) for step in steps]
    try:
        with undisturbed(given.model, training=True, seed=0):
            given.run()
    finally:
        for handle in handles:
            handle.remove()
    return problems


def _problem(before: float, after: float, factor: float) -> str | None:
    if not math.isfinite(before):
        return "its output is not finite on this batch"
    if before == 0:
        return "its output is one constant on this batch"
    if not math.isfinite(after) or not math.isfinite(factor):
        return "no finite factor makes its output vary by 1"
    if abs(after - 1) >= _TOLERATED:
        return f"its bias alone varies so much that no factor makes the deviation 1 (it stays at {after:.3g})"
    return None


def without_effect(given: Pass, steps: Sequence[Scaled]) -> dict[str, str]:
    """By path, the layers whose scale does not matter to what the model returns, with the reason.

    Each layer's output is multiplied by a scalar that is 1, and the derivative of the model's outputs by it is taken in
    a few random directions: it is 0 in a branch that begins at 0, and nearly so where a normalisation takes the scale
    out again, in whatever way that is written.

    Args:
        given: The module, already rescaled: where signals vanish everything seems to be without effect; and a batch.
        steps: The layers that are asked about.

    Raises:
        CannotRescale: No gradient leads from the outputs to a layer.
    """
    scales = [torch.ones((), dtype=s.layer.weight.dtype, device=s.layer.weight.device) for s in steps]
    entered: list[Tensor] = []

    def multiplying(step: Scaled, scale: Tensor) -> Any:
        return step.layer.module.register_forward_hook(lambda module, args, output: output * scale)

    def begins_at_zero(module: nn.Module, args: tuple[Any, ...]) -> None:
        weight = module._parameters.get("weight")
        if weight is not None and not weight.detach().any() and args and isinstance(args[0], Tensor):
            entered.append(args[0])

    handles = [multiplying(step, scale.requires_grad_()) for step, scale in zip(steps, scales, strict=True)]
    handles += [
        module.register_forward_pre_hook(begins_at_zero) for module in given.model.modules() if not module._modules
    ]
    try:
        # A watch would take this forward for one of the training's.
        with undisturbed(given.model, training=True, seed=0), torch.enable_grad(), functions.unobserved():
            returned = list(tensors_in(given.run()))
            effects = _effects(returned, scales)
            if entered and not any(effects):
                # A head that begins at 0 hides everything from the outputs: then what it reads is the output.
                effects = _effects(entered[-1:], scales)
    finally:
        for handle in handles:
            handle.remove()
    reasons = {}
    for step, effect in zip(steps, effects, strict=True):
        if effect is None:
            reasons[step.layer.path] = "no gradient leads from the outputs to it"
        elif effect == 0:
            reasons[step.layer.path] = _UNHEARD
        elif effect < _MATTERS:
            reasons[step.layer.path] = "a normalisation behind it takes its scale out again"
    return reasons


def _effects(outputs: Sequence[Tensor], scales: Sequence[Tensor]) -> list[float | None]:
    """‖∂y/∂ log s‖ / ‖y‖ of each scale, estimated in random directions; None where no gradient leads to it."""
    meant = [out for out in outputs if out.requires_grad and out.is_floating_point() and out.numel()]
    if not meant:
        raise CannotRescale("No output of the model has a gradient: what a layer's scale does to it cannot be told.")
    own = torch.Generator().manual_seed(0)
    squares: list[float | None] = [None] * len(scales)
    for _ in range(_DIRECTIONS):
        # One sum: of several outputs autograd checks the shapes with symbols, and imports a second's worth for that.
        along: list[Tensor] = []
        for out in meant:
            drawn = torch.randn(out.shape, generator=own).to(device=out.device, dtype=out.dtype)
            size = out.detach().norm().clamp_min(torch.finfo(out.dtype).tiny)
            along.append(((out * drawn).sum() / size).to(meant[0].device))
        try:
            found = torch.autograd.grad(sum(along), scales, retain_graph=True, allow_unused=True)  # type: ignore[arg-type]
        except RuntimeError as error:
            raise CannotRescale(f"The backward pass failed on the batch: {error}") from error
        for index, gradient in enumerate(found):
            if gradient is not None:
                squares[index] = (squares[index] or 0.0) + float(gradient) ** 2
    return [None if square is None else math.sqrt(square / _DIRECTIONS) for square in squares]
