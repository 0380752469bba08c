"""The finding that a model trains in eval mode: meant where statistics are frozen for fine-tuning, else forgotten."""

from rectifier.diagnosis import remedies
from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training.history.progress import Progress
from rectifier.diagnosis.training.model_causes import last_counts
from rectifier.records import (
    Cause,
    CauseKind,
    Consequence,
    EvalMode,
    Finding,
    ModelState,
    Process,
    Rule,
    StillStatistics,
)

_BATCH_NORM = frozenset({"NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "BatchNorm"})
"""As autograd names it, on the devices that there are."""


def judge_eval_mode(model: str, progress: Progress, process: Process, *, explained: bool) -> list[Finding]:
    """Whether a model that an optimizer moves was in eval mode when it trained.

    It is an alarm only where training makes no progress, nothing else says why, and batch normalisation was seen in it:
    its statistics then stay what they were. That dropout is off explains no stall.

    Args:
        model: Its name.
        progress: Of its training.
        process: The training.
        explained: Whether another finding says already why it does not progress.
    """
    state = _state(model, process)
    if state is None or not _is_trained(model, process):
        return []
    normalised = _batch_normalised(model, process)
    stalled = progress.state == "none" and progress.steps >= limit.STALLED_STEPS
    alarm = stalled and normalised > 0 and not explained
    return [
        Finding(
            rule=Rule.EVAL_MODE,
            severity="warning" if alarm else "info",
            cause=Cause(kind=CauseKind.EVAL_MODE),
            consequence=progress.consequence if alarm else Consequence.NOT_ASKED,
            loss=progress.loss if alarm else None,
            remedies=remedies.EVAL_MODE if alarm else (),
            fixes=remedies.lines_for(remedies.EVAL_MODE) if alarm else (),
            evidence=EvalMode(model=model, steps=state.steps, eval_steps=state.eval_steps, batch_normalised=normalised),
        )
    ]


def still_statistics(model: str, progress: Progress, process: Process) -> Cause | None:
    """Eval mode as the cause of what a model gives: its batch normalisation never learns what it is to normalise.

    Args:
        model: Its name.
        progress: Of its training.
        process: The training.
    """
    state = _state(model, process)
    if state is None or 2 * state.eval_steps < state.steps or not _is_trained(model, process):
        return None
    if progress.state != "none" or progress.steps < limit.STALLED_STEPS or not _batch_normalised(model, process):
        return None
    return Cause(kind=CauseKind.EVAL_MODE, facts=StillStatistics(eval_steps=state.eval_steps, steps=state.steps))


def _state(model: str, process: Process) -> ModelState | None:
    """What is known of a model some of whose losses came in eval mode."""
    return next((one for one in process.snapshots[-1].models if one.name == model and one.eval_steps), None)


def _batch_normalised(model: str, process: Process) -> int:
    return sum(site.unit_axis.operation in _BATCH_NORM for site in process.sites if site.model == model)


def _is_trained(model: str, process: Process) -> bool:
    """Whether an optimizer holds a parameter of it, or one has changed: one that judges another does not train."""
    counts = last_counts(process.snapshots)
    if counts is None:
        return False
    own = [at for at, one in enumerate(process.parameters[: len(counts.looked)]) if one.model == model]
    return bool((counts.optimizer[own] >= 0).any() or (counts.last_changed[own] >= 0).any())
