"""What a trial showed, against the unchanged script: whether a change is a cure, and whether enough seeds fail."""

import numpy as np

from rectifier.comparison.explain.judgement.failure import Failing, better, onset_of
from rectifier.comparison.explain.trials.trial import Ask, Shown, ended_by_error, same_losses
from rectifier.records import Change, Experiment, ExplainedFailure, Intervention

_CURVE_POINTS = 60


def experiment_of(ask: Ask, shown: Shown, unchanged: Shown, base: Shown, failing: Failing) -> Experiment:
    """The experiment that a trial was.

    Args:
        ask: The trial.
        shown: What it showed.
        unchanged: The unchanged script with the same seed, ended as early.
        base: What its loss is compared with.
        failing: The failure.
    """
    # The same to the bit: whatever it says of itself, it has changed nothing.
    idle = ask.intervention.change is not Change.PLACEBO and _identical(shown, unchanged)
    untried = ended_by_error(shown, base)
    return Experiment(
        intervention=ask.intervention,
        seed=ask.seed,
        failed=not untried and (failing.seen_in(shown) or idle),
        loss_end=shown.loss_end if np.isfinite(shown.loss_end) else None,
        steps=shown.steps,
        seconds=shown.seconds,
        applied=shown.applied,
        losses=_curve(shown),
        better=None if untried else better(ask.intervention.change, shown, base, failing),
        error=shown.error if untried else "",
    )


def unchanged_trial(seed: int | None, shown: Shown, failing: Failing) -> Experiment:
    """What the unchanged script showed with a seed."""
    return Experiment(
        intervention=Intervention(),
        seed=seed,
        failed=failing.seen_in(shown),
        loss_end=shown.loss_end if np.isfinite(shown.loss_end) else None,
        steps=shown.steps,
        seconds=shown.seconds,
        losses=_curve(shown),
    )


def cured(experiment: Experiment) -> bool:
    """Whether the failure stayed away, and by what was changed."""
    changed = not experiment.idle
    if experiment.intervention.change is Change.SKIP_NONFINITE and experiment.applied is not None:
        # Where every step is left out, nothing is trained.
        changed = 0 < experiment.applied.times < experiment.steps
    return changed and experiment.helped


def explained_failure(
    failing: Failing | None, base: Shown | None, stop: int | None, because: str | None = None
) -> ExplainedFailure | None:
    """What is explained, of the run that failed."""
    if failing is None or base is None:
        return None
    return ExplainedFailure(
        rule="" if failing.rule is None else str(failing.rule),
        onset=onset_of(failing, base),
        steps=stop,
        loss_end=base.loss_end if np.isfinite(base.loss_end) else None,
        asked=because or "",
    )


def motionless(shown: Shown) -> bool:
    """Whether the loss was the same number at every step, or at none a number."""
    losses = shown.losses
    return bool(len(losses)) and bool((losses == losses[0]).all() or np.isnan(losses).all())


def _identical(one: Shown, other: Shown) -> bool:
    # As far as both went: an unchanged trial ends once it has failed.
    return same_losses(one, other) and not motionless(one)


def _curve(shown: Shown) -> tuple[float | None, ...]:
    """Some of the losses, equally far apart."""
    values = shown.losses[:: max(1, -(-len(shown.losses) // _CURVE_POINTS))]
    return tuple(float(value) if np.isfinite(value) else None for value in values)
