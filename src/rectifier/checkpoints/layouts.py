"""Finding weights and optimizer state in what a file holds, by their structure rather than by the keys' names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rectifier.checkpoints.matching import Shape, TooMany, assign
from rectifier.records import NotTold, Why

_MOST_KEYS = 16
_PACKED = frozenset({getattr(torch, "float4_e2m1fn_x2", None)} - {None})
# Running statistics, and copies that follow the weights, are no parameters of an optimizer.
_BUFFER = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked|position_ids|inv_freq)$")
_NUMBER = re.compile(r"(?<![^.])\d{1,9}(?![^.])")
_COPY = re.compile(r"(^|[._])(ema|swa|average[d]?|teacher|target|best)($|[._])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Owned:
    """One parameter's state in an optimizer, with the settings of its group."""

    number: int
    state: Mapping[str, Any]
    settings: Mapping[str, Any]
    among_others: bool = True
    """Whether the same optimizer holds state for other parameters."""

    @property
    def shape(self) -> Shape | None:
        """Of the parameter, as its state shows; None without such a state."""
        for key in ("exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "sum", "exp_inf"):
            value = self.state.get(key)
            if isinstance(value, Tensor) and value.dim():
                return tuple(value.shape)
        return None


@dataclass(frozen=True, slots=True)
class Contents:
    """What a checkpoint holds.

    Attributes:
        layout: In words.
        weights: Every tensor of floating-point numbers, in the file's order.
        owned: State of the optimizers by the weight's name; a parameter without state has an empty one.
        nameless: State for which no name could be told.
        has_optimizer: Whether there is an optimizer at all.
        keeps_state: Whether an optimizer remembers anything; SGD without momentum does not.
        step: What the file says besides the optimizer.
        notes: What was not read or not matched, and why.
    """

    layout: str
    weights: dict[str, Tensor]
    owned: dict[str, Owned]
    nameless: list[Owned]
    has_optimizer: bool
    keeps_state: bool
    step: int | None
    notes: list[Why]


def sort_out(content: Any, *, ordered: bool) -> Contents:
    """Tell weights from optimizer state, and whose state is whose.

    Args:
        content: What a file held.
        ordered: Whether the weights stand in the model's order; safetensors files sort them by name.
    """
    parts = dict(_parts(content))
    copies = [name for name in parts if _COPY.search(name)]
    notes = [Why(NotTold.COPY_OF_WEIGHTS, details=(name,)) for name in copies]
    if len(copies) < len(parts):
        parts = {name: part for name, part in parts.items() if name not in copies}
    weights: dict[str, Tensor] = {}
    for part, tensors in parts.items():
        prefix = f"{part}." if len(parts) > 1 else ""
        weights.update({f"{prefix}{name}": tensor for name, tensor in tensors.items()})
    optimizers = list(_optimizers(content))
    owned, nameless, doubts = _match(_parameters(weights), optimizers, ordered=ordered)
    return Contents(
        layout=_layout(content, parts),
        weights=weights,
        owned=owned,
        nameless=nameless,
        has_optimizer=bool(optimizers),
        keeps_state=any(_keeps(optimizer["state"]) for optimizer in optimizers),
        step=_step(content),
        notes=notes + doubts,
    )


def _layout(content: Any, parts: Mapping[str, Any]) -> str:
    if not isinstance(content, Mapping) or "" in parts:
        return "state dict"
    if "pytorch-lightning_version" in content:
        return "Lightning checkpoint"
    if "hugging face" in content:
        return f"Hugging Face folder ({content['hugging face']})"
    return f"dictionary with {', '.join(f'`{name}`' for name in parts)}"


def _step(content: Any) -> int | None:
    if isinstance(content, Mapping):
        for key in ("global_step", "step", "iteration", "iter_num", "num_steps"):
            value = content.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                return value
    return None


def _parts(content: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every state dict in a nest of dictionaries, with its path."""
    for path, value in _containers(content, (Mapping,)):
        if tensors := _matrices(value):
            yield ".".join(path), tensors


def _matrices(value: Any) -> dict[str, Tensor]:
    """The numbers of a state dict; nothing where this is none."""
    if not isinstance(value, Mapping) or _is_optimizer(value):
        return {}
    tensors = {
        key: tensor.detach()
        for key, tensor in value.items()
        if isinstance(key, str) and isinstance(tensor, Tensor) and tensor.is_floating_point()
    }
    return tensors if any(tensor.dim() >= 2 for tensor in tensors.values()) else {}


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("param_groups"), list) and "state" in value


def _optimizers(content: Any) -> Iterator[Mapping[str, Any]]:
    return (value for _, value in _containers(content, (Mapping, list, tuple)) if _is_optimizer(value))


def _containers(content: Any, kinds: tuple[type, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every container in a nest, each once however many lead to it, with the keys that lead there.

    What lies in a state dict or an optimizer is not looked at.
    """
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)] if isinstance(content, kinds) else []
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield path, value
        if _is_optimizer(value) or _matrices(value):
            continue
        inside: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else enumerate(value)
        # Of a path that is deeper than any model's, the end says which it is.
        below = [((*path, str(key))[-_MOST_KEYS:], item) for key, item in inside if isinstance(item, kinds)]
        waiting.extend(reversed(below))


