"""A checkpoint, and what changed since an earlier one, as plain facts about rows."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rectifier.checkpoints.layouts import Contents, Owned, is_whole, sort_out
from rectifier.checkpoints.opening import open_checkpoint
from rectifier.checkpoints.rows import (
    as_number,
    bias_of,
    is_embedding,
    is_gate,
    memory_of,
    normalised,
    row_numbers,
    unit_axes,
    unmoved_rows,
)
from rectifier.errors import UnreadableCheckpoint
from rectifier.records import Checkpoint, Memory, NotTold, WeightRows, Why
from rectifier.records.arrays import BoolArray

_MOST_TIMES = 16
"""Layers that share their weights are found up to as often in well-known models (ALBERT: 12)."""
_FEW_BYTES = 1 << 28


def read_checkpoint(path: Path, earlier: Path | None = None) -> Checkpoint:
    """What a file or folder holds about every row of every weight.

    Args:
        path: A state dict, a dictionary with one, a Lightning checkpoint, a safetensors file, or a folder of
            Hugging Face's.
        earlier: Another one of the same training, to see which rows did not move since.

    Raises:
        UnreadableCheckpoint: One of the two is missing, damaged, of another format, or needs code to open.
    """
    contents, before = _contents(path), None if earlier is None else _contents(earlier)
    with torch.inference_mode():
        weights, skipped = _rows(contents, before)
        nameless = [_nameless(owned) for owned in contents.nameless]
    step, since = _step(contents), _step(before) if before is not None else None
    if step is not None and since is not None and step < since:
        raise UnreadableCheckpoint(
            f"{earlier} is the later of the two (step {since:,} against {step:,}): rectifier inspect {earlier} {path}"
        )
    return Checkpoint(
        path=str(path),
        layout=contents.layout,
        weights=(*weights, *(rows for rows in nameless if rows is not None)),
        step=step,
        earlier=None if earlier is None else str(earlier),
        steps_between=step - since if step is not None and since is not None else None,
        notes=(*contents.notes, *skipped),
    )


def _contents(path: Path) -> Contents:
    content, ordered = open_checkpoint(path)
    contents = sort_out(content, ordered=ordered)
    if contents.weights:
        _check_size(path, contents)
        return contents
    if contents.has_optimizer:
        raise UnreadableCheckpoint(
            f"{path} holds an optimizer's state and no weights: name the folder, or the file with both."
        )
    keys = list(content)[:8] if isinstance(content, dict) else type(content).__name__
    raise UnreadableCheckpoint(f"{path} holds no weight matrix that was found. At its top stands: {keys}.")


def _check_size(path: Path, contents: Contents) -> None:
    """Refuse a file that shows the same numbers again and again: reading them all would take for ever."""
    tensors = [tensor for tensor in contents.weights.values() if is_whole(tensor)]
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if claimed > max(_MOST_TIMES * sum(held.values()), _FEW_BYTES):
        raise UnreadableCheckpoint(
            f"{path} shows the same numbers many times: its weights would take {claimed:,} bytes, and it holds "
            f"{sum(held.values()):,}. Save the state dict of one model."
        )


def _step(contents: Contents) -> int | None:
    """The optimizer's count where there is one: epochs and trainers count other things, too."""
    states = [owned.state for owned in (*contents.owned.values(), *contents.nameless)]
    counts = [int(as_number(state["step"])) for state in states if state.get("step") is not None]
    return max(counts, default=contents.step)


def _rows(contents: Contents, before: Contents | None) -> tuple[list[WeightRows], list[Why]]:
    weights = contents.weights
    rows: list[WeightRows] = []
    notes: list[Why] = []
    unread = [
        name for name, weight in weights.items() if weight.dim() >= 2 and not (weight.numel() and is_whole(weight))
    ]
    if unread:
        notes.append(Why(NotTold.WEIGHTS_NOT_PLAIN_NUMBERS, details=tuple(unread)))
    axes = unit_axes(weights)
    scaled = normalised(weights, axes)
    for name, axis in axes.items():
        if name in unread:
            continue
        weight, bias = weights[name], bias_of(name, weights)
        if bias is not None and len(bias) != weight.shape[axis]:
            bias = None
        largest, norm = row_numbers(weight, axis)
        numbers = None if bias is None else bias.double().numpy()
        memory, state = _memory(contents, name, weight, axis)
        unmoved, why = _unmoved(contents, before, name, axis)
        notes += [] if why is None else [Why(why, details=(name,))]
        rows.append(
            WeightRows(
                name=name,
                shape=tuple(weight.shape),
                rows=weight.shape[axis],
                fan_in=weight.numel() // weight.shape[axis],
                axis=axis,
                embedding=is_embedding(name),
                mixed=is_gate(name) or name in scaled,
                largest=largest,
                norm=norm if numbers is None else np.where(np.isfinite(numbers), norm, np.nan),
                bias=numbers,
                memory=memory,
                bias_memory=None if bias is None else _memory(contents, _bias_name(name), bias, 0)[0],
                earlier_memory=None if before is None else _memory(before, name, before.weights.get(name), axis)[0],
                state=state,
                unmoved=unmoved,
            )
        )
    return rows, notes


def _memory(contents: Contents, name: str, weight: Tensor | None, axis: int) -> tuple[Memory | None, Why | None]:
    owned = contents.owned.get(name)
    if owned is None:
        if not contents.has_optimizer:
            return None, None
        if not contents.keeps_state:
            return None, Why(NotTold.NO_STATE)
        return None, Why(NotTold.NOT_MATCHED if contents.nameless else NotTold.NOT_IN_OPTIMIZER)
    return memory_of(owned, weight, axis)


def _bias_name(name: str) -> str:
    head, _, tail = name.rpartition("weight")
    return f"{head}bias{tail}"


def _nameless(owned: Owned) -> WeightRows | None:
    shape = owned.shape
    if shape is None or len(shape) < 2:
        return None
    memory, state = memory_of(owned, None, 0)
    return WeightRows(
        name=f"optimizer parameter {owned.number}",
        shape=shape,
        rows=shape[0],
        fan_in=int(np.prod(shape[1:])),
        memory=memory,
        state=state,
    )


def _unmoved(
    contents: Contents, before: Contents | None, name: str, axis: int
) -> tuple[BoolArray | None, NotTold | None]:
    if before is None:
        return None, None
    weight, old = contents.weights[name], before.weights.get(name)
    if old is None:
        return None, NotTold.NOT_IN_EARLIER
    if old.shape != weight.shape or old.dtype != weight.dtype or not is_whole(old):
        return None, NotTold.OTHER_IN_EARLIER
    same = unmoved_rows(weight, old, axis)
    bias, old_bias = bias_of(name, contents.weights), bias_of(name, before.weights)
    if bias is not None and len(bias) == len(same):
        if old_bias is None or old_bias.shape != bias.shape or old_bias.dtype != bias.dtype:
            return None, NotTold.OTHER_BIAS_IN_EARLIER
        same &= unmoved_rows(bias, old_bias, 0)
    return same, None
