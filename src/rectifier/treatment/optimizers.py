"""Learned slopes in a running optimizer: beside the weights of their layer, without weight decay.

Weight decay would pull a slope to 0, which is ReLU (He et al. 2015, arXiv:1502.01852, section 2.1). A learning-rate
scheduler keeps one number for each group; a group that it does not know ends in an error at its next step, so the
schedulers of torch are told, and others are refused by name.
"""

import gc
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rectifier.errors import CannotSwap

_NO_NEW_PARAMETERS = {
    "LBFGS": "it keeps one flat vector of all parameters",
    "ZeroRedundancyOptimizer": "it divided the parameters between the ranks when it was made",
}
_PER_GROUP = (
    "base_lrs", "_last_lr", "lr_lambdas", "min_lrs", "max_lrs", "base_momentums", "max_momentums",
)  # fmt: skip
_AFTER = "Make the optimizer after the swap instead."

Group = dict[str, Any]


def refuse(optimizer: Optimizer, weights: list[nn.Parameter]) -> None:
    """Refuse an optimizer that cannot take new parameters, before anything is changed.

    Raises:
        CannotSwap: By the name of the optimizer, or of the scheduler that would have to know the new group.
    """
    for cls in type(optimizer).__mro__:
        if reason := _NO_NEW_PARAMETERS.get(cls.__name__):
            raise CannotSwap(f"{type(optimizer).__name__} cannot take new parameters: {reason}. {_AFTER}")
    if not _decayed(optimizer, weights):
        return
    schedulers = _schedulers(optimizer)
    lists = _lists(optimizer, schedulers)
    if all(_home(optimizer, weight, lists) is not None for weight in weights):
        return
    for scheduler in schedulers:
        if not type(scheduler).__module__.startswith("torch.optim."):
            raise CannotSwap(
                f"The slopes need a parameter group without weight decay, and {type(scheduler).__name__} keeps one "
                f"number for each group of {type(optimizer).__name__}, in a way that is not known. Make optimizer and "
                "scheduler after the swap instead."
            )


def add(optimizer: Optimizer, slopes: list[tuple[str, nn.Parameter, nn.Parameter]]) -> Callable[[], None]:
    """Add slopes to the optimizer; returns what takes them out again, with their state.

    Args:
        optimizer: Any optimizer that works on `param_groups`.
        slopes: For each its name, itself, and a weight of its layer.
    """
    undo: list[Callable[[], None]] = []
    scheduled = _schedulers(optimizer) if _decayed(optimizer, [weight for _, _, weight in slopes]) else []
    lists = _lists(optimizer, scheduled)
    for name, slope, weight in slopes:
        home = _home(optimizer, weight, lists)
        if home is None:
            undo.append(_open(optimizer, _group(optimizer, weight), name, slope, lists))
        else:
            undo.append(_join(home, name, slope))

    def take_out() -> None:
        for step in reversed(undo):
            step()
        for _, slope, _ in slopes:
            optimizer.state.pop(slope, None)

    return take_out


def _decayed(optimizer: Optimizer, weights: list[nn.Parameter]) -> bool:
    """Whether slopes cannot simply join the groups of these weights."""
    return any(_decay(_group(optimizer, weight)) for weight in weights)


def _group(optimizer: Optimizer, weight: nn.Parameter) -> Group:
    """The group that holds a weight; the first where none does (the weight is frozen, or left out on purpose)."""
    groups: list[Group] = optimizer.param_groups
    return next((group for group in groups if any(p is weight for p in group["params"])), groups[0])


def _home(optimizer: Optimizer, weight: nn.Parameter, lists: list[list[Any]]) -> Group | None:
    """A group like the weight's that has no weight decay: the same, or another that differs in nothing else.

    Two groups that are alike now may be moved apart by a scheduler, so that what it keeps of them has to be alike, too.
    """
    own = _group(optimizer, weight)
    if _decay(own) == 0:
        return own
    groups: list[Group] = optimizer.param_groups
    index = _index(groups, own)
    for number, group in enumerate(groups):
        scheduled = all(_equal(values[number], values[index]) for values in lists)
        if _decay(group) == 0 and _same(own, group) and scheduled:
            return group
    return None


def _index(groups: list[Group], own: Group) -> int:
    return next(index for index, group in enumerate(groups) if group is own)


def _decay(group: Group) -> float:
    return float(group.get("weight_decay") or 0)


def _same(one: Group, other: Group) -> bool:
    left = {"params", "param_names", "weight_decay"}
    keys = (one.keys() | other.keys()) - left
    return all(key in one and key in other and _equal(one[key], other[key]) for key in keys)


def _equal(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def _join(group: Group, name: str, slope: nn.Parameter) -> Callable[[], None]:
    group["params"].append(slope)
    if "param_names" in group:
        group["param_names"].append(name)

    def leave() -> None:
        index = next((i for i, p in enumerate(group["params"]) if p is slope), None)
        if index is not None:
            del group["params"][index]
            if "param_names" in group:
                del group["param_names"][index]

    return leave


def _open(
    optimizer: Optimizer, like: Group, name: str, slope: nn.Parameter, lists: list[list[Any]]
) -> Callable[[], None]:
    source = _index(optimizer.param_groups, like)
    group = {key: _own(value) for key, value in like.items() if key not in ("params", "param_names")}
    group |= {"params": [(name, slope)] if "param_names" in like else [slope], "weight_decay": 0.0}
    optimizer.add_param_group(group)
    for values in lists:
        values.append(_own(values[source]))

    def close() -> None:
        # A group that the user added since stands behind this one, in the schedulers' lists, too.
        index = next((i for i, found in enumerate(optimizer.param_groups) if found is group), None)
        if index is None:
            return
        del optimizer.param_groups[index]
        for values in lists:
            if index < len(values):
                del values[index]

    return close


def _own(value: Any) -> Any:
    """A learning rate that is a tensor is written in place by schedulers."""
    return value.clone() if isinstance(value, Tensor) else value


def _schedulers(optimizer: Optimizer) -> list[Any]:
    """The schedulers of an optimizer. It does not know them, so they are looked for among all objects.

    Those that are not built on torch's are told by their name.
    """
    kinds: dict[type, bool] = {}
    found = []
    for thing in gc.get_objects():
        cls = type(thing)
        if cls not in kinds:
            kinds[cls] = issubclass(cls, LRScheduler) or "schedul" in cls.__name__.lower()
        if kinds[cls] and getattr(thing, "__dict__", {}).get("optimizer") is optimizer:
            found.append(thing)
    return found


def _lists(optimizer: Optimizer, schedulers: list[Any]) -> list[list[Any]]:
    """What the schedulers keep of each group, one list for each kind of number; some share one."""
    count = len(optimizer.param_groups)
    found = (vars(scheduler).get(name) for scheduler in schedulers for name in _PER_GROUP)
    lists = {id(values): values for values in found if isinstance(values, list) and len(values) == count}
    return list(lists.values())
