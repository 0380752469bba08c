"""What is wrong with the gradients that an optimizer gets: cleared, kept, absent, or of parameters that have gone."""

from rectifier.diagnosis import thresholds as limit
from rectifier.diagnosis.training import model_causes
from rectifier.records import Cause, CauseKind, ClearedGradients, KeptGradients, MadeAnew, Process, StepsWithoutGradient


def cleared(model: str, process: Process) -> Cause | None:
    """Gradients came, and none was left at any step of the optimizer that holds the parameters.

    Args:
        model: Its name.
        process: The training.
    """
    for counts, optimizer, own in model_causes.held_by_optimizers(model, process):
        came = counts.looked[own] - counts.without_gradient[own] - counts.zero_gradient[own]
        # Set to None, or to 0, which is looked at in the first steps only.
        steps = optimizer.used if optimizer.zeros else optimizer.steps
        always = steps == (optimizer.zeros or optimizer.without_gradients)
        if always and steps >= limit.UNTRAINED_LOOKS and int(came.max()) >= limit.UNTRAINED_LOOKS:
            facts = ClearedGradients(optimizer=optimizer.name, steps=steps)
            return Cause(kind=CauseKind.GRADIENT_ACCUMULATION, facts=facts)
    return None


def without_gradients(model: str, process: Process) -> Cause | None:
    """An optimizer that steps on and on, although gradients came to none of its parameters after the first steps.

    Args:
        model: Its name.
        process: The training.
    """
    for counts, optimizer, own in model_causes.held_by_optimizers(model, process):
        if not 0 < optimizer.without_gradients < optimizer.steps:
            continue
        last, end = int(counts.last_nonzero[own].max()), int(counts.last_looked.max())
        idle = optimizer.without_gradients >= (1 - limit.IDLE_STEPS) * optimizer.steps
        if idle and 0 <= last <= limit.IDLE_STEPS * end and end - last >= limit.STALLED_STEPS:
            facts = StepsWithoutGradient(
                optimizer=optimizer.name, idle=optimizer.without_gradients, steps=optimizer.steps, last_gradient=last
            )
            return Cause(kind=CauseKind.GRAPH_CUT, facts=facts)
    return None


def made_anew(model: str, process: Process) -> Cause | None:
    """Parameters that are made in each forward: no optimizer ever holds those of the next one.

    Args:
        model: Its name; it is told of the first one that is known.
        process: The training.
    """
    counts = model_causes.last_counts(process.snapshots)
    if counts is None or counts.losses_with_new < limit.NEW_PARAMETERS:
        return None
    if (
        not process.parameters
        or process.parameters[0].model != model
        or 2 * counts.losses_with_new < counts.losses_read
    ):
        return None
    facts = MadeAnew(losses=counts.losses_with_new, of_losses=counts.losses_read)
    return Cause(kind=CauseKind.NOT_REGISTERED, facts=facts)


def kept(model: str, process: Process) -> Cause | None:
    """Gradients that nobody clears.

    Args:
        model: Its name.
        process: The training.
    """
    counts = next((counts for counts, _, _ in model_causes.held_by_optimizers(model, process)), None)
    if counts is None or counts.carried < limit.LEAST_OBSERVATIONS or counts.carried < counts.carried_looks:
        return None
    facts = KeptGradients(kept=counts.carried, looks=counts.carried_looks)
    return Cause(kind=CauseKind.GRADIENT_ACCUMULATION, facts=facts)
