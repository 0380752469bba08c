"""A comparison of a Python function that trains, called in this process: what `compare` is for a script."""

import contextlib
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from rectifier.comparison.engine import Ended, Engine
from rectifier.comparison.metric import LOSS, direction, summarise
from rectifier.comparison.question import BASELINE, RESCALE, Question, TrialSpec, arms_from
from rectifier.comparison.script.trial import dead_fraction, fingerprint, motionless, to_summarise
from rectifier.comparison.statistics.interim import checked_interim, default_interim
from rectifier.diagnosis.training.history.progress import judge_progress
from rectifier.errors import NothingToCompare
from rectifier.monitor import MemorySink, Monitor
from rectifier.records import Comparison, Failure, FailureKind, Intervention, Process, Trial
from rectifier.sandbox import streams_kept
from rectifier.treatment import scale_learning_rates, swap_everywhere
from rectifier.treatment.interventions import begin

Train = Callable[[int], Any]
"""Trains from a seed; returns the metric, or None for the loss that it back-propagates."""


def question_of(
    train: Train,
    arms: str | Iterable[str],
    *,
    seeds: int,
    interim: Sequence[int] | None,
    metric: str | None,
    higher_is_better: bool | None,
    margin: float | None,
) -> Question:
    """The question that `rectifier.compare` asks, with what was not said filled in; see there.

    Raises:
        NothingToCompare: There is no seed or arm, or the direction cannot be told.
        UnknownActivation: An arm is not in the catalogue.
    """
    if seeds < 1:
        raise NothingToCompare(
            f"seeds={seeds}: a comparison takes at least one seed, and 7 before one arm can be judged."
        )
    metric = metric or LOSS
    chosen = arms_from(arms if isinstance(arms, str) else ",".join(arms))
    return Question(
        command=(getattr(train, "__qualname__", type(train).__name__),),
        script=None,
        arms=chosen,
        seeds=seeds,
        metric=metric,
        summary="last-tenth",
        higher_is_better=direction(metric, higher_is_better),
        margin=margin,
        threads=torch.get_num_threads(),
        compared="function",
        interim=default_interim(seeds, len(chosen))
        if interim is None
        else checked_interim(interim, seeds, len(chosen)),
    )


def compare_function(train: Train, question: Question, on_trial: Callable[[Trial], None]) -> Comparison:
    """Call a function once for each trial of a question, and weigh what it returns.

    Args:
        train: Called with the seed of the trial.
        question: What to compare.
        on_trial: Called after each trial.

    Raises:
        NothingToCompare: The function gives no number.
        Exception: Whatever it raises as it is, with the first seed: before anything was changed.
    """
    if RESCALE in question.arms:
        raise NothingToCompare(
            "the arm rescale is for scripts, where the first step is waited for. In a function write "
            "rectifier.rescale(model, batch) before the first step, and compare the two functions' results."
        )
    began = time.perf_counter()
    engine = Engine(question)

    def train_all(specs: Sequence[TrialSpec], ended: Ended) -> None:
        for spec in specs:
            ended(spec, _train_once(train, spec, question))

    with streams_kept():
        engine.run(train_all, lambda spec, trial: on_trial(trial))
    return engine.comparison(time.perf_counter() - began)


def _train_once(train: Train, spec: TrialSpec, question: Question) -> Trial:
    sink = MemorySink()
    began, value = time.perf_counter(), None
    failed: Failure | None = None
    with contextlib.ExitStack() as stack:
        for swap in spec.swap:
            old, _, new = swap.partition("=")
            stack.callback(swap_everywhere(old, new).undo)
        if spec.learning_rate != 1:
            stack.callback(scale_learning_rates(spec.learning_rate))
        _seed(spec.drawn)
        # By the number of the step alone: what else the machine does shall not change which units are called dead.
        monitor = Monitor(sink, budget=None)
        monitor.start()
        stack.callback(monitor.stop)
        changing = None if spec.intervention is None else begin(Intervention.parse(spec.intervention))
        if changing is not None:
            stack.callback(changing.stop)
        try:
            value = train(spec.drawn)
        except Exception as error:
            if (spec.arm, spec.seed) == (BASELINE, 0):
                raise
            # An arm under which the training breaks is an outcome of that arm, as in a comparison of scripts.
            failed = Failure(FailureKind.RAISED, f"{type(error).__name__}: {error}".splitlines()[0])
    process = sink.process()
    metric = None if failed else _metric(value, process, question)
    if metric is not None and not math.isfinite(metric):
        metric, failed = None, Failure(FailureKind.NOT_FINITE, question.metric)
    if failed is None and judge_progress(process.series("loss")).state == "none":
        failed = Failure(FailureKind.NO_PROGRESS)
    return Trial(
        arm=spec.arm,
        seed=spec.seed,
        metric=metric,
        failed=failed,
        dead_fraction=dead_fraction(process),
        seconds=time.perf_counter() - began,
        fingerprint=fingerprint(process, "loss") or (None if metric is None else metric.hex()),
        motionless=motionless(process, "loss"),
        changed=None if changing is None else changing.times,
    )


_MISNAMED = {
    True: "the function returned nothing, so there is no {metric}: return it, or leave metric out, and the loss that "
    "the function back-propagates is compared.",
    False: "the function returned {value!r}; say what that is, for example metric='test_accuracy'. Without a name the "
    "loss that it back-propagates is compared, and then it returns nothing.",
}


def _metric(value: Any, process: Process, question: Question) -> float:
    if (value is None) != (question.metric == LOSS):
        raise NothingToCompare(_MISNAMED[value is None].format(value=value, metric=question.metric))
    if value is not None:
        try:
            return float(value.item() if isinstance(value, torch.Tensor) else value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise NothingToCompare(
                f"the function returned a {type(value).__name__}, and a comparison needs one number a training: return "
                "the metric, for example the test accuracy, or nothing for the loss that it back-propagates."
            ) from error
    losses = to_summarise(process.series("loss"), question)
    if not len(losses):
        raise NothingToCompare(
            "the function returned nothing, and no loss was seen: return a metric, and name it with metric=. (A loss "
            "is seen when backward() is called on it and a torch optimizer steps.)"
        )
    return summarise(losses, question.summary, higher=question.higher_is_better)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
