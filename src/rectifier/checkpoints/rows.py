"""Weights and optimizer state, reduced row by row to the few numbers that can be judged without a tensor."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rectifier.checkpoints.layouts import Owned, is_whole
from rectifier.records import FloatArray, Memory, NotTold, Why

_CHUNK_NUMBERS = 1 << 22
_EMBEDDING = re.compile(r"(^|[._])(\w*embed(ding|dings|s)?|w[tp]e|emb|lookup|vocab|shared)([._]|$)", re.IGNORECASE)
_GATE = re.compile(r"weight_[ih]h|in_proj|c_attn|(^|[._])(q|k|v|qkv|query|key|value)(_proj)?[._]", re.IGNORECASE)
_ADAPTIVE = 10.0
"""How much sooner than `lr` a normalised update may move a weight; Cauchy and Schwarz allow 7.3 at Adam's defaults."""
_PROPORTIONAL = 1e-6
"""Relative error to which momentum that only decay feeds is proportional to the weights in float32."""


def unit_axes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Along which dimension each weight counts its units: where the bias is as long, else the first.

    Square weights follow others of the same last name: GPT-2's `c_proj` is square in one place and not in another.
    """
    votes: Counter[tuple[str, int]] = Counter()
    axes: dict[str, int] = {}
    for name, weight in weights.items():
        if weight.dim() < 2:
            continue
        bias = bias_of(name, weights)
        axes[name] = 0
        if bias is not None and weight.shape[0] != weight.shape[1] and len(bias) in weight.shape[:2]:
            axes[name] = list(weight.shape[:2]).index(len(bias))
            votes[_leaf(name), axes[name]] += 1
    for name in axes:
        if weights[name].shape[0] == weights[name].shape[1] and votes[_leaf(name), 1] > votes[_leaf(name), 0]:
            axes[name] = 1
    return axes


def _leaf(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def bias_of(name: str, weights: Mapping[str, Tensor]) -> Tensor | None:
    """The bias that stands beside a weight of this name."""
    head, found, tail = name.rpartition("weight")
    bias = weights.get(f"{head}bias{tail}") if found else None
    return bias if bias is not None and bias.dim() == 1 and is_whole(bias) else None


def is_embedding(name: str) -> bool:
    """Whether a weight's name says that it is a table which is looked up.

    Example:
        >>> [is_embedding(name) for name in ("tok_embeddings.weight", "transformer.wte.weight", "fc1.weight")]
        [True, True, False]
    """
    return bool(_EMBEDDING.search(name))


def is_gate(name: str) -> bool:
    """Whether a weight's name says that it feeds gates or attention, where no row makes a unit of its own."""
    return bool(_GATE.search(name))


def normalised(weights: Mapping[str, Tensor], axes: Mapping[str, int]) -> set[str]:
    """The weights after which, or after whose bias, a normalisation's scale comes."""
    names = list(weights)
    return {
        name
        for place, name in enumerate(names)
        if name in axes
        and any(
            other.endswith("weight") and tuple(weights[other].shape) == (weights[name].shape[axes[name]],)
            for other in names[place + 1 : place + 3]
        )
    }


def row_numbers(weight: Tensor, axis: int) -> tuple[FloatArray, FloatArray]:
    """Largest number and Euclidean norm of each row."""
    largest, norm = [], []
    for (part,) in _chunks(axis, weight):
        largest.append(part.amax(1))
        norm.append(torch.linalg.vector_norm(part, dim=1))
    return _joined(largest), _joined(norm)


