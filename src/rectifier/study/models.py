"""A comparison of networks that are small enough to train many at once: all seeds of an arm as one batched ensemble."""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Literal, cast

import torch
from torch import Tensor

from rectifier.aside import streams_kept
from rectifier.catalogue import parse
from rectifier.errors import NothingToCompare
from rectifier.records import Comparison, Trial
from rectifier.study.ensemble import Draws, draws_for, failures
from rectifier.study.looks import checked_looks
from rectifier.study.question import BASELINE, PLACEBO, TREATED
from rectifier.study.statistics import compare_trials
from rectifier.study.ways import (
    Task,
    Trained,
    can_be_sent,
    cores,
    train_alone,
    train_in_processes,
    train_together,
)

Way = Literal["together", "one by one", "in processes"]

_WAYS: dict[Way, Callable[[Task, str, Sequence[Draws]], Trained]] = {
    "together": train_together,
    "one by one": train_alone,
    "in processes": train_in_processes,
}
START_SECONDS = 4.0
"""About what it takes to start processes and to load torch in them."""
TRIED_STEPS = 3
TOLERANCE = 1e-3
"""Largest relative difference of the losses of the first steps between both ways: float32's rounding, summed in another
order, is about a thousandth of this; another algorithm is far above it."""


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of the samples whose largest output is that of their class."""
    return float((predicted.argmax(1) == labels).double().mean())


def activations(arms: Iterable[str]) -> list[str]:
    """Arms in the catalogue's spelling, each once.

    Raises:
        UnknownActivation: A name or parameter is not in the catalogue.
        NothingToCompare: No arm is left beside the models as they are.
    """
    specs = dict.fromkeys(parse(arm).spec for arm in arms)
    specs.pop(TREATED, None)
    if not specs:
        raise NothingToCompare("arms names nothing but relu. Write for example: arms=['leaky_relu:0.1', 'elu']")
    return list(specs)


def choose(task: Task, arm: str, draws: Sequence[Draws]) -> tuple[Way, str]:
    """Try the ways for a few steps: the one that will be done first, of those that give the same.

    Returns:
        The way, and why in a few words.
    """
    two = draws[:2]
    alone = train_alone(task, arm, two, steps=TRIED_STEPS)
    refused = None
    try:
        stacked = train_together(task, arm, two, steps=TRIED_STEPS)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        refused = f"the model cannot be stacked: {str(error).splitlines()[0][:120]}"
    else:
        if not torch.allclose(stacked.losses, alone.losses, rtol=TOLERANCE, atol=1e-6, equal_nan=True):
            refused = "stacked, the first steps differ from those of a single training"
    # Again, because the first calls of everything are slow.
    seconds = {"one by one": train_alone(task, arm, two, steps=TRIED_STEPS).seconds * len(draws) / len(two)}
    if refused is None:
        seconds["together"] = train_together(task, arm, draws, steps=TRIED_STEPS).seconds
    seconds = {way: taken * task.steps / TRIED_STEPS for way, taken in seconds.items()}
    if cores() > 1 and can_be_sent(task):
        seconds["in processes"] = seconds["one by one"] / min(cores(), len(draws)) + START_SECONDS
    best = min(seconds, key=seconds.__getitem__)
    told = ", ".join(f"{taken:.2g} s {way}" for way, taken in sorted(seconds.items(), key=itemgetter(1)))
    return cast(Way, best), "; ".join(filter(None, [refused, f"foreseen by the first steps: {told}"]))


def compare_trained(
    task: Task,
    arms: Sequence[str],
    seeds: int,
    *,
    looks: Sequence[int] | None,
    seed: int,
    metric: str,
    higher_is_better: bool,
    margin: float | None,
    way: Way | None,
    on_arm: Callable[[str], None],
) -> Comparison:
    """Train every arm and weigh them, look after look; the random stream of torch is afterwards as it was.

    Raises:
        NothingToCompare: There is nothing to learn from, or a look at which nothing could be found.
    """
    if not len(task.inputs) or len(task.inputs) != len(task.targets):
        raise NothingToCompare(
            f"there are {len(task.inputs)} inputs and {len(task.targets)} targets to train on: as many of each are "
            "needed, and at least one. data is (inputs, targets, test inputs, test targets), all of them tensors."
        )
    planned = (seeds,) if looks is None else checked_looks(looks, seeds, len(arms))
    began = time.perf_counter()
    trials: list[Trial] = []
    ways: dict[str, tuple[Way, str]] = {}
    undecided, before = list(arms), 0
    for now in planned:
        with streams_kept():
            for arm in (BASELINE, *undecided, PLACEBO):
                draws = draws_for(seed, now, placebo=arm == PLACEBO)[before:]
                if arm not in ways:
                    ways[arm] = (way, "as asked") if way is not None else choose(task, arm, draws)
                trained = _WAYS[ways[arm][0]](task, arm, draws)
                trials += _trials(task, arm, trained, before)
                on_arm(arm)
        comparison = compare_trials(
            trials,
            baseline=BASELINE,
            placebo=PLACEBO,
            arms=arms,
            metric=metric,
            higher_is_better=higher_is_better,
            margin=margin,
            title="Many small networks: does another activation help?",
            seconds=time.perf_counter() - began,
            looks=planned,
            settings={
                "training": f"{task.recipe.epochs} epochs of batches of {task.recipe.batch_size}, {task.steps} steps",
                "failure": "constant output on the test inputs, or a number that is not finite",
                "seed": str(seed),
                **{f"trained, {arm}": f"{chosen} ({why})" for arm, (chosen, why) in ways.items()},
            },
        )
        undecided = [row.arm for row in comparison.arms if row.arm in undecided and row.verdict == "undecided"]
        if not undecided:
            break
        before = now
    return comparison


def _trials(task: Task, arm: str, trained: Trained, first: int) -> list[Trial]:
    history = trained.losses.double().numpy()
    flat = trained.outputs.reshape(*trained.outputs.shape[:2], -1)
    found = []
    for number, failed in enumerate(failures(flat, history)):
        value = float(task.score(trained.outputs[number], task.test_targets))
        found.append(
            Trial(
                arm=arm,
                seed=first + number,
                metric=value if math.isfinite(value) else None,
                failed=failed or (None if math.isfinite(value) else "the metric is not finite"),
                seconds=trained.seconds / trained.losses.shape[1],
                fingerprint=hashlib.sha256(history[:, number].tobytes()).hexdigest(),
            )
        )
    return found
