"""Changes that would find nothing to change, as the unchanged run shows: their trials are spared."""

import numpy as np

from rectifier.records import REPLACES, Change, Holder, ParameterCounts, Process, Snapshot

_CLIP_NORM = 1.0
"""What the change clips at: of gradients that were smaller at every look it finds none to clip."""


def idle_changes(process: Process) -> frozenset[Change]:
    """What the unchanged run has none of: weight decay, an eps, zero weights, eval mode, parameters left out.

    Args:
        process: Of the unchanged run.
    """
    loss = process.series("loss").values
    found = set()
    if len(loss) and np.isfinite(loss).all():
        found |= {Change.SKIP_NONFINITE, Change.GUARD_OPERATION}
    activations = {site.activation for site in process.sites}
    if activations and not process.unseen:
        found |= {change for change, replaced in REPLACES.items() if activations.isdisjoint(replaced)}
    last = process.snapshots[-1] if process.snapshots else None
    if last is None:
        return frozenset(found)
    if last.models and not any(model.eval_steps for model in last.models):
        found.add(Change.TRAIN_MODE)
    counts = last.parameters
    if counts is None or not len(counts.weight_decay):
        return frozenset(found)
    if counts.optimizer_steps and (counts.optimizer >= 0).any():
        found.add(Change.STEP_OPTIMIZER)
        if not (np.nan_to_num(counts.weight_decay) > 0).any():
            found.add(Change.WEIGHT_DECAY_OFF)
        if np.isnan(counts.epsilon).all():
            found.add(Change.LARGER_EPS)
        if (counts.optimizer >= 0).all():
            found.add(Change.ADD_PARAMETERS)
    found |= _of_start_and_gradients(process, counts)
    if (np.nan_to_num(counts.weight_first, nan=1.0) > 0).all():
        found.add(Change.WEIGHTS_SMALL_RANDOM)
    return frozenset(found)


def _of_start_and_gradients(process: Process, counts: ParameterCounts) -> set[Change]:
    """Biases that are 0 at the start, gradients that somebody clears, gradients that are never large."""
    found = set()
    if counts.weight_low is not None and counts.weight_high is not None and process.parameters:
        held = all(one.holder is not Holder.NONE for one in process.parameters)
        pairs = zip(process.parameters, counts.weight_low, counts.weight_high, strict=False)
        if held and all(low == high == 0 for one, low, high in pairs if "bias" in one.path.rpartition(".")[2]):
            found.add(Change.ZERO_BIAS)
    if counts.carried_looks and not counts.carried and len(counts.optimizers) == 1:
        found.add(Change.ZERO_GRAD)
    losses = process.series("loss").values
    norms = [_norm(snapshot) for snapshot in process.snapshots]
    if len(losses) and np.isfinite(losses).all() and max(norms) < _CLIP_NORM:
        found.add(Change.CLIP_GRADIENT)
    return found


def _norm(snapshot: Snapshot) -> float:
    """Norm of the gradient over all parameters, when their bits were last taken; 0 where there was none."""
    counts = snapshot.parameters
    return 0.0 if counts is None else float(np.sqrt(np.nansum(np.square(counts.gradient))))
