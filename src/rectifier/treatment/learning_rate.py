"""The plain competitor of every other treatment: the same training at another learning rate."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


def scale_learning_rates(factor: float) -> Callable[[], None]:
    """Let every optimizer of this process step at `factor` times its learning rate; returns the undo.

    The rate is scaled for the length of a step only, so that schedulers, resumed states and the script itself see and
    set what they always do.

    Args:
        factor: 0.5 halves the rate.

    Raises:
        ValueError: The factor is not above 0.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = torch.optim.SGD([weight], lr=0.5)
        >>> undo = scale_learning_rates(0.5)
        >>> weight.grad = torch.tensor([1.0])
        >>> optimizer.step(); undo()
        >>> weight.item(), optimizer.param_groups[0]["lr"]
        (0.75, 0.5)
    """
    if not factor > 0:
        raise ValueError(f"the learning rate cannot be multiplied by {factor}: the factor must be above 0")
    asked: dict[int, list[tuple[dict[str, Any], Any]]] = {}

    def before(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # A step that raised never came to its end; its rate is put back before the next.
        after(optimizer, args, kwargs)
        # One optimizer around another (SAM, Lookahead) steps the same groups within its own step.
        scaled = {id(group) for groups in asked.values() for group, _ in groups}
        own = [group for group in optimizer.param_groups if group.get("lr") is not None and id(group) not in scaled]
        asked[id(optimizer)] = [(group, group["lr"]) for group in own]
        for group in own:
            group["lr"] = group["lr"] * factor

    def after(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for group, rate in asked.pop(id(optimizer), ()):
            group["lr"] = rate

    handles = (register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after))

    def undo() -> None:
        for handle in handles:
            handle.remove()

    return undo
