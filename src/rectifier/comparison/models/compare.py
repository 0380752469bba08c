"""A comparison of networks that are small enough to train many at once: all seeds of an arm as one batched ensemble."""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, get_num_threads
from torch.optim import Adam, Optimizer

from rectifier.catalogue import parse
from rectifier.comparison.engine import Ended, Engine
from rectifier.comparison.metric import direction
from rectifier.comparison.models.draws import draws_for
from rectifier.comparison.models.ensemble import Task, Trained, failures, refusal, train_alone, train_together
from rectifier.comparison.question import PLACEBO, TREATED, Question, TrialSpec
from rectifier.comparison.statistics.interim import checked_interim
from rectifier.errors import NothingToCompare
from rectifier.records import Comparison, Failure, FailureKind, Trial
from rectifier.sandbox import streams_kept


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of the samples whose largest output is that of their class."""
    return float((predicted.argmax(1) == labels).double().mean())


def adam(parameters: Iterable[Tensor]) -> Optimizer:
    """What models are trained with where nothing else is asked for."""
    return Adam(parameters, lr=1e-3, fused=True)


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


def compare_trained(
    task: Task,
    arms: Sequence[str],
    seeds: int,
    *,
    interim: Sequence[int] | None,
    seed: int,
    metric: str,
    higher_is_better: bool | None,
    margin: float | None,
    together: bool,
    on_arm: Callable[[str], None],
) -> Comparison:
    """Train every arm and weigh them, one analysis after another; the random stream of torch is afterwards as it was.

    Raises:
        NothingToCompare: There is nothing to learn from, or an analysis at which nothing could be found.
    """
    if not len(task.inputs) or len(task.inputs) != len(task.targets):
        raise NothingToCompare(
            f"there are {len(task.inputs)} inputs and {len(task.targets)} targets to train on: as many of each are "
            "needed, and at least one. data is (inputs, targets, test inputs, test targets), all of them tensors."
        )
    began = time.perf_counter()
    question = Question(
        command=("Many small networks",),
        script=None,
        arms=tuple(arms),
        seeds=seeds,
        metric=metric,
        summary="final",
        higher_is_better=direction(metric, higher_is_better),
        margin=margin,
        threads=get_num_threads(),
        compared="models",
        interim=() if interim is None else checked_interim(interim, seeds, len(arms)),
    )
    engine = Engine(question)
    alone: dict[str, str | None] = {}
    """By arm, why its members are trained one by one; None where they are trained as one."""

    def train(specs: Sequence[TrialSpec], ended: Ended) -> None:
        for arm in dict.fromkeys(spec.arm for spec in specs):
            own = [spec for spec in specs if spec.arm == arm]
            every = draws_for(seed, seeds, placebo=arm == PLACEBO)
            draws = [every[spec.seed] for spec in own]
            if arm not in alone:
                alone[arm] = refusal(task, arm, draws) if together else "as asked"
            trained = (train_together if alone[arm] is None else train_alone)(task, arm, draws)
            for spec, trial in zip(own, _trials(task, own, trained), strict=True):
                ended(spec, trial)
            on_arm(arm)

    with streams_kept():
        engine.run(train)
    return replace(engine.comparison(time.perf_counter() - began), settings=_settings(task, seed, alone))


def _settings(task: Task, seed: int, alone: Mapping[str, str | None]) -> dict[str, str]:
    """What a reader needs to know about how it was trained."""
    return {
        "training": f"{task.recipe.epochs} epochs of batches of {task.recipe.batch_size}, {task.steps} steps",
        "failure": "constant output on the test inputs, or a number that is not finite",
        "seed": str(seed),
        **{f"trained, {arm}": "together" if why is None else f"one by one ({why})" for arm, why in alone.items()},
    }


def _trials(task: Task, specs: Sequence[TrialSpec], trained: Trained) -> list[Trial]:
    history = trained.losses.double().numpy()
    flat = trained.outputs.reshape(*trained.outputs.shape[:2], -1)
    found = []
    for number, failed in enumerate(failures(flat, history)):
        value = float(task.score(trained.outputs[number], task.test_targets))
        found.append(
            Trial(
                arm=specs[number].arm,
                seed=specs[number].seed,
                metric=value if math.isfinite(value) else None,
                failed=failed or (None if math.isfinite(value) else Failure(FailureKind.NOT_FINITE, "the metric")),
                seconds=trained.seconds / trained.losses.shape[1],
                fingerprint=hashlib.sha256(history[:, number].tobytes()).hexdigest(),
            )
        )
    return found
