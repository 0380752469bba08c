"""The finding about a loss that stands still while everything seems to work, and the label of a linear network.

A stall is its own finding: units that fire and gradients that arrive do not explain it.
"""

from collections.abc import Sequence

import numpy as np

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.diagnosis.training.history.outputs import OutputHistory
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.history.sites import SiteHistory
from rectifier.diagnosis.training.output.explained import explained_by, knows_something
from rectifier.records import (
    Cause,
    CauseKind,
    Consequence,
    Finding,
    LinearNetwork,
    MostlyFlatAtStart,
    Process,
    Rule,
    Series,
    StandingStill,
    Yardstick,
)


def judge_standing(
    model: str,
    outputs: Sequence[OutputHistory],
    histories: Sequence[SiteHistory],
    progress: Progress,
    loss: Series,
    process: Process,
) -> list[Finding]:
    """Whether the loss stays where it began, or at the best constant's cost, for 100 steps and more.

    It is not asked where another finding explains it. A loss that is no measure of progress (of several models at
    once, around 0 or negative, or too noisy) has no state "none", and is never judged by it.

    Args:
        model: Its name.
        outputs: Of it.
        histories: Its sites.
        progress: Of its training.
        loss: Of this model alone; empty where that cannot be told.
        process: The training.
    """
    if progress.steps < limit.STALLED_STEPS or not np.isfinite(progress.end):
        return []
    if not len(loss.steps) or int(loss.steps[0]) > 0:
        # A training that was joined in its middle, or resumed, may have converged before.
        return []
    alive = _is_alive(model, histories, process)
    best, share = _best_constant(outputs), explained_by(outputs)
    if best is not None:
        share = 1 - progress.end / best[0]
    elif (progress.end <= 0 and share is None) or any(_is_on_its_way(one) for one in outputs):
        return []
    near = share is not None and abs(share) <= limit.PLATEAU_FRACTION
    no_better = share is not None and share < limit.PLATEAU_FRACTION
    worse = share is not None and 1 - share > limit.WORSE_THAN_CONSTANT
    if not worse and knows_something(outputs):
        return []
    if not alive and (not worse or any(history.blocked_since is not None for history in histories)):
        # What stands still has another reason then; what goes astray moves.
        return []
    if progress.state == "none":
        if share is not None and not no_better:
            # It knows more than the best constant does.
            return []
        cause = _cause(model, outputs, histories, process, progress.end)
    else:
        cause = _cause(model, outputs, histories, process, progress.end)
        if not worse and (not progress.settled or not (no_better or cause.kind is CauseKind.LOSS_SHAPE)):
            return []
    linear = weights_of(model, process) if is_without_activation(model, outputs, histories, process) else 0
    if cause.kind is CauseKind.UNKNOWN and linear > 1:
        cause = Cause(kind=CauseKind.NO_ACTIVATION)
    update, rate = model_causes.update_and_rate(histories)
    return [
        Finding(
            rule=Rule.STANDING_STILL,
            severity="warning",
            cause=cause,
            consequence=Consequence.NO_PROGRESS if progress.state == "none" else Consequence.SETTLED,
            loss=progress.loss,
            remedies=remedies.for_standing_still(cause),
            evidence=StandingStill(
                best_constant=None if best is None else best[0],
                against=None if best is None else best[1],
                at_best_constant=near,
                worse_than_constant=no_better and not near,
                update=update,
                learning_rate=rate,
            ),
        )
    ]


def judge_linear(
    model: str, outputs: Sequence[OutputHistory], histories: Sequence[SiteHistory], process: Process, *, standing: bool
) -> list[Finding]:
    """That a network of several layers has no activation that was seen; an alarm only where it stands still.

    Args:
        model: Its name.
        outputs: Of it.
        histories: Its sites.
        process: The training.
        standing: Whether it stands still for that reason.
    """
    weights = weights_of(model, process)
    if weights < 2 or not is_without_activation(model, outputs, histories, process):
        return []
    return [
        Finding(
            rule=Rule.NO_ACTIVATION,
            severity="warning" if standing else "info",
            cause=Cause(kind=CauseKind.NO_ACTIVATION),
            evidence=LinearNetwork(model=model, weights=weights),
        )
    ]


