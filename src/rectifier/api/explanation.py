"""Why a training fails."""

from collections.abc import Callable
from typing import Any

from rectifier.api import notebook  # noqa: F401 - says how a notebook shows what is returned
from rectifier.errors import CannotExplain
from rectifier.records import Experiment, Explanation, Rule
from rectifier.report.sentences import told_explanation


def explain(
    train: Callable[[int], Any],
    *,
    seed: int = 0,
    finding: Rule | str | None = None,
    because: str | None = None,
    max_minutes: float | None = None,
    on_experiment: Callable[[Experiment], None] = lambda experiment: None,
) -> Explanation:
    """Find out by experiment why a training that is a function fails: one change at a time, with the same seed.

    The function is called unchanged, then with one thing changed at a time, until the failure stays away; a cure must
    hold on three failing seeds. The changes are made by hooks, around the function, and undone after each call: it is
    never edited. Every random stream is seeded before each call, and the training uses one thread. Afterwards the
    random streams and the number of threads are as they were.

    Note:
        Unlike `rectifier explain` on a script nothing is kept on disk, and nothing keeps the trainings apart: what one
        leaves in a global variable or a file, the next one finds. So the function must build its model and its
        optimizer itself.

    Args:
        train: Trains from the seed that it is given; what it returns is not looked at.
        seed: With which it fails; others are counted from there.
        finding: Name of the finding to be explained, `dead-units` for instance; None for the most serious one.
        because: The failure where no finding reports it: `"loss stays at 2.3"` or `"loss is nan"`.
        max_minutes: Minutes after which no further training begins.
        on_experiment: Called after each training with a change, for a progress bar.

    Returns:
        The cause with what shows it. `title`, `details`, `fixes` and the causes' `text` say it in English;
        `conclusion`, `cause.kind`, `established`, `remedies` and `experiments` are for programs.

    Raises:
        CannotExplain: The function trains nothing; `finding` or `because` cannot be read.

    Example:
        >>> import torch, rectifier
        >>> def train(seed):
        ...     inputs = torch.randn(64, 5)
        ...     targets = inputs.sum(1, keepdim=True) + 3
        ...     model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 1))
        ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=5.0)
        ...     for _ in range(150):
        ...         optimizer.zero_grad()
        ...         torch.nn.functional.mse_loss(model(inputs), targets).backward()
        ...         optimizer.step()
        >>> found = rectifier.explain(train, because="loss stays at 7")
        >>> print(found.title)
        Cause established: weight decay of 5 (SGD, group 0).
        >>> found.cause.kind, str(found.cause.intervention), found.fixes[0]
        (<CauseKind.WEIGHT_DECAY: 'weight_decay'>, 'weight_decay_off', 'weight_decay=0.01 instead of 5')
    """
    # Whoever only watches must not pay for the statistics.
    from rectifier.comparison.explain.function import explain_function  # noqa: PLC0415
    from rectifier.comparison.explain.progress import Step  # noqa: PLC0415

    def tell(step: Step) -> None:
        if step.experiment is not None:
            on_experiment(step.experiment)

    return told_explanation(
        explain_function(
            train,
            seed=seed,
            finding=None if finding is None else _rule(finding),
            because=because,
            max_minutes=max_minutes,
            on_step=tell,
        )
    )


def _rule(name: str) -> Rule:
    found = next((rule for rule in Rule if rule == name), None)
    if found is None:
        raise CannotExplain(f"no finding is called {name!r}; there are: {', '.join(Rule)}")
    return found