def unmoved_rows(now: Tensor, before: Tensor, axis: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows whose bits are the same; a NaN equals the same NaN, and 0 differs from −0."""
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[now.element_size()]
    same = []
    for part, old in _chunks(axis, now.view(integers), before.view(integers), convert=False):
        same.append((part == old).all(1))
    return torch.cat(same).numpy()


def memory_of(owned: Owned, weight: Tensor | None, axis: int) -> tuple[Memory | None, Why | None]:
    """What an optimizer's state says about each row, or why it says nothing.

    Args:
        owned: The state.
        weight: The weight itself, None where its name is not known.
        axis: Along which its units are counted.
    """
    if not owned.state:
        return None, Why(NotTold.FROZEN if owned.among_others else NotTold.NO_STATE_OF_THIS)
    trace = _trace_of(owned)
    if trace is None:
        return None, Why(NotTold.STATE_NOT_KNOWN, details=tuple(sorted(map(str, owned.state))))
    if trace.decay and trace.coupled and weight is None:
        return None, Why(NotTold.DECAY_OF_UNKNOWN_WEIGHTS)
    moments = [tensor for tensor in (trace.first, trace.second) if tensor is not None]
    if not all(is_whole(tensor) and tensor.is_floating_point() and tensor.numel() for tensor in moments):
        return None, Why(NotTold.NOT_PLAIN_NUMBERS)
    shape = moments[0].shape if weight is None else weight.shape
    if not shape or any(tensor.shape != shape for tensor in moments):
        return None, Why(NotTold.OTHER_SHAPE)
    return _reduce(trace, weight, axis), None


@dataclass(frozen=True, slots=True)
class _Trace:
    """The moments of one parameter and the numbers of the recursion that they obey."""

    first: Tensor | None
    second: Tensor | None
    first_decay: float | None
    second_decay: float | None
    decay: float
    coupled: bool
    adaptive: bool
    lr: float
    step: int | None


def _trace_of(owned: Owned) -> _Trace | None:
    state, settings = owned.state, owned.settings
    decay, lr = as_number(settings.get("weight_decay")), as_number(settings.get("lr"))
    lr = max(lr, as_number(settings.get("initial_lr")))
    # Without the key a torch older than 2.6 wrote it, and whether it was Adam or AdamW cannot be told.
    coupled = settings.get("decoupled_weight_decay") is not True and decay != 0
    step = state.get("step")
    steps = int(as_number(step)) if step is not None else None
    momentum, square = state.get("exp_avg"), state.get("exp_avg_sq")
    betas = settings.get("betas")
    if (
        isinstance(momentum, Tensor)
        and isinstance(square, Tensor)
        and isinstance(betas, list | tuple)
        and len(betas) == 2
    ):
        b1, b2 = as_number(betas[0]), as_number(betas[1])
        return _Trace(momentum, square, b1 or None, b2, decay, coupled, True, lr, steps)
    square = state.get("square_avg")
    if isinstance(square, Tensor) and ("alpha" in settings or "rho" in settings):
        alpha = as_number(settings.get("alpha", settings.get("rho")))
        return _Trace(None, square, None, alpha, decay, coupled, True, lr, steps)
    momentum = state.get("momentum_buffer")
    if isinstance(momentum, Tensor) and "momentum" in settings:
        return _Trace(momentum, None, as_number(settings["momentum"]), None, decay, decay != 0, False, lr, steps)
    return None


def as_number(value: Any) -> float:
    """A setting as a number; a stranger's file may hold anything."""
    if isinstance(value, Tensor):
        value = value.item() if value.numel() == 1 and is_whole(value) else 0.0
    try:
        number = float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _reduce(trace: _Trace, weight: Tensor | None, axis: int) -> Memory:
    kept = trace.second if trace.second is not None else trace.first
    assert kept is not None
    finest = torch.finfo(kept.dtype)
    gathered: dict[str, list[Tensor]] = {key: [] for key in ("first", "first_floor", "second", "second_floor", "ratio")}
    tensors = [tensor for tensor in (trace.first, trace.second) if tensor is not None]
    shared = trace.coupled and weight is not None
    for parts in _chunks(axis, *tensors, *([weight] if shared and weight is not None else [])):
        first = parts[0] if trace.first is not None else None
        second = parts[len(tensors) - 1] if trace.second is not None else None
        root = None if second is None else second.sqrt()
        if first is not None:
            rest, floor = _beside_decay(trace, first, root, parts[-1] if shared else None)
            gathered["first"].append(rest.amax(1))
            gathered["first_floor"].append(floor.clamp_min(finest.tiny))
            if root is not None:
                gathered["ratio"].append((rest / root).nan_to_num_(0.0).amax(1))
        if second is not None:
            gathered["second"].append(second.amax(1))
            by_decay = (trace.decay * parts[-1].abs().amax(1)).square() if shared else torch.zeros(len(second))
            gathered["second_floor"].append(by_decay.clamp_min(finest.tiny))
    joined = {key: _joined(parts) if parts else None for key, parts in gathered.items()}
    return Memory(
        first_decay=trace.first_decay,
        second_decay=trace.second_decay,
        first=joined["first"],
        first_floor=joined["first_floor"],
        second=joined["second"],
        second_floor=joined["second_floor"],
        ratio=joined["ratio"],
        rounding=finest.eps / 2,
        coupled=trace.coupled,
        decays=trace.decay != 0,
        step=trace.step,
        fine=finest.tiny < 1e-30,
    )


def _beside_decay(trace: _Trace, first: Tensor, root: Tensor | None, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """|momentum| less what weight decay feeds into it, and how much of the rest decay may still explain, by row.

    Without any other gradient, SGD's momentum becomes proportional to the weights, because both obey one linear
    recursion: b = c·w, and c is fitted row by row. Adam's is weight_decay · w of some steps ago, and w has moved by
    lr·|m|/√v a step since: less than `weight_decay · lr · (|m|/√v) · β₁/(1 − β₁)` of a difference.
    """
    if weight is None:
        return first.abs(), torch.zeros(len(first))
    decay, beta = trace.decay, trace.first_decay or 0.0
    if trace.adaptive:
        rest = (first - decay * weight).abs()
        reach = torch.ones_like(first) if root is None else (first.abs() / root).nan_to_num_(0.0).clamp_(max=_ADAPTIVE)
        lag = beta / (1 - beta) if beta < 1 else math.inf
        floor = (2 * decay * trace.lr * lag * reach).amax(1) + _PROPORTIONAL * decay * weight.abs().amax(1)
        return rest, floor
    slope = (first * weight).sum(1, keepdim=True) / weight.square().sum(1, keepdim=True)
    share = slope.nan_to_num(0.0) * weight
    return (first - share).abs(), _PROPORTIONAL * share.abs().amax(1)


def _chunks(axis: int, *tensors: Tensor, convert: bool = True) -> Iterator[list[Tensor]]:
    """Some rows at a time of each tensor, as matrices: a large file is never held twice."""
    rows = tensors[0].shape[axis]
    width = max(1, tensors[0].numel() // max(rows, 1))
    size = max(1, _CHUNK_NUMBERS // width)
    prepare: Callable[[Tensor], Tensor] = _widened if convert else (lambda part: part)
    for start in range(0, rows, size):
        some = min(size, rows - start)
        yield [prepare(t.narrow(axis, start, some).movedim(axis, 0).reshape(some, -1)) for t in tensors]


def _widened(part: Tensor) -> Tensor:
    return part if part.dtype in (torch.float32, torch.float64) else part.float()


def _joined(parts: list[Tensor]) -> FloatArray:
    return torch.cat(parts).double().numpy()
