"""Whether another activation helps."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from rectifier.api import notebook  # noqa: F401 - says how a notebook shows what is returned
from rectifier.comparison.question import (
    DEFAULT_ARMS,
    DEFAULT_SEEDS,
    MODEL_ARMS,
    MODEL_BATCH_SIZE,
    MODEL_EPOCHS,
    MODEL_SEEDS,
)
from rectifier.records import Comparison, Trial


def compare(
    train: Callable[[int], Any],
    *,
    arms: str | Iterable[str] = DEFAULT_ARMS,
    seeds: int = DEFAULT_SEEDS,
    interim: Sequence[int] | None = None,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    margin: float | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Comparison:
    """Ask whether another activation helps a training that is a function, paired by seed, beside a placebo.

    The function is called once for each arm and seed, in this process, with every random stream seeded before; it
    must build its model itself, because the activation is exchanged as the model is built. Afterwards the random
    streams of the processor are as they were, and that of a GPU if it was in use before. Unlike `rectifier compare` on
    a script nothing is kept on disk, and nothing keeps the trainings apart: what one leaves in a global variable or a
    file, the next one finds.

    Args:
        train: Trains from the seed that it is given, and returns the metric, or None for the loss.
        arms: What to put in the place of ReLU; `half-lr` and `restart` leave it (`rescale` is for scripts), and so do
            the changes that `explain` makes, such as `weight_decay_off`.
        seeds: Trainings per arm.
        interim: Numbers of seeds for interim analyses, after which arms with a verdict stop early: `[12, 24, 48]`.
            None for a quarter, a half, and all of them, where a verdict is possible; `[seeds]` for the end alone.
        metric: Name of what is returned: `test_accuracy`. None compares the loss that is back-propagated, and then
            nothing is to be returned.
        higher_is_better: Its direction; None tells it from the name.
        margin: Smallest difference that matters; without one, "no difference" is never claimed.
        on_trial: Called after each training, for a progress bar.

    Raises:
        NothingToCompare: The function gives no number, or one without a name; or the direction cannot be told.
        UnknownActivation: An arm is not in the catalogue.

    Example:
        >>> import torch, rectifier
        >>> inputs = torch.linspace(-1, 1, 64)[:, None]
        >>> def train(seed):
        ...     model = torch.nn.Sequential(torch.nn.Linear(1, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
        ...     optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        ...     for _ in range(20):
        ...         loss = (model(inputs) - inputs.abs()).square().mean()
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        >>> found = rectifier.compare(train, arms=["elu"], seeds=3)
        >>> [(arm.arm, arm.n) for arm in found.arms], found.smallest_n
        ([('baseline', 3), ('elu:1.0', 3), ('placebo', 3)], 7)
    """
    # A script that only logs must not pay for the statistics.
    from rectifier.comparison.function import compare_function, question_of  # noqa: PLC0415

    question = question_of(
        train, arms, seeds=seeds, interim=interim, metric=metric, higher_is_better=higher_is_better, margin=margin
    )
    return compare_function(train, question, on_trial)


def compare_models(
    build: Callable[[], nn.Module],
    data: tuple[Tensor, Tensor, Tensor, Tensor],
    *,
    arms: Iterable[str] = MODEL_ARMS,
    seeds: int = MODEL_SEEDS,
    interim: Sequence[int] | None = None,
    epochs: int = MODEL_EPOCHS,
    batch_size: int = MODEL_BATCH_SIZE,
    optimizer: Callable[[Iterable[Tensor]], Optimizer] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    score: Callable[[Tensor, Tensor], Any] | None = None,
    metric: str = "accuracy",
    higher_is_better: bool | None = None,
    margin: float | None = None,
    seed: int = 0,
    together: bool = True,
    on_arm: Callable[[str], None] = lambda arm: None,
) -> Comparison:
    """Ask whether another activation helps a network that is small enough to train all seeds of an arm at once.

    All seeds of an arm are one batched ensemble; where a model cannot be batched (dropout), or where the first steps
    would not be the same, they are trained one after another, and `settings` of the result says why.

    Warning:
        The training is ours, not yours: shuffled batches, one optimizer, no schedule.

    Args:
        build: Makes an untrained model with ReLU; whatever it draws comes from torch's random stream, seeded before.
        data: Inputs (n, ...) and targets (n, ...) to train on, the same to test on.
        arms: What to put in the place of ReLU.
        seeds: Trainings per arm.
        interim: Numbers of seeds for interim analyses, after which arms with a verdict stop early: `[12, 24, 48]`.
            None for the end alone, because all seeds of an arm at once are quickest a training.
        epochs: Passes over the training inputs.
        batch_size: Samples a step; the last batch of an epoch may be smaller.
        optimizer: Makes one for parameters; Adam with rate 0.001 when None. Several threads may call it, and the loss.
        loss: Mean loss of outputs and targets.
        score: The metric of the outputs and targets of the test; the share of right classes when None.
        metric: Its name.
        higher_is_better: Its direction; None tells it from the name.
        margin: Smallest difference that matters; without one, "no difference" is never claimed.
        seed: Other seed, other draws.
        together: False trains one after another also where a model can be batched.
        on_arm: Called after each arm, for a progress bar.

    Raises:
        NothingToCompare: There are no data, the direction cannot be told, or no arm is left.
        UnknownActivation: An arm is not in the catalogue.
        CannotSwap: The model has no ReLU.

    Example:
        >>> import torch, rectifier
        >>> def build():
        ...     return torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
        >>> inputs = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        >>> labels = (inputs.prod(1) > 0).long()
        >>> data = inputs[:44], labels[:44], inputs[44:], labels[44:]
        >>> found = rectifier.compare_models(build, data, arms=["elu"], seeds=3, epochs=2, batch_size=11)
        >>> [(arm.arm, arm.n) for arm in found.arms], found.smallest_n
        ([('baseline', 3), ('elu:1.0', 3), ('placebo', 3)], 7)
    """
    # A script that only logs must not pay for the statistics.
    from rectifier.comparison.models import compare as models  # noqa: PLC0415
    from rectifier.comparison.models.draws import Recipe  # noqa: PLC0415
    from rectifier.comparison.models.ensemble import Task  # noqa: PLC0415

    task = Task(
        build=build,
        inputs=data[0],
        targets=data[1],
        test_inputs=data[2],
        test_targets=data[3],
        recipe=Recipe(epochs=epochs, batch_size=batch_size),
        optimizer=optimizer or models.adam,
        loss=loss,
        score=score or models.accuracy,
    )
    return models.compare_trained(
        task,
        models.activations(arms),
        seeds,
        interim=interim,
        seed=seed,
        metric=metric,
        higher_is_better=higher_is_better,
        margin=margin,
        together=together,
        on_arm=on_arm,
    )