def _parameters(weights: Mapping[str, Tensor]) -> dict[str, Shape]:
    """What an optimizer may have numbered: no running statistics, and tied weights once."""
    seen: set[tuple[int, int, Shape]] = set()
    parameters: dict[str, Shape] = {}
    for name, tensor in weights.items():
        shape = tuple(tensor.shape)
        dense = tensor.layout == torch.strided
        place = (
            tensor.untyped_storage().data_ptr() if dense else id(tensor),
            int(tensor.storage_offset()) if dense else 0,
            shape,
        )
        if _BUFFER.search(name) or (tensor.numel() and place in seen):
            continue
        seen.add(place)
        parameters[name] = shape
    return parameters


def _match(
    parameters: Mapping[str, Shape], optimizers: list[Mapping[str, Any]], *, ordered: bool
) -> tuple[dict[str, Owned], list[Owned], list[Why]]:
    owned: dict[str, Owned] = {}
    groups: list[list[Owned]] = []
    for optimizer in optimizers:
        for group in optimizer["param_groups"]:
            members, names = _members(optimizer["state"], group)
            if len(names) == len(members) and all(
                _fits(p, parameters.get(n)) for p, n in zip(members, names, strict=True)
            ):
                owned.update(zip(names, members, strict=True))
            elif members:
                groups.append(members)
    unnamed = [member for group in groups for member in group]
    if not unnamed or not any(member.among_others for member in unnamed):
        return owned, [], []
    left = {name: shape for name, shape in parameters.items() if name not in owned}
    found, why = _by_order(left, groups) if ordered else _by_shape(left, unnamed)
    owned.update(found)
    known = {id(one) for one in found.values()}
    nameless = [one for one in unnamed if id(one) not in known]
    if not nameless:
        return owned, [], []
    return owned, nameless, [Why(why.kind, numbers=(len(nameless), len(unnamed), *why.numbers))]


def _members(states: Any, group: Any) -> tuple[list[Owned], list[str]]:
    """Parameters of a group in their order, and their names where the optimizer kept them."""
    if not isinstance(states, Mapping) or not isinstance(group, Mapping):
        return [], []
    keys = group.get("params")
    if not isinstance(keys, list | tuple):
        return [], []
    settings = {key: value for key, value in group.items() if key not in ("params", "param_names")}
    kept = _keeps(states)
    members, named = [], []
    for number, key in enumerate(keys):
        state = states.get(key) if isinstance(key, int | str) else None
        state = state if isinstance(state, Mapping) and _is_kept(state) else {}
        members.append(Owned(key if isinstance(key, int) else number, state, settings, kept))
        named.append(key)
    names = group.get("param_names")
    return members, [name for name in (names if isinstance(names, list | tuple) else named) if isinstance(name, str)]


def _keeps(states: Any) -> bool:
    return isinstance(states, Mapping) and any(_is_kept(state) for state in states.values())


def _is_kept(state: Any) -> bool:
    """SGD without momentum keeps an entry that is None."""
    return isinstance(state, Mapping) and any(value is not None for value in state.values())


def _fits(member: Owned, shape: Shape | None) -> bool:
    return shape is not None and member.shape in (None, shape)


def _by_order(parameters: Mapping[str, Shape], groups: list[list[Owned]]) -> tuple[dict[str, Owned], Why]:
    names, shapes = list(parameters), list(parameters.values())
    wanted = [[member.shape for member in group] for group in groups]
    count = sum(len(group) for group in groups)
    numbers = (count, len(groups), len(names))
    try:
        steps = assign(shapes, wanted) or assign(shapes, wanted, skipping=True)
    except TooMany:
        return {}, Why(NotTold.NAMELESS_TOO_MANY_ORDERS, numbers=numbers)
    if steps is None:
        return {}, Why(NotTold.NAMELESS_NO_ORDER, numbers=numbers)
    found = {name: groups[step[0]][step[1]] for name, step in zip(names, steps, strict=True) if step is not None}
    return found, Why(NotTold.NAMELESS_SEVERAL_ORDERS, numbers=numbers)


def _by_shape(parameters: Mapping[str, Shape], members: list[Owned]) -> tuple[dict[str, Owned], Why]:
    """Without an order a shape tells where it stands once on both sides, or for the like weights of numbered layers.

    `layer.2.fc.weight` comes before `layer.10.fc.weight` in every model that numbers its layers.
    """
    why = Why(NotTold.NAMELESS_SORTED)
    if len(members) != len(parameters) or any(member.shape is None for member in members):
        # A weight without an entry, or an entry without state, may have any of the shapes.
        return {}, why
    found: dict[str, Owned] = {}
    for shape in dict.fromkeys(parameters.values()):
        names = sorted((name for name, own in parameters.items() if own == shape), key=_numbers)
        alike = [member for member in members if member.shape == shape]
        one_group = len({id(member.settings) for member in alike}) == 1  # groups by layer may run from the last one on
        if len(names) == len(alike) and one_group and len({_NUMBER.sub("0", name) for name in names}) == 1:
            found.update(zip(names, alike, strict=True))
    return found, why


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBER.findall(name))


def is_whole(tensor: Tensor) -> bool:
    """Whether a tensor is stored as it is read: dense, on the CPU, and not one number claimed a billion times.

    Numbers that are packed two to a byte cannot be read one by one.
    """
    return (
        tensor.dtype not in _PACKED
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )
