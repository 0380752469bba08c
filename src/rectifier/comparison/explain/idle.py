"""Changes that would find nothing to change, as the unchanged run shows: their trials are spared."""

import numpy as np

from rectifier.records import REPLACES, Change, Process


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
    if (np.nan_to_num(counts.weight_first, nan=1.0) > 0).all():
        found.add(Change.WEIGHTS_SMALL_RANDOM)
    return frozenset(found)
