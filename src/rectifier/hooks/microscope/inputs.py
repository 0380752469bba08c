"""What a model is given at one step: offset, scale, constancy, finiteness, and how many rows."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rectifier.hooks.microscope.source_lines import users_line
from rectifier.records import CauseKind, Sight, SightKind


def inputs_of(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], step: int) -> list[Sight]:
    """One sight for each tensor that a model is given; of a model's own output there is nothing to tell."""
    named = [(str(number), value) for number, value in enumerate(tree_leaves((args, kwargs)))]
    line = users_line(2)
    given = {name: facts_of(value) for name, value in named if _is_data(value)}
    # A mask or a time step may well be the same for all rows; what tells them apart is then another input.
    constant = bool(given) and all(one["rows"] > 1 and one["distinct_rows"] == 1 for one in given.values())
    found = []
    for name, numbers in given.items():
        kind = CauseKind.INPUT_CONSTANT if constant else CauseKind.UNKNOWN
        if numbers["not_finite"]:
            kind = CauseKind.INPUT_NOT_FINITE
        found.append(
            Sight(
                kind=SightKind.INPUTS,
                operation=f"{type(module).__name__}[{name}]",
                phase="forward",
                place=line.place if line is not None else "",
                expression=line.expression if line is not None else "",
                step=step,
                numbers=numbers,
                cause_kind=kind,
            )
        )
    return found


def _is_data(value: Any) -> bool:
    return type(value) is Tensor and value.grad_fn is None and value.numel() > 0 and not value.is_complex()


def facts_of(value: Tensor) -> dict[str, float]:
    """Numbers of a batch: `offset` and `scale` are the medians of |μ| and σ over its features."""
    with torch.no_grad():
        rows = len(value) if value.ndim else 1
        numbers = value.detach().double().reshape(rows, -1)
        finite = numbers.isfinite()
        found = {"rows": float(rows), "features": float(numbers.shape[1]), "not_finite": float((~finite).sum())}
        numbers = numbers.where(finite, 0)
        mean, deviation = numbers.mean(0), numbers.std(0, correction=0)
        found |= {
            "offset": float(mean.abs().median()),
            "scale": float(deviation.median()),
            "rms": float(numbers.square().mean().sqrt()),
            "largest": float(numbers.abs().max()),
            "integers": float(not value.is_floating_point()),
            "constant_features": float((deviation <= 1e-12 * mean.abs()).sum()),
            "distinct_rows": float(len(torch.unique(numbers, dim=0))) if numbers.numel() <= 1 << 20 else float(rows),
        }
        return found
