"""What a comparison measures: which end of a metric is better, where its values come from, one number per training."""

import contextlib
import math
import re
from typing import Literal

import numpy as np

from rectifier.errors import NothingToCompare
from rectifier.records import FloatArray

Summary = Literal["final", "best", "last-tenth"]


LOSS = "training loss"
"""The metric of a function that returns none: what it back-propagates. (A script's is called `loss`.)"""


_HIGHER = frozenset({
    "accuracy", "acc", "f1", "auc", "auroc", "auprc", "reward", "return", "score", "precision", "recall", "bleu",
    "rouge", "iou", "miou", "dice", "map", "r2", "psnr", "ssim",
})  # fmt: skip


_LOWER = frozenset({
    "loss", "error", "err", "mse", "rmse", "mae", "nll", "perplexity", "ppl", "wer", "cer", "fid", "regret",
    "bce", "entropy", "distance",
})  # fmt: skip


def higher_is_better(metric: str) -> bool:
    """Tell a metric's direction from the words in its name.

    Raises:
        NothingToCompare: The name does not tell, or tells both.

    Example:
        >>> higher_is_better("val_accuracy"), higher_is_better("valLoss")
        (True, False)
    """
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+", metric)}
    higher, lower = bool(words & _HIGHER), bool(words & _LOWER)
    if higher == lower:
        raise NothingToCompare(
            f"whether a higher {metric!r} is better cannot be told from its name: say --maximize or --minimize."
        )
    return higher


def direction(metric: str, higher: bool | None) -> bool:
    """Whether a higher metric is better: as said, or as its name tells."""
    return higher_is_better(metric) if higher is None else higher


def metric_of(pattern: str) -> str:
    r"""Check a regular expression for the metric, and name what it finds by its own words.

    Raises:
        NothingToCompare: It is no regular expression, or has not exactly one group.

    Example:
        >>> metric_of(r"test accuracy:\s*([0-9.]+)")
        'test accuracy'
    """
    how = r"Write for example: --pattern 'test accuracy ([0-9.]+)'"
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise NothingToCompare(f"--pattern {pattern!r} is no regular expression ({error}). {how}") from error
    if groups != 1:
        raise NothingToCompare(f"--pattern {pattern!r} has {groups} groups; it needs one, around the number. {how}")
    words = re.findall(r"[A-Za-z_]\w*", re.sub(r"\\.|\[[^]]*\]", " ", pattern.partition("(")[0]))
    return " ".join(words) or "value"


def printed_values(pattern: str, text: str) -> FloatArray:
    r"""All numbers that the group of a pattern matches in what a script printed; what is no number is passed over.

    Example:
        >>> printed_values("acc ([a-z0-9.]+)", "acc 0.5\racc 0.75 acc n/a")
        array([0.5 , 0.75])
    """
    found = []
    for match in re.finditer(pattern, text, re.MULTILINE):
        with contextlib.suppress(ValueError, TypeError):
            found.append(float(match[1]))
    return np.array(found, float)


def summarise(values: FloatArray, summary: Summary, *, higher: bool) -> float:
    """One number for a training's series; NaN when a value that counts is not finite.

    Warning:
        `best` picks the luckiest moment of each training, and more steps mean more luck. It is fair only when all arms
        take the same number of steps.

    Args:
        values: (n,) at least one, in the order of the steps.
        summary: `final`, `best`, or `last-tenth`: the mean of the last ⌈n/10⌉.
        higher: Which end is best.

    Example:
        >>> summarise(np.arange(25.0), "last-tenth", higher=False)
        23.0
    """
    if summary == "final":
        return float(values[-1])
    if summary == "best":
        # A single NaN on the way is no best; a training that only gave NaN has none.
        finite = values[np.isfinite(values)]
        return math.nan if not len(finite) else float(finite.max() if higher else finite.min())
    return float(values[-math.ceil(len(values) / 10) :].mean())