def is_without_activation(
    model: str, outputs: Sequence[OutputHistory], histories: Sequence[SiteHistory], process: Process
) -> bool:
    """Whether no activation of a model was met, and all that leads to its outputs is known to be linear.

    Args:
        model: Its name.
        outputs: Of it.
        histories: Its sites.
        process: The training.
    """
    met = histories or process.unseen or any(site.model == model for site in process.sites)
    return bool(outputs) and not met and all(one.output.linear for one in outputs)


def _best_constant(outputs: Sequence[OutputHistory]) -> tuple[float, Yardstick] | None:
    """Of a model with one output: the loss of several is a sum of which the parts are not known."""
    return outputs[0].best_constant() if len(outputs) == 1 else None


def _is_on_its_way(output: OutputHistory) -> bool:
    """Whether what tells its rows apart still grows: many a network begins with the mean of its targets."""
    spread = output.floats("spread")[output.usable]
    third = len(spread) // 3
    if third < limit.LEAST_OBSERVATIONS:
        return False
    before, last = float(np.median(spread[-2 * third : -third])), float(np.median(spread[-third:]))
    return last > limit.GROWING_SPREAD * before


def _is_alive(model: str, histories: Sequence[SiteHistory], process: Process) -> bool:
    """Whether units fire and gradients arrive; of a model without sites, whether gradients do."""
    if any(history.blocked_since is not None for history in histories):
        return False
    n = limit.LEAST_OBSERVATIONS
    if histories:
        # Dropout may leave nothing of a step's gradient.
        last = [delta[np.isfinite(delta)][-3 * n :] for delta in (history.delta() for history in histories)]
        return any(len(delta) >= n and (delta > 0).any() for delta in last)
    counts = model_causes.last_counts(process.snapshots)
    if counts is None:
        return False
    own = [index for index, one in enumerate(process.parameters[: len(counts.gradient)]) if one.model == model]
    gradient = counts.gradient[own]
    return bool((gradient[np.isfinite(gradient)] > 0).any())


def weights_of(model: str, process: Process) -> int:
    """Weights of two and more dimensions that a loss reached.

    Args:
        model: Whose.
        process: The training.
    """
    counts = model_causes.last_counts(process.snapshots)
    if counts is None:
        return 0
    own = enumerate(process.parameters[: len(counts.connected)])
    return sum(one.model == model and len(one.shape) > 1 and int(counts.connected[index]) > 0 for index, one in own)


def _cause(
    model: str, outputs: Sequence[OutputHistory], histories: Sequence[SiteHistory], process: Process, loss: float
) -> Cause:
    of_loss = (model_causes.of_loss(one.output) for one in outputs)
    small = model_causes.of_small_updates(histories)
    if (
        small is not None
        and small.kind is CauseKind.LEARNING_RATE_LOW
        and model_causes.loss_is_flat(model, process, loss)
    ):
        small = None
    return (
        small
        or next((cause for cause in of_loss if cause is not None), None)
        or model_causes.of_inputs(process.snapshots[-1])
        or _of_flat_start(histories)
        or model_causes.of_thrown_start(histories)
        or Cause()
    )


def _of_flat_start(histories: Sequence[SiteHistory]) -> Cause | None:
    """Hidden layers whose activation was flat for most samples from the first step on, and still is."""
    hidden = [history for history in histories if not history.at_output]
    if any(int(history.steps()[0]) for history in hidden):
        # Whoever came later cannot tell.
        return None
    shares = [share for share in map(_flat_at_start, hidden) if share is not None and share > limit.SATURATED_SHARE]
    if not shares or 2 * len(shares) < len(hidden):
        return None
    facts = MostlyFlatAtStart(layers=len(shares), smallest_share=min(shares))
    return Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=facts)


def _flat_at_start(history: SiteHistory) -> float | None:
    first, now = history.finite_windows[0] if history.finite_windows else None, history.saturated_pairs
    if first is None or first.saturated is None or not len(first.saturated) or not first.visits or now is None:
        return None
    return min(float(first.saturated.sum()) / (first.visits * len(first.saturated)), now[0])
