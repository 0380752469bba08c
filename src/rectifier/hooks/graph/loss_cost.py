"""What a loss of torch costs by itself: a mean over the batch, from what autograd keeps of predictions and targets.

The loss that is back-propagated may be a sum of several terms, or a multiple: this is the part that compares an output
with its targets, on the scale on which a constant answer's cost is known.
"""

from typing import Any

import torch
from torch import Tensor

_MOST = 1 << 22
"""Above so many numbers the first rows stand for all."""


def mean_cost(node: Any, kind: str, predicted: Tensor | None, target: Tensor) -> Tensor | None:
    """The mean cost of a prediction, whatever the reduction; None for losses whose constant answer is not known.

    Args:
        node: The loss's, in the autograd graph.
        kind: Its name there.
        predicted: As it keeps them: log-probabilities for `NllLoss`, logits for `BinaryCrossEntropyWithLogits`.
        target: Likewise.
    """
    if predicted is None or not predicted.numel() or not predicted.ndim:
        return None
    if kind in ("NllLoss", "NllLoss2D"):
        return _of_classes(predicted.detach(), target.detach(), int(getattr(node, "_saved_ignore_index", -100)))
    if predicted.shape != target.shape:
        return None
    rows = max(1, _MOST // max(predicted[0].numel(), 1))
    one, other = predicted[:rows].detach().float(), target[:rows].detach().float()
    if kind == "MseLoss":
        return (one - other).square().mean()
    if kind == "BinaryCrossEntropyWithLogits":
        return (torch.logaddexp(torch.zeros_like(one), one) - other * one).mean()
    if kind == "BinaryCrossEntropy":
        # As torch does it: no logarithm below -100.
        floor = torch.full_like(one, -100.0)
        logs, rest = torch.maximum(one.log(), floor), torch.maximum((1 - one).log(), floor)
        return -(other * logs + (1 - other) * rest).mean()
    return None


def _of_classes(logs: Tensor, target: Tensor, ignored: int) -> Tensor | None:
    """(N, C), (N,) or (N, C, positions), (N, positions); what is to be ignored does not count."""
    if logs.ndim < 2 or logs.shape[:1] + logs.shape[2:] != target.shape:
        return None
    known = target != ignored
    index = torch.where(known, target, torch.zeros_like(target)).unsqueeze(1)
    picked = logs.gather(1, index).squeeze(1).float()
    count = known.sum()
    total: Tensor = -torch.where(known, picked, torch.zeros_like(picked)).sum()
    return total / (count + (count == 0))
